"""Batches as the log keeps them, read over the wire and checked for what is true of each."""
import struct

import wire
from fixture import check, equal

HEAD = struct.Struct(">qiiBIhiqqqhii")
TRANSACTIONAL_AND_CONTROL = 0x30


class Batch:
    """A record batch v2 as bytes, and its fields."""

    def __init__(self, data):
        (self.base, self.length, self.leader_epoch, self.magic, self.crc, self.attributes,
         self.last_delta, _, _, self.producer, self.epoch, self.sequence, self.count) = \
            HEAD.unpack(data[:HEAD.size])
        self.data, self.records = data, data[HEAD.size:]
        self.codec = self.attributes & 7


def stored(server, topic, partition=0):
    """Every batch of a partition, checked for what is true of each."""
    batches, offset, high = [], 0, None
    with server.connect() as connection:
        while high is None or offset < high:
            connection.sendall(wire.fetch_request(topic, offset, partition))
            error, high, data = wire.fetched(wire.answer(connection)[1], topic)
            equal(error, 0, f"error of the fetch at {offset}")
            before = offset
            while len(data) >= 12 and len(data) >= 12 + struct.unpack(">i", data[8:12])[0]:
                size = 12 + struct.unpack(">i", data[8:12])[0]
                batches.append(Batch(data[:size]))
                data = data[size:]
                offset = batches[-1].base + batches[-1].last_delta + 1
            check(offset > before or offset == high, f"no batch at {offset} of {high}")
    next_offset = 0
    for batch in batches:
        equal(batch.magic, 2, "magic")
        equal(batch.crc, wire.crc32c(batch.data[21:]), f"crc at {batch.base}")
        equal(batch.base, next_offset, "base offset")
        equal(batch.last_delta, batch.count - 1, "last offset delta")
        equal(batch.attributes & TRANSACTIONAL_AND_CONTROL, 0, "attributes")
        next_offset += batch.count
    equal(next_offset, high, "offsets of all batches")
    return batches
