"""floe cluster rebuild-map --write: the map is lost, and segments are damaged, missing, strange or
twice there."""
import glob
import os
import shutil
import struct

import wire
from fixture import check, consume, equal, lines, produce
from lost_map import (BLOCK, changed, consume_until, create_partitions, fails_to_start, lose_map, rebuild,
                      segments, thirty, topic_files, traced)
from test_library import everything
from test_log import spoil
from test_retention import first_offset

STORAGE = 56  # The error of a fetch.


def lost(server, topic, offset):
    """The error of a fetch, of a version that has an error for what the disk lost."""
    with server.connect() as connection:
        connection.sendall(wire.fetch_request(topic, offset, version=6))
        return wire.fetched(wire.answer(connection)[1], topic, version=6)[0]


def test_a_damaged_segment_stays_damaged(world):
    server = thirty(world)
    spoil(topic_files(world, "l")[1], 2 * BLOCK + 200)
    _, said = rebuild(world, "--write", code=6)
    check("the map keeps it" in said and "1 findings" in said, said)
    server.start()
    equal(lost(server, "l", 0), 0)
    equal(lost(server, "l", 15), STORAGE, "reads of the damage")
    equal(lost(server, "l", 25), 0)
    produce(server, "l", ["behind"])
    equal(lost(server, "l", 31), 0)


def test_the_newest_segment_is_missing_and_stays_so(world):
    server = thirty(world)
    os.unlink(topic_files(world, "l")[3])
    _, said = rebuild(world, "--write", code=6)
    check("it is missing, and the journals have records of it" in said, said)
    for _ in range(2):
        server.start()
        check("no more appends topic=l partition=0" in server.text, server.text)
        equal(consume_until(server, 30), [line for n in range(3) for line in lines(10, str(n))])
        server.kill()


def test_a_newest_segment_without_a_sound_header_stays_damaged(world):
    server = thirty(world)
    spoil(topic_files(world, "l")[3], 20)
    _, said = rebuild(world, "--write", code=6)
    check("reads are told of the damage" in said and "the journals have records" in said, said)
    for _ in range(2):
        server.start()
        check("no more appends topic=l partition=0" in server.text, server.text)
        equal(consume_until(server, 30)[-1], lines(10, "2")[-1])
        server.kill()


def test_the_only_file_of_a_partition_is_missing(world):
    server = world.server()
    create_partitions(world, server, "wide", 2)
    produce(server, "wide", lines(5), "-p", "0")
    produce(server, "wide", lines(5), "-p", "1")
    server.kill()
    lose_map(world)
    path, = glob.glob(os.path.join(world.data, "topics", "*", "1", "*.seg"))
    os.unlink(path)
    _, said = rebuild(world, "--write", code=6)
    check(f"{path}: it is missing" in said, said)
    server.start()
    equal(consume(server, "wide"), lines(5))
    check("no more appends topic=wide partition=1" in server.text, server.text)


def test_more_segments_than_one_command_takes(world):
    server = world.server(settings={"segment.records": "1", "meta.log.bytes": "256KiB"})
    wanted = lines(1010, "")
    produce(server, "many", wanted, "-X", "batch.num.messages=1")
    server.kill()
    equal(len(segments(world)), 1010)
    lose_map(world)
    equal(rebuild(world, "--write")[0][0]["segments"], 1010)
    server.start()
    equal(consume(server, "many"), wanted)
    produce(server, "many", ["behind"])
    equal(server.stop(), 0)


def test_a_missing_segment_needs_a_word_and_is_told_by_reads(world):
    server = thirty(world, "stop")
    files = topic_files(world, "l")
    os.rename(files[1], world.dir + "/aside")
    before = everything(os.path.join(world.data, "topics"))
    _, said = rebuild(world, "--write", code=1)
    check("offsets have a gap" in said and "--accept-loss" in said, said)
    equal(everything(os.path.join(world.data, "topics")), before)
    fails_to_start(world)
    rebuild(world, "--write", "--accept-loss", code=6)
    server.start()
    equal(lost(server, "l", 0), 0)
    equal(lost(server, "l", 12), STORAGE, "a read where the segment is missing")
    equal(lost(server, "l", 20), 0)
    produce(server, "l", ["behind"])
    server.kill()
    server.start()
    equal(lost(server, "l", 12), STORAGE, "and again")
    equal(lost(server, "l", 31), 0)


def test_a_folder_that_cannot_be_listed_gives_no_map(world):
    thirty(world, "stop")
    folders = [world.data + "/pool", world.data + "/quarantine", world.data + "/topics",
               *glob.glob(world.data + "/topics/*"), *glob.glob(world.data + "/topics/*/*")]
    only = [word for folder in folders for word in ("-P", folder)]  # Sanitizers list, too.
    for number in range(1, 30):
        done = traced(world, "-o", "/dev/null", *only, "-e", "trace=getdents64", "-e",
                      f"inject=getdents64:error=EIO:when={number}", "--")
        if done.returncode == 0:
            break
        equal((done.returncode, done.stdout), (1, b""), f"error {number}")
        check(b"Input/output error" in done.stderr or b"cannot be listed" in done.stderr, done.stderr)
    equal(number, 11, "of topics, topic, partition, quarantine and pool two each, then none")


def test_a_folder_that_cannot_be_followed_gives_no_map(world):
    thirty(world, "stop")
    topic, = glob.glob(os.path.join(world.data, "topics", "*"))
    for link in (os.path.join(topic, "1"), os.path.join(world.data, "topics", "0" * 32)):
        for target, why in (("/nonexistent", "No such file"), (link, "Too many levels")):
            os.symlink(target, link)
            code = 3 if target != link else 1
            check(f"{link}: {why}" in rebuild(world, "--write", code=code)[1], why)
            os.unlink(link)
    check(not os.path.exists(os.path.join(world.data, "meta", "term")), "it wrote")
    long = world.data + "/" * (4096 - 30 - len(world.data))
    done = world.floe("cluster", "rebuild-map", long)
    equal(done.returncode, 1, done.stderr)
    check(b"File name too long" in done.stderr, done.stderr)


def test_a_partition_folder_without_a_file_is_told(world):
    server = world.server()
    create_partitions(world, server, "wide", 2)
    for partition in ("0", "1"):
        produce(server, "wide", lines(5), "-p", partition)
    equal(server.stop(), 0)
    lose_map(world)
    path, = glob.glob(os.path.join(world.data, "topics", "*", "0", "*.seg"))
    os.rename(path, world.dir + "/aside")
    check("of 1 partitions the folder is there and no file in it" in rebuild(world, code=6)[1], "0")
    os.rename(world.dir + "/aside", path)
    os.unlink(glob.glob(os.path.join(world.data, "topics", "*", "1", "*.seg"))[0])
    check("of 1 partitions the folder is there and no file in it" in rebuild(world, code=6)[1], "1")


def test_oldest_segments_that_are_missing_are_told_and_can_be_put_back(world):
    server = thirty(world, "stop")
    oldest = topic_files(world, "l")[0]
    os.rename(oldest, world.dir + "/aside")
    rows, said = rebuild(world, "--write", code=6)
    check("segments below 10 are missing, or were removed by retention" in said, said)
    equal(rows[0]["finding"], "its oldest segments are missing, or were removed by retention")
    shutil.copytree(world.data, world.data + ".cut")
    os.rename(world.dir + "/aside", oldest)
    rebuild(world, "--write", "--replace-meta")
    server.start()
    equal(consume_until(server, 31), [x for n in range(3) for x in lines(10, str(n))] + ["last"])
    server.kill()
    without = world.server(data=world.data + ".cut")
    equal(first_offset(without, "l"), 10)
    equal(consume(without, "l"), [x for n in (1, 2) for x in lines(10, str(n))] + ["last"])


def test_files_that_the_map_leaves_out_are_never_deleted(world):
    server = thirty(world, "stop")
    files = topic_files(world, "l")
    stray = os.path.join(os.path.dirname(files[0]), "7000000000000000.seg")
    with open(stray, "wb") as file:
        file.write(b"nothing of ours" * 1000)
    shutil.copy(files[0], os.path.join(os.path.dirname(files[0]), "8000000000000000.seg"))
    _, said = rebuild(world, "--write", code=1)
    check("8000000000000000.seg: not a segment file of that name" in said, said)
    check("7000000000000000.seg: not a segment file: " in said, said)
    rebuild(world, "--write", "--accept-loss", code=6)
    aside = glob.glob(os.path.join(world.data, "quarantine", "*.seg"))
    equal(sorted(os.path.basename(path)[-20:] for path in aside),
          ["7000000000000000.seg", "8000000000000000.seg"])
    server.settings["retention.check.ms"] = "50ms"
    server.start()
    equal(consume_until(server, 31), [x for n in range(3) for x in lines(10, str(n))] + ["last"])
    equal(sorted(topic_files(world, "l")), sorted(files))
    equal(server.stop(), 0)


def test_of_two_topics_with_one_name_the_newer_has_it(world):
    server = thirty(world, "stop")
    other = os.path.join(world.data, "topics", "0" * 32, "0", os.path.basename(
        topic_files(world, "l")[0]))
    changed(topic_files(world, "l")[0], other, topic=(24, bytes(16)), time=(72, bytes(8)))
    rows, said = rebuild(world, "--write", code=1)
    equal([row["finding"] for row in rows], ["another topic has the same name"] * 2)
    rebuild(world, "--write", "--accept-loss", code=6)
    check(os.path.exists(other), "it stays where it is")
    server.start()
    equal(consume_until(server, 31)[-1], "last")


def test_a_segment_that_the_chain_passes_over_is_told_if_it_is_damaged(world):
    server = thirty(world, "stop")
    files = topic_files(world, "l")
    twin = os.path.join(os.path.dirname(files[1]), "8000000000000077.seg")
    changed(files[1], twin, id=(16, struct.pack("<Q", 0x8000000000000077)),
            epoch=(44, struct.pack("<I", 1)))
    _, said = rebuild(world, "--write", code=1)
    check("records that cannot be read" in said, said)
    rebuild(world, "--write", "--accept-loss", code=6)
    server.start()
    equal(consume_until(server, 31)[-1], "last")
    check(glob.glob(os.path.join(world.data, "quarantine", "*77.seg")), "it is set aside")


def test_two_segments_of_the_same_offsets(world):
    server = thirty(world, "stop")
    files = topic_files(world, "l")
    twin = os.path.join(os.path.dirname(files[1]), "8000000000000077.seg")
    name = struct.pack("<Q", 0x8000000000000077)
    changed(files[1], twin, id=(16, name), epoch=(44, struct.pack("<I", 1)), seal=(BLOCK + 16, name))
    _, said = rebuild(world, "--write", code=1)
    check("two segments have the same offsets" in said, said)
    rebuild(world, "--write", "--accept-loss", code=6)
    server.start()
    equal(consume_until(server, 31), [x for n in range(3) for x in lines(10, str(n))] + ["last"])
    check(not os.path.exists(twin) and glob.glob(os.path.join(world.data, "quarantine", "*77.seg")),
          "the one of the older epoch is set aside")
