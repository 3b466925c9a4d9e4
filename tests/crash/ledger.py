"""What was sent to one partition, what was acked, and whether the log says the same.

A partition has one idempotent producer. The content of its n-th batch follows from the seed and n:
it is made again, not kept, when it is sent again or compared. So the log must be the batches 0, 1,
2... each once, at offsets known beforehand, up to some batch at or behind the last acked one.
"""
import random

import wire
from batches import stored
from fixture import check, equal

SMALL, LARGE_BYTES = (100, 4096), (64 << 10, 256 << 10)
UNACKED_MAX = 5  # As many as a server remembers of a producer.


class Lost(AssertionError):
    """An acked record is not where its ack said, or not what it was."""


class Ledger:
    def __init__(self, seed, topic, partition, durable, large_share):
        self.seed, self.topic, self.partition = seed, topic, partition
        self.durable, self.large_share = durable, large_share
        self.starts = [0]  # The offset of each batch, and of the next one.
        self.next = 0      # The next batch to send.
        self.acked = 0     # So many batches are acked.
        self.sent = 0      # So many were sent, ever.

    def __str__(self):
        return f"{self.topic}/{self.partition}"

    def values(self, number):
        """The records of a batch: one or a few small ones, or more than 64 KiB."""
        prng = random.Random(f"{self.seed} {self} {number}")
        if prng.random() < self.large_share:
            size = prng.randrange(*LARGE_BYTES)
            count = prng.choice([1, 1, 16, 100])
            sizes = [size // count + 1] * count
        else:
            sizes = [prng.randrange(*SMALL) for _ in range(prng.choice([1, 1, 1, 3, 10]))]
        return [b"%s %d %d " % (str(self).encode(), number, at) + prng.randbytes(size)
                for at, size in enumerate(sizes)]

    def batch(self, number, producer):
        values = self.values(number)
        if number == len(self.starts) - 1:
            self.starts.append(self.starts[-1] + len(values))
        equal(self.starts[number + 1] - self.starts[number], len(values), "records of a batch")
        return wire.batch(values, producer=(*producer, self.starts[number]))

    def may_send(self):
        return self.next - self.acked < UNACKED_MAX

    def send(self, producer):
        """The next batch, and its number."""
        number = self.next
        self.next += 1
        self.sent = max(self.sent, self.next)
        return self.batch(number, producer), number

    def hear(self, number, offset):
        """An ack."""
        if offset != self.starts[number]:
            raise Lost(f"{self}: batch {number} was acked at offset {offset}, "
                       f"its place is {self.starts[number]}")
        equal(number, self.acked, f"{self}: acks out of order; batch")
        self.acked = number + 1

    def verify(self, server, producer):
        """Reads all back; how many batches there are."""
        try:
            found = stored(server, self.topic, self.partition)
        except AssertionError as error:
            if self.durable and self.acked > 0:
                raise Lost(f"{self}: {self.acked} batches are acked, and cannot be read: {error}") \
                    from error
            raise
        for number, batch in enumerate(found):
            check(number < self.sent,
                  f"{self}: batch {number} was never sent: {batch.data[:200]!r}")
            # From behind the leader's epoch, which the server may write, to the end.
            if batch.data[16:] != self.batch(number, producer)[16:]:
                raise Lost(f"{self}: batch {number} at offset {batch.base} is not what was sent: "
                           f"{batch.data[:120]!r}")
        if self.durable and len(found) < self.acked:
            end = self.starts[len(found)]
            raise Lost(f"{self}: batches {len(found)} to {self.acked - 1} were acked at offsets "
                       f"{end} to {self.starts[self.acked] - 1}; the log ends at {end}")
        return len(found)

    def resume(self, found):
        """The producer goes on behind its last ack: what was not acked is sent again."""
        self.acked = min(self.acked, found)
        self.next = self.acked
