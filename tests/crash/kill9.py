#!/usr/bin/python3
"""Kills the server again and again while one idempotent producer goes on, then reads all back.

    tests/crash/kill9.py [--binary build/release/floe] [--cycles 50] [--acks 500] [--seed N]

After every kill: what was acked is there, at the offset that the ack named, byte for byte, whether the
topic's durability is `disk` or `os`; offsets are dense; nothing stands there twice, though the
producer sends again what it did not hear about; order is kept.
"""
import argparse
import collections
import os
import random
import sys
import time
import traceback

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "integration"))
sys.dont_write_bytecode = True

from fixture import ROOT, World, check, counters, equal  # noqa: E402

DURABILITIES, PARTITIONS, CYCLE_SECONDS = ["disk", "os"], 3, 60  # A topic of each durability.
LOGS = [(f"crash-{durability}", at) for durability in DURABILITIES for at in range(PARTITIONS)]
# Sizes of records, and one of how many has them. A large one goes straight to its segment file, the
# others by way of the journal, unless a batch of 50 has one of these.
SMALL, MIDDLE, LARGE = (0, 400), (4 << 10, 32 << 10), (64 << 10, 200 << 10)
MIDDLE_ONE_OF, LARGE_ONE_OF = 100, 150
CYCLES_OF_A_LOOK = 10


def content(log, number):
    """The record of that number: it begins with the number, the rest follows from it."""
    prng = random.Random(f"{log} {number}")
    size = (LARGE if prng.randrange(LARGE_ONE_OF) == 0 else
            MIDDLE if prng.randrange(MIDDLE_ONE_OF) == 0 else SMALL)
    return b"%d %s" % (number, prng.randbytes(prng.randrange(*size)))


class Workload:
    """Numbers its records; remembers what was acked, and where."""

    def __init__(self, address, prng):
        from confluent_kafka import Producer
        self.prng = prng
        self.next = {log: 0 for log in LOGS}
        self.acked = {log: {} for log in LOGS}  # Number -> offset.
        self.ack_count, self.large_count, self.errors = 0, 0, []
        self.commits, self.direct = 0, 0  # Of the servers; straight to a segment file.
        self.producer = Producer({
            "bootstrap.servers": address, "enable.idempotence": True, "message.timeout.ms": 300000,
            "reconnect.backoff.ms": 20, "reconnect.backoff.max.ms": 200, "retry.backoff.ms": 50,
            "linger.ms": 1, "batch.num.messages": 50, "queue.buffering.max.messages": 2000,
            "error_cb": self.hears})

    def hears(self, error):
        if error.fatal():
            self.errors.append(f"fatal: {error}")

    def delivered(self, error, message):
        if error:
            self.errors.append(f"not delivered: {error}")
            return
        number = int(message.value().split(b" ")[0])
        self.acked[message.topic(), message.partition()][number] = message.offset()
        self.ack_count += 1
        self.large_count += len(message.value()) > LARGE[0]

    def step(self):
        """Some records more, if the queue has room."""
        for _ in range(20):
            topic, partition = log = self.prng.choice(LOGS)
            value = content(log, self.next[log])
            try:
                self.producer.produce(topic, value, partition=partition, callback=self.delivered)
            except BufferError:
                self.producer.poll(0.01)
                return
            self.next[log] += 1
        self.producer.poll(0)

    def count(self, server):
        """Before it is killed."""
        rows = counters(server)
        commits = sum(row["commits"] for row in rows)
        self.commits += commits
        self.direct += commits - sum(row["journal_frames"] for row in rows)

    def until(self, acks, alive):
        deadline = time.monotonic() + CYCLE_SECONDS
        while self.ack_count < acks and not self.errors:
            check(alive(), "the server died by itself")
            check(time.monotonic() < deadline,
                  f"only {self.ack_count} of {acks} acks after {CYCLE_SECONDS} s")
            self.step()


def read_all(address, log):
    """Every record of a partition: (offset, number), with the content that its number stands for."""
    from confluent_kafka import Consumer, KafkaError, TopicPartition
    consumer = Consumer({"bootstrap.servers": address, "group.id": "unused",
                         "enable.auto.commit": False, "enable.partition.eof": True,
                         "auto.offset.reset": "error", "check.crcs": True})
    consumer.assign([TopicPartition(*log, 0)])
    found = []
    deadline = time.monotonic() + CYCLE_SECONDS
    while True:
        check(time.monotonic() < deadline, f"{log} does not end")
        message = consumer.poll(1)
        if message is None:
            continue
        if message.error():
            if message.error().code() == KafkaError._PARTITION_EOF:
                break
            check(message.error().retriable() or message.error().code() < 0, message.error())
            continue
        value = message.value()
        number = int(value.split(b" ", 1)[0])
        check(value == content(log, number),
              f"{log}: at {message.offset()} stands {value[:60]!r}, not the content of {number}")
        found.append((message.offset(), number))
    consumer.close()
    return found


def verify(workload, address, complete):
    for log in LOGS:
        found = read_all(address, log)
        equal([offset for offset, _ in found], list(range(len(found))), "offsets are not dense")
        numbers = [number for _, number in found]
        twice = [n for n, count in collections.Counter(numbers).items() if count > 1]
        equal(twice[:10], [], f"{log}: records that stand twice")
        equal(numbers, list(range(len(numbers))), f"{log}: order or a gap")
        stored = dict(found)
        for number, offset in workload.acked[log].items():
            if stored.get(offset) != number:
                raise AssertionError(f"{log}: record {number} was acked at offset {offset}, "
                                     f"where stands {stored.get(offset)} of {len(found)}")
        if complete:
            equal(len(found), workload.next[log], f"{log}: records")


def verify_files(world):
    """What lies on the disk now, without a server: torn tails at most."""
    done = world.floe("log", "verify", world.data)
    equal(done.returncode, 0, (done.stdout + done.stderr).decode())
    return done.stderr.decode().strip()


def cycles(world, options):
    prng = random.Random(options.seed)
    # The first start chooses a port; the producer outlives the server, so the others must take it too.
    server = world.server(settings={"segment.records": "5000", "segment.bytes": "8MiB"})
    server.port_wanted = server.port
    address = server.address
    for durability in DURABILITIES:
        done = world.floe("topic", "create", f"crash-{durability}", "-p", str(PARTITIONS), "-b",
                          address, "--config", f"durability={durability}")
        equal(done.returncode, 0, f"topic create: {done.stderr!r}")
    workload = Workload(address, prng)
    for cycle in range(options.cycles):
        before = workload.ack_count
        workload.until(before + options.acks, server.alive)
        workload.count(server)
        for _ in range(prng.randrange(30)):
            workload.step()  # The kill shall hit appends of all ages.
        equal(workload.errors, [], "the producer")
        server.kill()
        files = verify_files(world)
        server.start()
        print(f"cycle {cycle + 1}: {workload.ack_count - before} acks, killed ({files}), started "
              "again", flush=True)
        if cycle % CYCLES_OF_A_LOOK == CYCLES_OF_A_LOOK - 1:
            verify(workload, address, complete=False)
    deadline = time.monotonic() + 2 * CYCLE_SECONDS
    while len(workload.producer) > 0 and not workload.errors and time.monotonic() < deadline:
        workload.producer.poll(0.1)
    equal(workload.errors, [], "the producer")
    equal(len(workload.producer), 0, "records without a report")
    verify(workload, address, complete=True)
    equal(server.stop(), 0, "exit code of SIGTERM")
    verify_files(world)
    server.start()
    verify(workload, address, complete=True)
    check(0 < workload.direct < workload.commits,
          f"{workload.direct} of {workload.commits} commits were direct: that mixes nothing")
    counts = ", ".join(f"{sum(len(workload.acked[log]) for log in LOGS if log[0].endswith(name))} "
                       f"in {name}" for name in DURABILITIES)
    print(f"{options.cycles} kills, {workload.ack_count} acks ({counts}; {workload.large_count} of "
          f"{LARGE[0] >> 10} KiB and more; {workload.direct} of {workload.commits} commits direct): "
          "none lost, none twice, offsets dense")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--binary", default=os.path.join(ROOT, "build", "release", "floe"))
    parser.add_argument("--cycles", type=int, default=50)
    parser.add_argument("--acks", type=int, default=500)
    parser.add_argument("--seed", type=int, default=int.from_bytes(os.urandom(4), "big"))
    options = parser.parse_args()
    for key in [key for key in os.environ if key.startswith("FLOE_")]:
        del os.environ[key]
    world = World(os.path.abspath(options.binary))
    print(f"seed {options.seed}", flush=True)
    try:
        cycles(world, options)
    except Exception as error:  # Whatever it was, the seed belongs to it.
        traceback.print_exc(file=sys.stdout)
        for server in world.servers:
            print(server.text[-4000:])
        print(f"FAIL with --seed {options.seed}: {error}")
        return 1
    finally:
        world.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
