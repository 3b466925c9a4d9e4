"""floe log inspect and verify: files of a server that stopped, died, or lost bytes."""
import glob
import json
import os
import shutil
import struct
import time

from fixture import Skip, check, consume, equal, lines, produce
from test_retention import delete_records
from wire import crc32c

BLOCK = 4096
LARGE = "x" * 70000  # Goes to its file at once; what is smaller, to the journal.


def segments(world):
    return sorted(glob.glob(os.path.join(world.data, "topics", "*", "*", "*.seg")))


def rows(world, *words, code=0):
    done = world.floe("log", *words, "-o", "json")
    equal(done.returncode, code, done.stderr.decode())
    return json.loads(done.stdout)["rows"], done.stderr.decode()


def spoil(path, position, data=b"\xa5"):
    with open(path, "r+b") as file:
        file.seek(position)
        before = file.read(len(data))
        file.seek(position)
        file.write(bytes(a ^ 0xff if a == b else b for a, b in zip(before, data)))


def frames(path, position):
    """Where the frames of the extent at `position` stand."""
    with open(path, "rb") as file:
        file.seek(position)
        size, = struct.unpack("<I", file.read(28)[24:])
        file.seek(position)
        extent = file.read(size)
    found, at = [], 64
    for _ in range(struct.unpack("<I", extent[56:60])[0]):
        equal(extent[at:at + 4], b"FFRM")
        found.append(position + at)
        at += (96 + struct.unpack("<I", extent[at + 28:at + 32])[0] + 7) // 8 * 8
    return found


def filled(world, **settings):
    """Three segments of 10 batches each, all sealed by an orderly stop."""
    server = world.server(settings={"segment.records": "10", **settings})
    for n in range(30):
        produce(server, "l", [f"record-{n}"])
    equal(server.stop(), 0)
    equal(len(segments(world)), 3)
    return server


def test_inspect_shows_segments_and_batches(world):
    server = world.server()
    for codec in ("none", "gzip", "snappy", "lz4", "zstd"):
        produce(server, "codecs", ["x" * 2000] * 20, "-z", codec)
    produce(server, "sure", lines(10), "-X", "enable.idempotence=true")
    running, warned = rows(world, "inspect", world.data)
    check("is in use" in warned, warned)
    equal([row["state"] for row in running], ["open", "open"])
    equal(server.stop(), 0)
    found, said = rows(world, "inspect", world.data)
    equal(said, "")
    by_topic = {row["topic"]: row for row in found}
    equal(sorted(by_topic), ["codecs", "sure"])
    row = by_topic["codecs"]
    equal((row["partition"], row["first"], row["end"], row["state"]), (0, 0, 100, "sealed"))
    path, = glob.glob(os.path.join(world.data, "topics", "*", "0", row["segment"] + ".seg"))
    batches, _ = rows(world, "inspect", path)
    equal([batch["codec"] for batch in batches], ["none", "gzip", "snappy", "lz4", "zstd"])
    equal([batch["offset"] for batch in batches], [0, 20, 40, 60, 80])
    equal([batch["producer"] for batch in batches], [None] * 5)
    path, = glob.glob(os.path.join(world.data, "topics", "*", "0",
                                   by_topic["sure"]["segment"] + ".seg"))
    batches, _ = rows(world, "inspect", path)
    equal(batches[0]["sequence"], 0)
    check(batches[0]["producer"].endswith("/0"), batches[0])


def test_verify_of_what_is_sound(world):
    filled(world)
    found, said = rows(world, "verify", world.data)
    equal(found, [])
    check(said.startswith("3 segments, 30 records, ") and said.endswith(" 0 problems\n"), said)
    found, _ = rows(world, "verify", segments(world)[0])
    equal(found, [])


def test_verify_finds_each_byte_that_matters(world):
    filled(world)
    path = segments(world)[1]
    kept = path + ".kept"
    shutil.copy(path, kept)
    extents = sorted({row["position"] for row in rows(world, "inspect", path)[0]})
    first, last = frames(path, extents[0]), frames(path, extents[-1])
    equal(sum(len(frames(path, position)) for position in extents), 10)
    words = {
        0: "belongs to something else",            # The header.
        100: "checksum or structure is wrong",
        BLOCK + 40: "the seal block is damaged",
        extents[0] + 20: "the header of an extent is damaged",
        first[0] + 40: "a frame is damaged",
        first[0] + 96 + 30: "a frame is damaged",
        last[-1] + 40: "a frame is damaged",       # Behind others in its extent.
        last[-1] + 96 + 30: "a frame is damaged",
    }
    for position, problem in words.items():
        spoil(path, position)
        found, said = rows(world, "verify", world.data, code=1)
        check((path, problem) in [(row["file"], row["problem"]) for row in found],
              f"byte {position}: {found}")
        check("0 problems" not in said, said)
        shutil.copy(kept, path)
    for size, problem in ((last[-1] + 8, "the file ends inside"),
                          (extents[0], "records that were durable are not there")):
        os.truncate(path, size)
        found, _ = rows(world, "verify", world.data, code=1)
        check(problem in found[0]["problem"], found)
    os.unlink(path)
    found, _ = rows(world, "verify", world.data, code=1)
    equal(found[0]["problem"], "the segment before it ends earlier: records are missing")
    shutil.copy(segments(world)[0], path)  # Another's, under its name.
    found, _ = rows(world, "verify", world.data, code=1)
    check("its header names another segment" in [row["problem"] for row in found], found)
    shutil.copy(kept, path)
    os.unlink(kept)
    equal(rows(world, "verify", world.data)[0], [])


def pooled(world, count=None):
    """The files that wait; a `count` is waited for."""
    for _ in range(1000):
        found = glob.glob(os.path.join(world.data, "pool", "*"))
        if count is None or len(found) == count:
            return found
        time.sleep(0.01)
    raise AssertionError(f"{found} in the pool, not {count} files")


def test_files_that_wait_and_files_used_again_are_sound(world):
    server = world.server(settings={"segment.records": "3"})
    for _ in range(7):
        produce(server, "l", [LARGE])
    delete_records(server, "l", 6)
    pooled(world, 2)
    server.kill()
    equal(rows(world, "verify", world.data)[0], [])
    server = world.server(settings={"segment.records": "3"})
    equal(pooled(world), [])  # They are of the life before.
    for _ in range(6):
        produce(server, "l", [LARGE])
    delete_records(server, "l", 9)
    pooled(world, 1)
    for _ in range(3):
        produce(server, "l", [LARGE + str(n) for n in range(2)])
    equal(pooled(world), [])
    server.kill()
    found, said = rows(world, "verify", world.data)
    equal(found, [])
    check(said.endswith(" 0 torn tails, 0 problems\n"), said)
    server = world.server()
    equal(len(consume(server, "l", "-o", "beginning")), 10)
    equal(server.stop(), 0)
    equal(rows(world, "verify", world.data)[0], [])
    equal(pooled(world), [])


def test_a_torn_tail_is_no_problem(world):
    server = world.server()
    for _ in range(5):
        produce(server, "l", [LARGE])
    server.kill()
    path, = segments(world)
    equal(rows(world, "verify", world.data)[0], [])
    batches, _ = rows(world, "inspect", path)
    equal([batch["where"] for batch in batches], ["file"] * 5)
    spoil(path, batches[-1]["position"] + 200)  # The last one: nothing later proves it.
    found, said = rows(world, "verify", world.data)
    equal(found, [])
    check("1 torn tails, 0 problems" in said, said)
    equal(rows(world, "inspect", world.data)[0][0]["state"], "open, torn tail")
    spoil(path, batches[1]["position"] + 200)  # Later ones prove this one.
    found, _ = rows(world, "verify", world.data, code=1)
    equal(found[0]["position"], batches[1]["position"])
    equal(rows(world, "inspect", world.data)[0][0]["state"], "damaged")


def journaled(world):
    """A segment of two large batches in its file, and then five that are in the journal alone."""
    server = world.server()
    for record in [LARGE, LARGE] + [f"record-{n}" for n in range(5)]:
        produce(server, "l", [record])
    server.kill()
    return server


def journals(world):
    return sorted(glob.glob(os.path.join(world.data, "journal", "*.jnl")))


def blocks(path):
    """Seq, position, durable seq and tail of the blocks that are whole enough to be one, by seq."""
    found = []
    with open(path, "rb") as file:
        data = file.read()
    for at in range(0, len(data), BLOCK):
        if data[at:at + 4] == b"FJNL":
            seq, _, _, _, durable, tail = struct.unpack("<QQIIQQ", data[at + 16:at + 56])
            found.append((seq, at, durable, tail))
    return sorted(found)


def journal_of(world, text):
    """The journal that holds `text`, and where."""
    for path in journals(world):
        with open(path, "rb") as file:
            at = file.read().find(text)
        if at >= 0:
            return path, at
    raise AssertionError(f"no journal has {text}")


def test_what_is_in_the_journal_alone_is_shown(world):
    server = journaled(world)
    path, = segments(world)
    batches, said = rows(world, "inspect", path)
    equal(said, "")
    equal([batch["offset"] for batch in batches], list(range(7)))
    equal([batch["where"] for batch in batches], ["file"] * 2 + ["journal"] * 5)
    equal([batch["position"] is None for batch in batches], [False] * 2 + [True] * 5)
    row, = rows(world, "inspect", world.data)[0]
    equal((row["first"], row["end"], row["state"]), (0, 7, "open"))
    found, said = rows(world, "verify", world.data)
    equal(found, [])
    check("7 records, 5 of them in journals alone, " in said, said)
    alone = os.path.join(world.dir, os.path.basename(path))
    shutil.copy(path, alone)  # In no data directory: the file is all there is.
    equal(len(rows(world, "inspect", alone)[0]), 2)
    before = {name: open(name, "rb").read() for name in [path, *journals(world)]}
    rows(world, "verify", world.data)
    check(all(open(name, "rb").read() == data for name, data in before.items()),
          "a tool wrote into the directory")
    server.start()  # And so a start finds them.
    equal(consume(server, "l")[2:], [f"record-{n}" for n in range(5)])
    equal(server.stop(), 0)
    equal(rows(world, "verify", world.data)[0], [])


def test_a_gap_that_the_journal_closes(world):
    small = [f"{n:02}-{'x' * 9000}" for n in range(25)]
    for _ in range(5):
        server = world.server()
        for record in [*small, LARGE]:
            produce(server, "l", [record])
        server.kill()
        path, = segments(world)
        extents = sorted({row["position"] for row in rows(world, "inspect", path)[0]})
        journal, _ = journal_of(world, small[0].encode())
        if len(extents) > 1 and blocks(journal)[-1][3] == 1:
            break  # It was written back in parts, and the journal still has the first one.
        shutil.rmtree(world.data)
    else:
        raise Skip("the journal was faster than the test")
    spoil(path, extents[0] + 200)
    batches, _ = rows(world, "inspect", path)
    equal([batch["offset"] for batch in batches], list(range(26)))
    equal((batches[0]["where"], batches[-1]["where"]), ("journal", "file"))
    found, said = rows(world, "verify", world.data)
    equal(found, [])
    check(" 0 torn tails" in said, said)
    equal(world.floe("log", "export", path).stdout.decode().splitlines(), [*small, LARGE])
    server.start()  # Which puts it back.
    equal(consume(server, "l"), [*small, LARGE])
    batches, _ = rows(world, "inspect", path)
    equal([batch["where"] for batch in batches], ["file"] * 26)


def test_a_journal_with_a_torn_end_is_sound(world):
    journaled(world)
    journal, at = journal_of(world, b"record-4")
    seq = max(seq for seq, position, *_ in blocks(journal) if position <= at)
    durable = max(durable for _, _, durable, _ in blocks(journal))
    spoil(journal, at)
    if durable >= seq:  # A block behind it says that it was durable: not its last one.
        found, said = rows(world, "verify", world.data, code=1)
        equal(found[-1]["file"], journal)
    else:
        found, said = rows(world, "verify", world.data)
        equal(found, [])
    check("6 records, 4 of them in journals alone" in said, said)


def test_journals_that_lost_something_are_told(world):
    journaled(world)
    path, = segments(world)
    manifest = os.path.join(world.data, "MANIFEST")
    journal, at = journal_of(world, b"record-1")
    kept = os.path.join(world.dir, "kept")
    shutil.copytree(world.data, kept)

    def problems(text):
        found, said = rows(world, "verify", world.data, code=1)
        check("0 problems" not in said, said)
        check(any(text in row["problem"] for row in found), found)
        done = world.floe("log", "inspect", world.data)
        shutil.rmtree(world.data)
        shutil.copytree(kept, world.data)
        return found, done

    spoil(journal, at)  # Durable, and blocks behind it say so.
    found, done = problems("a part of it that was durable is not there any more")
    equal(found[-1]["file"], journal)
    equal([row["file"] for row in found if row["problem"].startswith(
        "records that were durable are in neither file nor journal")], [path])
    equal(done.returncode, 1)
    check(b"start floe" in done.stderr, done.stderr)
    os.unlink(journal)
    found, done = problems("it is missing; put it back from a copy")
    check(journal in [row["file"] for row in found], found)
    os.unlink(manifest)
    found, done = problems("it is missing, and there are journals; put it back")
    equal(found[-1]["file"], manifest)
    for position in (0, 40, 4096 + 8, 4096 + 64):  # Magic, header, a journal's id.
        spoil(manifest, position)
        problems("put it back from a copy")
    os.truncate(manifest, 100)
    problems("put it back from a copy")
    spoil(manifest, 20)  # Of another directory: with its checksum, it would be.
    problems("put it back from a copy")
    spoil(path, 2 * BLOCK + 20)  # The file lost what no journal has.
    problems("the header of an extent is damaged")
    os.truncate(path, 2 * BLOCK)
    problems("records that were durable are in neither file nor journal")
    shutil.rmtree(os.path.join(world.data, "journal"))
    os.unlink(manifest)
    found, said = rows(world, "verify", world.data)  # Both gone: nothing tells.
    equal(found, [])
    check("2 records, 0 of them in journals" in said, said)


def jsonl(done):
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_a_start_asks_for_a_manifest_that_journals_want(world):
    for _ in range(4):  # Whichever core has the partition: until it is not the first one.
        server = journaled(world)
        journal, _ = journal_of(world, b"record-4")
        os.unlink(os.path.join(world.data, "MANIFEST"))
        server.launch()
        check(server.ends() != 0, "a start without MANIFEST")
        check("has journals, but its MANIFEST is missing" in server.text, server.text)
        shutil.rmtree(world.data)
        if not journal.endswith("/0.jnl"):
            return


def test_the_newest_file_is_missed(world):
    server = world.server(settings={"segment.records": "10"})
    for n in range(15):
        produce(server, "l", [f"record-{n}"])
    server.kill()
    newest = segments(world)[-1]
    os.unlink(newest)
    found, _ = rows(world, "verify", world.data, code=1)
    equal([row["file"] for row in found], [newest])
    check("it is missing, and the journals have records of it" in found[0]["problem"], found)
    done = world.floe("cluster", "rebuild-map", world.data)
    equal(done.returncode, 6)
    check((newest + ": it is missing").encode() in done.stderr, done.stderr)


def test_rebuild_map_prints_what_a_new_map_would_have(world):
    server = world.server(settings={"segment.records": "10"})
    equal(world.floe("topic", "create", "os", "-p", "2", "--config", "durability=os",
                     "-b", server.address).returncode, 0)
    for n in range(25):
        produce(server, "l", [f"record-{n}"])
    produce(server, "os", ["one", "two"])
    server.kill()
    shutil.rmtree(os.path.join(world.data, "meta"))
    before = {name: open(name, "rb").read() for name in segments(world)}

    def rebuild(code=0):
        done = world.floe("cluster", "rebuild-map", world.data, "-o", "json")
        equal(done.returncode, code, done.stderr.decode())
        return sorted(json.loads(done.stdout)["rows"], key=lambda row: row["topic"]), \
            done.stderr.decode()

    found, said = rebuild()
    paths = {row["topic"]: glob.glob(os.path.join(world.data, "topics", row["id"],
                                                  str(row["partition"]), "*.seg"))
             for row in found}
    equal([len(paths["l"]), len(paths["os"])], [3, 1])
    equal([[row[key] for key in ("topic", "partition", "durability", "segments", "first", "end",
                                 "finding")] for row in found],
          [["l", 0, "disk", 3, 0, 25, None], ["os", 0, "os", 1, 0, 2, None]])
    check("2 topics, 2 partitions, 4 segments; 0 findings; nothing is written" in said, said)
    equal({name: open(name, "rb").read() for name in segments(world)}, before)
    check(not os.path.exists(os.path.join(world.data, "meta")), "it made a map")
    middle = sorted(paths["l"])[1]
    spoil(middle, 2 * BLOCK + 20)
    check(rebuild(6)[0][0]["finding"] is not None, "damage")
    os.unlink(middle)
    equal(rebuild(6)[0][0]["finding"], "a segment is missing: offsets have a gap")
    with open(middle, "wb") as file:
        file.write(b"nothing" * 4000)
    check("not a segment file" in rebuild(6)[1], "words")
    other = os.path.join(world.data, "topics", "0" * 32, "0")
    os.makedirs(other)
    with open(paths["os"][0], "rb") as file:
        header = bytearray(file.read(2 * BLOCK))
    header[24:40] = bytes(16)  # The same name, another topic.
    header[4092:4096] = struct.pack("<I", crc32c(bytes(header[:4092])))
    with open(os.path.join(other, os.path.basename(paths["os"][0])), "wb") as file:
        file.write(header)
    equal([row["finding"] for row in rebuild(6)[0] if row["topic"] == "os"],
          ["another topic has the same name"] * 2)
    equal(world.floe("cluster", "rebuild-map", paths["os"][0]).returncode, 2)
    equal(world.floe("cluster", "rebuild-map", os.path.join(world.dir, "none")).returncode, 3)


def test_export_prints_what_consume_prints(world):
    server = world.server(settings={"segment.records": "40"})
    equal(world.floe("topic", "create", "t", "-p", "2", "-b", server.address).returncode, 0)
    for codec in ("none", "gzip", "snappy", "lz4", "zstd"):
        produce(server, "t", lines(20, codec), "-z", codec, "-k", "key", "-H", "a=1", "-H", "b=")
    done = world.floe("produce", "t", "-p", "1", "-b", server.address,
                      input="à\nplain\n".encode() + b"\xff\xfe\n" + LARGE.encode() + b"\n")
    equal(done.returncode, 0, done.stderr)
    produce(server, "other", ["other"])
    said = jsonl(world.floe("consume", "t", "--until", "end", "-o", "jsonl", "-b", server.address))
    equal(len(said), 104)
    running = world.floe("log", "export", world.data, "t", "-o", "jsonl")
    check(b"is in use" in running.stderr, running.stderr)
    server.kill()

    def order(found):
        return sorted(found, key=lambda row: (row["partition"], row["offset"]))

    def export(*words, code=0):
        done = world.floe("log", "export", *words)
        equal(done.returncode, code, done.stderr.decode())
        return done

    done = export(world.data, "t", "-o", "jsonl")
    equal(done.stderr, b"")
    equal(jsonl(done), order(said))
    equal(jsonl(running), order(said))
    equal(json.loads(export(world.data, "t", "-o", "json").stdout)["rows"], order(said))
    equal(export(world.data, "t", "-p", "0", "-f", "%t %p %o %k %v %T %h\\n").stdout.decode(),
          "".join(f"t 0 {row['offset']} key {row['value']} {row['timestamp']} a=1,b=\n"
                  for row in order(said) if row["partition"] == 0))
    equal([row["offset"] for row in jsonl(export(
        world.data, "t", "-p", "0", "--from", "38", "--until", "43", "-o", "jsonl"))],
          [38, 39, 40, 41, 42])
    equal(len(export(world.data, "t", "-n", "3").stdout.splitlines()), 3)
    row = next(row for row in rows(world, "inspect", world.data)[0] if row["first"] == 40)
    path, = glob.glob(os.path.join(world.data, "topics", "*", "0", row["segment"] + ".seg"))
    equal([row["offset"] for row in jsonl(export(path, "-o", "jsonl"))], list(range(40, 80)))
    topic = path.split(os.sep)[-3]
    equal(export(world.data, topic).stdout, export(world.data, "t").stdout)
    equal(export(world.data, "other").stdout, b"other\n")
    check(b'no segment of topic "none"' in export(world.data, "none", code=3).stderr, "words")
    export(world.data, "t", "-p", "2", code=3)
    check(b"give the topic" in export(world.data, code=2).stderr, "words")
    check(b"is a file" in export(path, "t", code=2).stderr, "words")
    export(os.path.join(world.dir, "nothing"), "t", code=3)


def test_export_leaves_out_what_was_deleted(world):
    server = world.server()
    for n in range(10):
        produce(server, "l", [f"record-{n}"])
    equal(delete_records(server, "l", 4), (4, 0))
    for n in range(10, 12):
        produce(server, "l", [f"record-{n}"])
    equal(consume(server, "l"), [f"record-{n}" for n in range(4, 12)])
    server.kill()
    done = world.floe("log", "export", world.data, "l")
    equal((done.returncode, done.stderr), (0, b""))
    equal(done.stdout.decode().splitlines(), [f"record-{n}" for n in range(4, 12)])


def test_export_goes_on_behind_damage(world):
    filled(world)
    paths = segments(world)
    kept = os.path.join(world.dir, "kept")
    shutil.copytree(world.data, kept)

    def export(*words, code=6):
        done = world.floe("log", "export", world.data, "l", "-f", "%o %v\\n", *words)
        equal(done.returncode, code, done.stderr.decode())
        found = [line.split() for line in done.stdout.decode().splitlines()]
        check(all(value == f"record-{offset}" for offset, value in found), found)
        shutil.rmtree(world.data)
        shutil.copytree(kept, world.data)
        return [int(offset) for offset, _ in found], done.stderr.decode()

    equal(export(code=0), (list(range(30)), ""))
    last = max(row["position"] for row in rows(world, "inspect", paths[1])[0])
    spoil(paths[1], frames(paths[1], last)[-1] + 96 + 30)
    found, said = export()
    equal(found, list(range(19)) + list(range(20, 30)))
    check("offsets 19 to 20 are not printed: a frame is damaged" in said, said)
    spoil(paths[1], frames(paths[1], last)[-1] + 96 + 30)
    equal(export("--until", "19", code=0)[0], list(range(19)))  # Nobody asked for it.
    os.unlink(paths[1])
    found, said = export()
    equal(found, list(range(10)) + list(range(20, 30)))
    check("offsets 10 to 20 are not printed: no segment has them" in said, said)
    spoil(paths[1], 100)
    found, said = export()
    equal(found, list(range(10)) + list(range(20, 30)))
    check("not a segment file" in said, said)
    spoil(paths[2], 2 * BLOCK + 20)
    found, said = export()
    equal(found, list(range(20)))
    check("offsets 20 to the end are not printed" in said, said)


def test_what_is_no_directory_of_floe(world):
    equal(world.floe("log", "verify", os.path.join(world.dir, "nothing")).returncode, 3)
    os.makedirs(world.data)
    done = world.floe("log", "inspect", world.data)
    equal(done.returncode, 3)
    check(b"not a data directory of floe" in done.stderr, done.stderr)
    path = os.path.join(world.data, "text")
    with open(path, "w", encoding="ascii") as file:
        file.write("no segment\n" * 1000)
    done = world.floe("log", "inspect", path)
    equal(done.returncode, 1)
    check(b"not a segment file" in done.stderr, done.stderr)
    equal(world.floe("log", "verify").returncode, 2)
