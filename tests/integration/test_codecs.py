"""Batches are stored as the client made them: codec, checksum, producer, sequences."""
import gzip
import struct

import wire
from batches import HEAD, stored
from fixture import check, consume, equal, lines, produce

CODECS = {"none": 0, "gzip": 1, "snappy": 2, "lz4": 3, "zstd": 4}
# What the compressed records begin with. Snappy's plain form begins with a length: no magic.
MAGIC = {"gzip": b"\x1f\x8b", "lz4": b"\x04\x22\x4d\x18", "zstd": b"\x28\xb5\x2f\xfd"}


def check_codec(batches, codec):
    equal({batch.codec for batch in batches}, {CODECS[codec]}, f"codecs with {codec}")
    for batch in batches:
        magic = MAGIC.get(codec, b"")
        equal(batch.records[:len(magic)], magic, f"what records in {codec} begin with")


def check_sequences(batches):
    """Of one producer and dense; its id."""
    equal(len({(batch.producer, batch.epoch) for batch in batches}), 1, "number of producers")
    check(batches[0].producer >= 0 and batches[0].epoch >= 0, "the batches name no producer")
    wanted = 0
    for batch in batches:
        equal(batch.sequence, wanted, f"sequence at {batch.base}")
        wanted += batch.count
    return batches[0].producer


def compressible(count):
    """librdkafka sends a batch that does not shrink without its codec."""
    return [f"{n}-{'ab' * 200}" for n in range(count)]


def kcat_codec(world, codec):
    server = world.server()
    records = compressible(600)
    words = ["-z", codec, "-X", "batch.num.messages=50", "-X", "linger.ms=60000"]
    produce(server, "plain", records, *words)
    batches = stored(server, "plain")
    check(len(batches) >= 12, f"{len(batches)} batches of 50 records at most")
    check_codec(batches, codec)
    equal({(b.producer, b.epoch, b.sequence) for b in batches}, {(-1, -1, -1)}, "producers")
    producers = []
    for topic in ("first", "second"):
        produce(server, topic, records, "-X", "enable.idempotence=true", *words)
        batches = stored(server, topic)
        check(len(batches) >= 12, f"{len(batches)} batches of 50 records at most")
        check_codec(batches, codec)
        producers.append(check_sequences(batches))
        equal(consume(server, topic), records)
    check(producers[0] != producers[1], f"two producers are both {producers[0]}")


def test_kcat_stores_none(world):
    kcat_codec(world, "none")


def test_kcat_stores_gzip(world):
    kcat_codec(world, "gzip")


def test_kcat_stores_snappy(world):
    kcat_codec(world, "snappy")


def test_kcat_stores_lz4(world):
    kcat_codec(world, "lz4")


def test_kcat_stores_zstd(world):
    kcat_codec(world, "zstd")


def test_codecs_mix_in_one_partition(world):
    server = world.server()
    records, wanted = [], []
    for codec, number in CODECS.items():
        produce(server, "mixed", compressible(100), "-z", codec, "-X", "batch.num.messages=20", "-X", "linger.ms=60000")
        records += compressible(100)
        wanted.append(number)
    for _ in range(2):
        codecs = [batch.codec for batch in stored(server, "mixed")]
        equal(sorted(codecs), codecs, "codecs in the order of their writing")
        equal(sorted(set(codecs)), wanted)
        equal(consume(server, "mixed"), records)
        server.kill()
        server.start()


def gzip_batch(values):
    plain = wire.batch(values)
    records = gzip.compress(plain[HEAD.size:], mtime=0)
    after = struct.pack(">h", CODECS["gzip"]) + plain[23:HEAD.size] + records
    head = struct.pack(">iBI", -1, 2, wire.crc32c(after))
    return struct.pack(">qi", 0, len(head) + len(after)) + head + after


def test_batches_are_stored_byte_for_byte(world):
    server = world.server()
    equal(world.floe("topic", "create", "bytes", "-b", server.address).returncode, 0)
    values = [line.encode() for line in lines(200)]
    sent = [wire.batch(values), gzip_batch(values), wire.batch(values[:1]), gzip_batch(values[:1])]
    with server.connect() as connection:
        for batch in sent:
            connection.sendall(wire.produce_request("bytes", batch))
            equal(wire.produced(wire.answer(connection)[1], "bytes")[0], 0, "error of the produce")
    for _ in range(2):
        batches = stored(server, "bytes")
        equal([b.base for b in batches], [0, 200, 400, 401], "base offsets")
        # The base offset and the leader's epoch, which the checksum leaves out, are the broker's.
        equal([b.data[16:] for b in batches], [data[16:] for data in sent])
        equal([b.length + 12 for b in batches], [len(data) for data in sent], "lengths")
        server.kill()
        server.start()
    equal(consume(server, "bytes"), lines(200) * 2 + lines(1) * 2)


def test_a_wrong_checksum_is_refused(world):
    server = world.server()
    equal(world.floe("topic", "create", "crc", "-b", server.address).returncode, 0)
    good = gzip_batch([b"x" * 500])
    with server.connect() as connection:
        for at in (17, 22, 40, len(good) - 1):  # In the sum, the attributes, a time, the records.
            bad = bytearray(good)
            bad[at] ^= 0x40
            connection.sendall(wire.produce_request("crc", bytes(bad)))
            error, _ = wire.produced(wire.answer(connection)[1], "crc")
            equal(error, 2, f"error of a batch with byte {at} changed")
        connection.sendall(wire.produce_request("crc", good))
        equal(wire.produced(wire.answer(connection)[1], "crc"), (0, 0))
    equal(len(stored(server, "crc")), 1, "batches")
    equal(consume(server, "crc"), ["x" * 500])
