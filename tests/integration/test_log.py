"""floe log inspect and verify: files of a server that stopped, died, or lost bytes."""
import glob
import json
import os
import shutil

from fixture import check, equal, lines, produce

BLOCK = 4096


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
    words = {
        0: "belongs to something else",            # The header.
        100: "checksum or structure is wrong",
        BLOCK + 40: "the seal block is damaged",
        2 * BLOCK + 20: "the header of an extent is damaged",
        3 * BLOCK + 64 + 40: "the header of a frame is damaged",
        4 * BLOCK + 64 + 96 + 30: "the records of a frame are damaged",
    }
    for position, problem in words.items():
        spoil(path, position)
        found, said = rows(world, "verify", world.data, code=1)
        check((path, problem) in [(row["file"], row["problem"]) for row in found],
              f"byte {position}: {found}")
        check("0 problems" not in said, said)
        shutil.copy(kept, path)
    os.truncate(path, 5 * BLOCK)
    found, _ = rows(world, "verify", world.data, code=1)
    equal(found[0]["problem"], "records that were durable are not there")
    os.unlink(path)
    found, _ = rows(world, "verify", world.data, code=1)
    equal(found[0]["problem"], "the segment before it ends earlier: records are missing")
    shutil.copy(segments(world)[0], path)  # Another's, under its name.
    found, _ = rows(world, "verify", world.data, code=1)
    check("its header names another segment" in [row["problem"] for row in found], found)
    shutil.copy(kept, path)
    os.unlink(kept)
    equal(rows(world, "verify", world.data)[0], [])


def test_a_torn_tail_is_no_problem(world):
    server = world.server()
    for n in range(5):
        produce(server, "l", [f"record-{n}"])
    server.kill()
    path, = segments(world)
    equal(rows(world, "verify", world.data)[0], [])
    batches, _ = rows(world, "inspect", path)
    spoil(path, batches[-1]["position"] + 200)  # The last one: nothing later proves it.
    found, said = rows(world, "verify", world.data)
    equal(found, [])
    check("1 torn tails, 0 problems" in said, said)
    equal(rows(world, "inspect", world.data)[0][0]["state"], "open, torn tail")
    spoil(path, batches[1]["position"] + 200)  # Later ones prove this one.
    found, _ = rows(world, "verify", world.data, code=1)
    equal(found[0]["position"], batches[1]["position"])
    equal(rows(world, "inspect", world.data)[0][0]["state"], "damaged")


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
