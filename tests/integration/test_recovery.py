"""What a start makes of a directory that was killed and then damaged: records in files and journals are
served, or the operator and the client are told; also at the start after that. The finer table is
tests/unit/shard/replay_test.c."""
import glob
import os
import shutil
import struct

import wire
from fixture import check, consume, equal, lines, produce
from test_directory import (FETCH_STORAGE_ERROR, KAFKA_STORAGE_ERROR, SLOT_BYTES, fetch_error,
                            produce_one, read, refused, slots, write)

BLOCK = 4096


def killed(world, rounds=6):
    """A server that died with each of some records in a block of the journal of its own."""
    server = world.server(settings={"cpu.cores": "1"})
    for n in range(rounds):
        produce(server, "d", [f"record-{n}"])
    server.kill()
    return server


def all_of(rounds=6):
    return [f"record-{n}" for n in range(rounds)]


def journal(world):
    path, spare = sorted(glob.glob(os.path.join(world.data, "journal", "*.jnl")))
    check(spare.endswith("/1.jnl"), spare)
    return path


def blocks(world):
    """Positions of the journal's blocks of the newest life, by seq."""
    data, found = read(journal(world)), {}
    named = struct.unpack("<Q", read(os.path.join(world.data, "MANIFEST"))[BLOCK + 8:BLOCK + 16])[0]
    for position in range(0, len(data), BLOCK):
        head = data[position:position + 96]
        if head[:4] == b"FJNL" and struct.unpack("<Q", head[8:16])[0] == named:
            found[struct.unpack("<Q", head[16:24])[0]] = position
    return [found[seq] for seq in sorted(found)]


def flip(path, position):
    with open(path, "r+b") as file:
        file.seek(position)
        byte = file.read(1)[0]
        file.seek(position)
        file.write(bytes([byte ^ 0x10]))


def served(server, records):
    """At two starts, of which the first is killed; and appends go on."""
    for n in range(2):
        server.start()
        equal(consume(server, "d"), records)
        produce(server, "d", [f"more-{n}"])
        records = records + [f"more-{n}"]
        equal(consume(server, "d"), records)
        server.kill()


def told(server):
    """At two starts: whoever writes is refused, whoever reads behind what is left is told."""
    for _ in range(2):
        server.start()
        equal(produce_one(server, "d", b"no")[0], KAFKA_STORAGE_ERROR)
        check("damaged" in server.text.lower() or "are lost" in server.text, server.text)
        produce(server, "other", lines(3))  # Everybody else goes on.
        server.kill()


def test_the_last_block_of_a_journal_looks_torn(world):
    server = killed(world)
    flip(journal(world), blocks(world)[-1] + 200)
    served(server, all_of()[:-1])


def test_a_lost_block_of_a_journal_is_told(world):
    server = killed(world)
    flip(journal(world), blocks(world)[2] + 200)
    told(server)


def test_the_block_with_the_only_record_of_a_segment(world):
    """Nothing else in the journal names the segment: its file does."""
    server = world.server(settings={"cpu.cores": "1"})
    produce(server, "d", ["alone"])
    for n in range(4):
        produce(server, "other", [f"record-{n}"])
    server.kill()
    flip(journal(world), blocks(world)[0] + 200)
    for _ in range(2):
        server.start()
        equal(fetch_error(server, "d"), FETCH_STORAGE_ERROR)
        equal(produce_one(server, "d", b"no")[0], KAFKA_STORAGE_ERROR)
        server.kill()


def test_a_journal_that_was_cut_is_told(world):
    server = killed(world)
    with open(journal(world), "r+b") as file:
        file.truncate(blocks(world)[2])
    told(server)


def test_a_damaged_manifest_is_refused_and_can_be_put_back(world):
    server = killed(world)
    path = os.path.join(world.data, "MANIFEST")
    good = read(path)
    newer = good[:8] + struct.pack("<I", 2) + good[12:BLOCK - 4]
    newer += struct.pack("<I", wire.crc32c(newer)) + good[BLOCK:]
    for bad, word in ((b"", "MANIFEST"), (good[:BLOCK], "MANIFEST"), (newer, "newer floe"),
                      (good[:40] + b"\1" + good[41:], "MANIFEST")):
        write(path, bad)
        refused(world, world.data, word)
        refused(world, world.data, word)
        equal(read(path), bad, "the MANIFEST is as it was")
    os.unlink(path)
    refused(world, world.data, "MANIFEST is missing")
    with open(path, "wb") as file:
        file.write(good)
    served(server, all_of())


def test_a_manifest_of_another_directory_is_refused(world):
    server = killed(world)
    other = world.server(data=world.data + "2")
    produce(other, "d", lines(3))
    other.kill()
    path = os.path.join(world.data, "MANIFEST")
    good = read(path)
    write(path, read(os.path.join(world.data + "2", "MANIFEST")))
    refused(world, world.data, "MANIFEST", "put it back")
    write(path, good)
    served(server, all_of())


def test_a_lost_journal_is_refused_and_can_be_put_back(world):
    server = killed(world)
    path = journal(world)
    os.rename(path, path + ".kept")
    refused(world, path, "put it back")
    os.rename(path + ".kept", path)
    served(server, all_of())


def test_superblock_slots_swapped_or_stale(world):
    server = killed(world, 1)
    path = os.path.join(world.data, "superblock")
    stale = read(path)
    for _ in range(3):
        server.start()
        server.kill()
    first, second = slots(world)
    write(path, second + first)
    server.start()
    equal(consume(server, "d"), all_of(1))
    server.kill()
    first, second = slots(world)
    write(path, stale[:SLOT_BYTES] + second)
    server.start()
    produce(server, "d", ["more"])
    server.kill()
    write(path, stale)  # Both: the boot number goes back.
    served(server, all_of(1) + ["more"])


def test_a_superblock_of_another_directory_is_refused(world):
    server = killed(world)
    other = world.server(data=world.data + "2")
    for _ in range(3):  # So that its boot number is the greater one.
        other.kill()
        other.start()
    other.kill()
    path = os.path.join(world.data, "superblock")
    good, foreign = read(path), read(os.path.join(world.data + "2", "superblock"))
    for bad in (good[:SLOT_BYTES] + foreign[SLOT_BYTES:], foreign[:SLOT_BYTES] + good[SLOT_BYTES:]):
        write(path, bad)
        refused(world, world.data, "two directories", "backup")
        equal(read(path), bad, "the superblock is as it was")
    write(path, foreign)
    refused(world, world.data)
    write(path, good)
    served(server, all_of())


def test_a_segment_cut_or_spoiled_after_a_kill(world):
    """Large records are in the file, small ones in the journal."""
    server = world.server(settings={"cpu.cores": "1"})
    for n in range(3):
        produce(server, "d", ["x" * 100000 + str(n)])
    produce(server, "d", ["small"])
    server.kill()
    path, = glob.glob(os.path.join(world.data, "topics", "*", "*", "*.seg"))
    shutil.copytree(world.data, world.data + ".good")
    for spoil in (lambda: flip(path, 20), lambda: flip(path, 2 * BLOCK + 20),
                  lambda: flip(path, 2 * BLOCK + 50000), lambda: os.truncate(path, 3 * BLOCK),
                  lambda: os.truncate(path, 0), lambda: os.unlink(path)):
        spoil()
        told(server)
        shutil.rmtree(world.data)
        shutil.copytree(world.data + ".good", world.data)
    served(server, ["x" * 100000 + str(n) for n in range(3)] + ["small"])
