"""floe cluster rebuild-map --write: the map is lost, the segments are there."""
import glob
import os
import re
import shutil
import signal
import struct

import wire
from batches import stored
from fixture import Skip, check, consume, equal, lines, produce, until
from lost_map import (BLOCK, changed, consume_until, create_partitions, fails_to_start, lose_map, rebuild,
                      segments, thirty, traced)
from test_crowd import patched
from test_library import everything, tool
from test_log import spoil
from test_retention import create, delete_records, first_offset

LARGE = "x" * 70000  # Goes to its file at once; what is smaller, to the journal.


def olds(world):
    return glob.glob(os.path.join(world.data, "meta.old-*"))


def new_producer(server):
    with server.connect() as connection:
        connection.sendall(wire.producer_id_request())
        error, producer, epoch = wire.producer_id(wire.answer(connection)[1])
    equal((error, epoch), (0, 0))
    return producer


def send_as(server, topic, producer, sequence):
    data = patched("qhi", 43, producer, 0, sequence, of=wire.batch([b"s%d" % sequence]))
    with server.connect() as connection:
        connection.sendall(wire.produce_request(topic, data))
        return wire.produced(wire.answer(connection)[1], topic)


def filled(world):
    """Several topics, partitions, sealed and open segments; what is stored, and who wrote."""
    server = world.server(settings={"segment.records": "20"})
    create_partitions(world, server, "wide", 3)
    create(world, server, "os", durability="os")
    for n in range(5):
        produce(server, "one", lines(12, f"one-{n}"))
        produce(server, "os", lines(3, f"os-{n}"))
    produce(server, "one", [LARGE, "small"])
    for partition in ("0", "2"):
        produce(server, "wide", lines(25, f"wide-{partition}"), "-p", partition)
    create(world, server, "cut", segment_records=10)
    for n in range(4):
        produce(server, "cut", lines(10, f"cut-{n}"))
    equal(delete_records(server, "cut", 25), (25, 0))
    create(world, server, "mine")
    producer = new_producer(server)
    for sequence in range(3):
        equal(send_as(server, "mine", producer, sequence), (0, sequence))
    return server, producer


def content(server, but=None):
    """What is stored, `but` one topic."""
    found = {(topic, partition): [batch.data for batch in stored(server, topic, partition)]
             for topic, partition in (("one", 0), ("os", 0), ("wide", 0), ("wide", 1), ("wide", 2),
                                      ("mine", 0)) if topic != but}
    return {**found, "cut": consume(server, "cut"), "start": first_offset(server, "cut")}


def a_lost_map_is_made_anew(world, end, lose):
    server, producer = filled(world)
    before = content(server)
    end(server)
    lose(world)
    fails_to_start(world)
    files = {path: open(path, "rb").read() for path in segments(world)}
    untouched = everything(world.data)
    rows, said = rebuild(world)
    equal(everything(world.data), untouched, "a dry run")
    equal({(row["topic"], row["partition"]): (row["durability"], row["first"], row["end"])
           for row in rows},
          {("one", 0): ("disk", 0, 62), ("os", 0): ("os", 0, 15), ("wide", 0): ("disk", 0, 25),
           ("wide", 2): ("disk", 0, 25), ("cut", 0): ("disk", 25, 40), ("mine", 0): ("disk", 0, 3)})
    check("0 findings; nothing is written" in said, said)
    equal(rebuild(world, "--write")[0], rows, "the plan")
    equal({path: open(path, "rb").read() for path in segments(world)}, files, "the segments")
    equal(len(olds(world)), 1, "the old meta/ is kept")
    check("is sound" in rebuild(world, "--write", code=7)[1], "a second time")
    ids = {os.path.basename(path) for path in files}
    server.settings["segment.records"] = "20"
    server.start()
    equal(content(server), before)
    check(new_producer(server) > producer + 1000, "an id that may have been handed out")
    equal(send_as(server, "mine", producer, 2), (0, 2), "a repetition")
    equal(send_as(server, "mine", producer, 3), (0, 3), "it goes on")
    equal(send_as(server, "mine", producer, 5), (45, -1), "out of order")
    produce(server, "one", ["behind"])
    produce(server, "cut", ["behind"])
    equal(consume(server, "one")[-2:], ["small", "behind"])
    equal(consume(server, "cut"), before["cut"] + ["behind"])
    equal(stored(server, "mine")[-1].leader_epoch > 1000, True, "epochs go on above all")
    made = [os.path.basename(path) for path in segments(world)]
    check(max(made) > max(ids) and min(set(made) - ids) > max(ids), f"new ids {made}")
    check("is in use" in rebuild(world, "--write", code=5)[1], "a server runs")
    server.kill()
    server.start()
    equal(consume(server, "one")[-2:], ["small", "behind"])
    equal(server.stop(), 0)
    checked = world.floe("log", "verify", world.data)
    equal(checked.returncode, 0, checked.stdout.decode() + checked.stderr.decode())


def test_a_map_that_is_gone_is_made_anew_after_kill_9(world):
    a_lost_map_is_made_anew(world, lambda server: server.kill(), lose_map)


def test_a_map_that_is_gone_is_made_anew_after_a_stop(world):
    a_lost_map_is_made_anew(world, lambda server: equal(server.stop(), 0), lose_map)


def test_a_map_that_is_damaged_is_made_anew(world):
    def lose(_):
        path = os.path.join(world.data, "meta", "log-0")
        with open(path, "rb") as file:
            data = file.read()
        for at in range(0, len(data), BLOCK):
            if data[at:at + 8] == b"FLOERAFT" and data[at + BLOCK:at + BLOCK + 8] == b"FLOERAFT":
                spoil(path, at + 70)
                return
        raise AssertionError("no two frames")

    a_lost_map_is_made_anew(world, lambda server: server.kill(), lose)


def cut_off(world, call, number, *flags):
    """The directory as it was when the command was killed at the `number`th of a system call."""
    done = traced(world, "-o", "/dev/null", "-e", f"trace={call}", "-e",
                  f"inject={call}:signal=KILL:when={number}", "--", "--write", *flags)
    equal(done.returncode, -signal.SIGKILL, done.stderr.decode())


def calls_of(world):
    """How many of the system calls that change something there are in a whole run: renames, and
    writes of the thread that has most. strace counts for each thread."""
    trace = os.path.join(world.dir, "trace")
    done = traced(world, "-o", trace, "-e", "trace=rename,pwritev2", "--", "--write")
    equal(done.returncode, 0, done.stderr.decode())
    with open(trace, encoding="utf-8", errors="replace") as file:
        text = file.read()
    writers = re.findall(r"^(\d+) +pwritev2\(", text, re.M)
    return text.count(" rename("), max(writers.count(writer) for writer in set(writers))


def restored(world):
    """No map, but for what is no map; this is never lost."""
    shutil.rmtree(world.data)
    shutil.copytree(world.data + ".good", world.data)
    os.makedirs(os.path.join(world.data, "meta"))
    with open(os.path.join(world.data, "meta", "term"), "wb") as file:
        file.write(b"damaged")


def serves_in_the_end(world, before):
    """At once, or after the same command again."""
    server = world.server(start=False).launch()
    until(lambda: not server.alive() or "floe ready" in server.text, "a start")
    if server.alive():
        server.kill()
    else:
        check("floe cluster rebuild-map" in server.text, server.text)
        rebuild(world, "--write")
    check(any(open(os.path.join(old, "term"), "rb").read(7) == b"damaged" for old in olds(world)),
          "what stood in meta/ is kept")
    check(not os.path.exists(os.path.join(world.data, "meta.rebuild")), "meta.rebuild is there")
    server = world.server()
    equal(content(server), before)
    server.kill()


def test_a_try_that_was_cut_off_is_begun_again(world):
    server, _ = filled(world)
    before = content(server)
    server.kill()
    lose_map(world)
    shutil.copytree(world.data, world.data + ".good")
    restored(world)
    renames, writes = calls_of(world)
    check(renames == 3 and writes > 4, f"{renames} renames, {writes} writes")
    points = [("rename", n + 1) for n in range(renames)]
    points += [("pwritev2", writes - n) for n in range(4)] + [("pwritev2", 3)]
    for call, number in points:
        restored(world)
        cut_off(world, call, number)
        serves_in_the_end(world, before)


def test_no_file_is_set_aside_while_the_old_map_stands(world):
    server = world.server()
    produce(server, "l", lines(5))
    equal(server.stop(), 0)
    path, = segments(world)
    shutil.copy(path, os.path.join(os.path.dirname(path), "8000000000000000.seg"))
    shutil.copytree(world.data, world.data + ".good")
    seen = set()
    for number in range(1, 5):
        shutil.rmtree(world.data)
        shutil.copytree(world.data + ".good", world.data)
        cut_off(world, "rename", number, "--replace-meta", "--accept-loss")
        aside = glob.glob(os.path.join(world.data, "quarantine", "*"))
        check(olds(world) or not aside, f"rename {number}: {aside}")
        seen.add((bool(olds(world)), bool(aside)))
        if olds(world):
            fails_to_start(world)
            rebuild(world, "--write", "--accept-loss", code=0 if aside else 6)
            server.start()
            equal(consume(server, "l"), lines(5))
            server.kill()
    equal(seen, {(False, False), (True, False), (True, True)})


def test_what_the_command_did_not_make_is_not_removed(world):
    thirty(world, "stop")
    meta = os.path.join(world.data, "meta.rebuild")
    for name in ("elsewhere", "data/meta.new"):
        os.makedirs(os.path.join(world.dir, name))
        shutil.copy(segments(world)[0], os.path.join(world.dir, name, "term"))
    os.symlink(world.dir + "/elsewhere", meta)
    check("did not make" in rebuild(world, "--write", code=1)[1], "a link")
    os.unlink(meta)
    os.makedirs(meta)
    shutil.copy(segments(world)[0], meta + "/notes")
    check("did not make" in rebuild(world, "--write", code=1)[1], "a folder")
    check(os.path.exists(meta + "/notes"), "it is gone")
    os.unlink(meta + "/notes")
    rebuild(world, "--write")
    for name in ("elsewhere", "data/meta.new"):
        check(os.path.exists(os.path.join(world.dir, name, "term")), name)


def test_nothing_is_left_to_adopt(world):
    """The directory was a library's, and the map was lost before a server had adopted all."""
    server = thirty(world, "stop")
    path = os.path.join(world.data, "superblock")
    with open(path, "rb") as file:
        data = bytearray(file.read())
    for at in (0, BLOCK):
        data[at + 128] |= 1
        data[at + BLOCK - 4:at + BLOCK] = struct.pack("<I", wire.crc32c(bytes(
            data[at:at + BLOCK - 4])))
    with open(path, "wb") as file:
        file.write(data)
    rebuild(world, "--write")
    with open(path, "rb") as file:
        data = file.read()
    equal([data[at + 128] & 1 for at in (0, BLOCK)], [0, 0])
    server.start()
    equal(consume_until(server, 31)[-1], "last")


def test_a_sound_map_is_replaced_only_if_told_to(world):
    server, _ = filled(world)
    before = content(server)
    equal(server.stop(), 0)
    check("--replace-meta" in rebuild(world, "--write", code=7)[1], "words")
    server.start()
    equal(content(server), before)
    equal(server.stop(), 0)
    rebuild(world, "--write", "--replace-meta")
    equal(len(olds(world)), 1)
    server.start()
    equal(content(server), before)
    rebuild_words = world.floe("cluster", "rebuild-map", world.data, "--accept-loss")
    equal(rebuild_words.returncode, 2, "for --write")


def test_a_map_of_a_newer_floe_is_not_replaced(world):
    server = world.server()
    produce(server, "t", lines(5))
    equal(server.stop(), 0)
    path = os.path.join(world.data, "meta", "term")
    with open(path, "rb") as file:
        data = bytearray(file.read())
    for at in (0, BLOCK):
        data[at + 8] = 2
        data[at + 12:at + 16] = struct.pack("<I", wire.crc32c(bytes(
            data[at:at + 12] + data[at + 16:at + 64])))
    with open(path, "wb") as file:
        file.write(data)
    _, said = rebuild(world, "--write", code=1)
    check("A newer floe wrote it" in said and "--replace-meta" in said, said)
    with open(path, "rb") as file:
        equal(file.read(), bytes(data))
    rebuild(world, "--write", "--replace-meta")
    server.start()
    equal(consume(server, "t"), lines(5))


def test_a_topic_gets_the_partitions_that_it_had(world):
    server = world.server()
    create_partitions(world, server, "wide", 4)
    produce(server, "wide", lines(5), "-p", "2")
    server.kill()
    lose_map(world)
    _, said = rebuild(world)
    check("topic wide: there are no files of 2 of its 3 partitions" in said, said)
    for words in ("wide=2", "wide=0", "wide", "other=4", "wide=x"):
        check("--partitions" in rebuild(world, "--write", "-p", words, code=2)[1], words)
    check(not os.path.exists(os.path.join(world.data, "meta", "term")), "it wrote")
    rebuild(world, "--write", "--partitions", "wide=4")
    server.start()
    produce(server, "wide", ["first"], "-p", "3")
    equal(consume(server, "wide", partition="3"), ["first"])
    equal(consume(server, "wide", partition="2"), lines(5))
    equal(consume(server, "wide", partition="0"), [])


def durability_of(path):
    with open(path, "rb") as file:
        return file.read(BLOCK)[66]


def test_of_partitions_that_differ_in_durability_the_strongest_counts(world):
    server = world.server()
    create(world, server, "wide", durability="os")
    produce(server, "wide", lines(5))
    equal(server.stop(), 0)
    lose_map(world)
    path, = segments(world)
    for number, durability in ((1, 0), (2, 2)):  # Without a record.
        to = os.path.join(os.path.dirname(os.path.dirname(path)), str(number), f"{number:016x}.seg")
        changed(path, to, id=(16, struct.pack("<Q", number)), number=(40, struct.pack("<I", number)),
                durability=(66, bytes([durability])), seal=(BLOCK, bytes(BLOCK)))
        os.truncate(to, 2 * BLOCK)
    rows, said = rebuild(world, "--write")
    equal([row["durability"] for row in rows], ["os", "disk", "memory"])
    check("topic wide: its partitions differ in durability" in said and "strongest, disk" in said, said)
    server.start()
    produce(server, "wide", lines(1))
    made = [found for found in segments(world) if os.path.dirname(found) == os.path.dirname(path)]
    made.remove(path)
    equal([durability_of(found) for found in made], [0], "of new segments")
    equal(consume(server, "wide"), lines(5) + lines(1))


def test_a_librarys_directory_is_refused(world):
    tool(world, "append", world.data, "orders", 0, 0, 25, "records=10")
    before = everything(world.data)
    check("belongs to libfloe" in rebuild(world, "--write", code=1)[1], "words")
    equal(everything(world.data), before)
    equal(len(tool(world, "read", world.data, "orders", 0)), 25)


def test_another_user_is_refused(world):
    """Whose new map floe could not open."""
    if os.geteuid() != 0:
        raise Skip("needs root")
    server = world.server()
    produce(server, "t", lines(5))
    equal(server.stop(), 0)
    lose_map(world)
    os.chown(os.path.join(world.data, "superblock"), 65534, 65534)
    before = everything(world.data)
    check("run it as the user" in rebuild(world, "--write", code=4)[1], "words")
    equal(everything(world.data), before)


def test_what_journals_know_is_needed(world):
    server = thirty(world)
    manifest = os.path.join(world.data, "MANIFEST")
    with open(manifest, "rb") as file:
        good = file.read()
    spoil(manifest, 30)
    _, said = rebuild(world, "--write", code=1)
    check("MANIFEST" in said and "put it back" in said, said)
    with open(manifest, "wb") as file:
        file.write(good)
    rebuild(world, "--write")
    server.start()
    equal(consume_until(server, 31)[-1], "last")


def test_retention_knows_the_times_of_what_was_rebuilt(world):
    server, _ = filled(world)
    before = content(server)
    equal(server.stop(), 0)
    lose_map(world)
    rebuild(world, "--write")
    server = world.server(settings={"retention.ms": "1d", "retention.check.ms": "50ms",
                                    "cpu.cores": "1"})
    create(world, server, "gone", retention_ms=1)
    produce(server, "gone", ["an old one"])  # When this one goes, retention has looked at all.
    until(lambda: first_offset(server, "gone") == 1, "retention has looked")
    del before["mine", 0]  # Of 2023.
    equal(content(server, but="mine"), before)
