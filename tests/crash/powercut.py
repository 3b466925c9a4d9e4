#!/usr/bin/python3
"""Cuts the power of the disk under a server again and again; whatever was acked must be there.

    tests/crash/powercut.py [--floe build/release/floe] [--cycles 20] [--seed N] [--partitions 1|64]
                            [--set KEY=VALUE]... [--mutant NAME] [--keep IMAGE]

After every cut: each acked batch stands at the offset that its ack named, byte for byte; nothing is
missing between, nothing stands there twice. Exit code 1 when that is not so. `--mutant` chooses a
deliberate bug (the binary is floe_mutant), which must lose an acked record: exit code 1 when it
does not within these cycles. 77: this machine cannot do it. `--keep` copies the disk after each
cut.
"""
import argparse
import collections
import os
import random
import shutil
import signal
import sys
import time
import traceback

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(HERE, "..", "integration")]
sys.dont_write_bytecode = True

import device  # noqa: E402
from fixture import READY, ROOT, World, check, equal  # noqa: E402
from ledger import Ledger, Lost  # noqa: E402
from load import Load, producer_id  # noqa: E402

# One disk, with its files and producers, lives through some cuts; then comes a fresh one.
CUTS_OF_A_LIFE, ACKS_OF_A_CYCLE = (1, 7), (1, 240)
# When the power goes, and how often of 20: under load; in the restart after a kill -9; under load
# and again in the restart after that; when all is acked; in an orderly stop.
MOMENTS = ["load"] * 13 + ["start"] * 2 + ["twice"] * 2 + ["idle"] * 1 + ["stop"] * 2
# Of what no flush has asked for, this is on the disk nevertheless.
SHARES_SAVED = [0, 0, 0, 0.2, 0.5, 0.9]
# What `log verify` may say of files before the server has looked at them.
TORN = ["the seal block is damaged"]
WARM_ACKS, START_SECONDS, STOP_SECONDS, CUT_SECONDS = 300, 0.08, 0.05, 0.01
AIMED = 0.75  # In this share of the cuts the disk holds something unflushed, if it ever does.
OS_TOPIC, DISK_TOPIC = "quick", "safe"
TOPICS_CHANGE, TOPICS_MORE = 0.25, 3  # In this share of the cycles; at most so many others.
SOMETIMES_CYCLES = 60  # From so many cycles on each of these must have been seen:
SOMETIMES = ["a write without a flush was lost", "a batch sent, not acked, was lost",
             "a batch sent, not acked, survived", "a start was cut before it was ready",
             "a cut of which some sectors survived"]


class Life:
    """One disk, from mkfs to the last cut."""

    def __init__(self, options, world, prng, number, counts):
        self.options, self.world, self.counts = options, world, counts
        self.prng, self.number = prng, number
        self.seed = f"{options.seed}/{number}"
        self.disk = device.Device(os.path.join(world.dir, f"life-{number}"))
        partitions = options.partitions or (1, 64)[number % 2]
        large = 0.15 if partitions == 1 else 0.05
        self.ledgers = [Ledger(self.seed, DISK_TOPIC, at, True, large) for at in range(partitions)]
        self.ledgers.append(Ledger(self.seed, OS_TOPIC, 0, False, large))
        self.settings = {
            "segment.bytes": prng.choice(["1MiB", "4MiB", "64MiB"]),
            "segment.records": prng.choice(["100", "1000", "100000"]),
            "storage.engine": prng.choice(["direct", "direct", "buffered", "mmap"]),
            "io.engine": prng.choice(["auto", "auto", "posix"]), **options.set}
        self.server = self.producer = self.load = None
        self.names = {DISK_TOPIC, OS_TOPIC}  # Of the topics, as acked.
        self.slot = 0

    def text(self):
        return " ".join([f"partitions={len(self.ledgers) - 1}",
                         *(f"{key}={value}" for key, value in self.settings.items())])

    def begin(self):
        self.disk.make()
        self.power_on()
        self.server = self.world.server(data=os.path.join(self.disk.root, "data"),
                                        settings=self.settings, preexec=self.disk.in_this_boot)
        for topic, count, durability in ((DISK_TOPIC, len(self.ledgers) - 1, "disk"),
                                         (OS_TOPIC, 1, "os")):
            done = self.world.floe("topic", "create", topic, "-p", str(count), "-b",
                                   self.server.address, "--config", f"durability={durability}")
            equal(done.returncode, 0, f"topic create: {done.stderr!r}")
        self.producer = producer_id(self.server)
        if self.options.mutant is not None:
            self.warm_up()

    def warm_up(self):
        """Files and names, superblock and map are safe by our doing: a mutant shall lose records,
        and not be found because nothing starts any more."""
        load = Load(self.server, self.ledgers, self.producer, f"{self.seed} warm")
        load.until(WARM_ACKS)
        load.finish()
        self.disk.flush()

    def power_on(self):
        self.disk.start()
        self.disk.witness_open()

    def power_off(self):
        """Returns when nothing of this boot is left but the image."""
        self.slot += 1
        if self.prng.random() < AIMED:
            self.disk.aim(self.prng)
        else:
            self.disk.witness_start(self.slot)
            time.sleep(self.prng.random() * CUT_SECONDS)
        self.load.cutting()
        self.disk.cut()
        self.counts["power cuts"] += 1
        self.server.kill()
        self.disk.clear()
        share = self.prng.choice(SHARES_SAVED)
        there, saved = self.disk.save(self.prng, share)
        if self.options.keep is not None:
            device.run("cp", "--sparse=always", self.disk.image, self.options.keep)
        self.counts["bytes that no flush had asked for"] += there
        self.counts["of them on the disk nevertheless"] += saved
        self.count("a cut of which some sectors survived", saved > 0)
        return f"of {there // 1024} KiB without a flush {saved // 1024} saved"

    def change_topics(self):
        """One more or one less."""
        others = sorted(self.names - {DISK_TOPIC, OS_TOPIC})
        verb = "delete" if len(others) == TOPICS_MORE else "create"
        name = others[0] if verb == "delete" else f"other-{self.slot}"
        done = self.world.floe("topic", verb, name, "-b", self.server.address)
        equal(done.returncode, 0, f"topic {verb}: {done.stderr!r}")
        self.names ^= {name}
        self.counts["acked changes of topics"] += 1

    def verify_topics(self):
        done = self.world.floe("topic", "list", "-b", self.server.address)
        found = {line.split("\t")[0] for line in done.stdout.decode().splitlines()[1:]}
        if found != self.names:
            raise Lost(f"the topics are {sorted(found)}, acked were {sorted(self.names)}")

    def cycle(self, moment):
        """From a server that runs to the next one, with a cut between; what to say of it."""
        self.load = load = Load(self.server, self.ledgers, self.producer,
                                f"{self.seed} {self.slot}")
        load.until(self.prng.randrange(*ACKS_OF_A_CYCLE))
        if self.prng.random() < TOPICS_CHANGE and self.options.mutant is None:
            self.change_topics()
        if moment == "idle":
            load.finish()
        elif moment in ("start", "stop"):
            load.cutting()
        if moment == "twice":
            self.power_off()
            self.power_on()
        if moment in ("start", "twice"):
            self.server.kill()
            self.server.launch()
            time.sleep(self.prng.random() * START_SECONDS)
            self.count("a start was cut before it was ready", not READY.search(self.server.text))
        elif moment == "stop":
            self.server.process.send_signal(signal.SIGTERM)
            time.sleep(self.prng.random() * STOP_SECONDS)
        cut = self.power_off()
        load.finish()
        self.counts["acked batches"] += load.acks
        self.counts["acked records"] += load.records
        self.counts["acks after the cut"] += load.late_acks
        return f"{load.acks} acks; {cut}; {self.look()}"

    def look(self):
        """Starts again and compares."""
        self.power_on()
        self.count("a write without a flush was lost", self.disk.witness_lost(self.slot))
        self.verify_files(TORN)
        self.server.start()
        self.verify_topics()
        batches = 0
        for ledger in self.ledgers:
            found = ledger.verify(self.server, self.producer)
            batches += found
            if ledger.durable:
                self.count("a batch sent, not acked, was lost", found < ledger.next)
                self.count("a batch sent, not acked, survived", found > ledger.acked)
            else:
                self.count("an acked batch of durability=os was lost", found < ledger.acked)
            ledger.resume(found)
        self.counts["batches read back"] += batches
        return f"{batches} batches are there"

    def verify_files(self, allowed):
        """By `floe log verify`, which names each problem: file, position, what it is."""
        if self.options.mutant is not None:
            return
        done = self.world.floe("log", "verify", self.server.data)
        problems = [line.split("\t") for line in done.stdout.decode().splitlines()[1:]]
        bad = [problem for problem in problems if problem[-1] not in allowed]
        check(not bad and (problems or done.returncode == 0),
              f"log verify: {bad[:5]} {done.returncode} {done.stderr.decode()}")
        self.count("a torn seal block was met", problems)

    def count(self, what, happened):
        self.counts[what] += bool(happened)

    def close(self):
        """In order; the files are whole now, whatever the cuts have torn."""
        equal(self.server.stop(), 0, "exit code of SIGTERM")
        self.verify_files([])

    def end(self):
        """As it is."""
        if self.server is not None:
            self.server.kill()
        self.disk.clear()
        shutil.rmtree(self.disk.folder, ignore_errors=True)


def lives(options, world, counts):
    """The cycles, one after the other; a mutant ends them when it has lost something."""
    prng = random.Random(options.seed)
    number = done = 0
    while done < options.cycles:
        cuts = prng.randrange(*CUTS_OF_A_LIFE)
        life = Life(options, world, random.Random(f"{options.seed} life {number}"), number, counts)
        number += 1
        print(f"disk {number}: {life.text()}", flush=True)
        try:
            life.begin()
            for _ in range(min(cuts, options.cycles - done)):
                moment, started = life.prng.choice(MOMENTS), time.monotonic()
                done += 1
                counts[f"cycles with a cut in {moment}"] += 1
                said = life.cycle(moment)
                seconds = time.monotonic() - started
                print(f"cut {done} ({moment}): {said} ({seconds:.2f} s)", flush=True)
            life.close()
        except AssertionError as error:
            if options.mutant is None:
                print(life.server.text[-4000:] if life.server else "", flush=True)
                raise
            if isinstance(error, Lost):
                return f"{options.mutant} is found after {done} cuts: {error}"
            counts["lives that ended otherwise"] += 1
            print(f"cut {done}: {error!s:.600}", flush=True)
        finally:
            life.end()
    return None


def judge(options, counts, found, seconds):
    """The last lines, and the exit code."""
    for what, count in sorted(counts.items()):
        print(f"{count:10} {what}")
    if options.mutant is not None:
        print(found or f"FAIL with --seed {options.seed}: {options.mutant} lost nothing in "
              f"{options.cycles} cuts")
        return 0 if found else 1
    never = [what for what in SOMETIMES if counts[what] == 0]
    if options.cycles >= SOMETIMES_CYCLES and never:
        print(f"FAIL with --seed {options.seed}: the cuts prove nothing, it was never seen that "
              f"{never[0]}")
        return 1
    print(f"{counts['power cuts']} power cuts, {counts['acked records']} acked records in "
          f"{counts['acked batches']} batches: none lost ({seconds:.0f} s, seed {options.seed})")
    return 0


def key_and_value(text):
    key, equals, value = text.partition("=")
    if not equals:
        raise argparse.ArgumentTypeError("KEY=VALUE")
    return key, value


def parse():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--floe", default=None)
    parser.add_argument("--cycles", type=int, default=20)
    parser.add_argument("--seed", type=int, default=int.from_bytes(os.urandom(4), "big"))
    parser.add_argument("--partitions", type=int, default=None)
    parser.add_argument("--set", type=key_and_value, action="append", default=[])
    parser.add_argument("--mutant", default=None)
    parser.add_argument("--keep", default=None)
    options = parser.parse_args()
    options.set = dict(options.set)
    name = "floe" if options.mutant is None else "floe_mutant"
    options.floe = os.path.abspath(options.floe or os.path.join(ROOT, "build", "release", name))
    return options


def end(_signal, _frame):
    sys.exit(1)  # By way of every `finally`.


def main():
    options = parse()
    reason = device.missing()
    if reason is not None:
        print(f"no power cuts here: {reason}")
        return 77
    check(os.access(options.floe, os.X_OK), f"{options.floe} is not there")
    signal.signal(signal.SIGTERM, end)
    for key in [key for key in os.environ if key.startswith("FLOE_")]:
        del os.environ[key]
    if options.mutant is not None:
        os.environ["MUTANT"] = options.mutant
    device.sweep(os.path.join(ROOT, "build", "integration"))
    world, counts, started = World(options.floe), collections.Counter(), time.monotonic()
    print(f"seed {options.seed}", flush=True)
    try:
        found = lives(options, world, counts)
        return judge(options, counts, found, time.monotonic() - started)
    except Exception as error:  # Whatever it was, the seed belongs to it.
        traceback.print_exc(file=sys.stdout)
        print(f"FAIL with --seed {options.seed} after {counts['power cuts']} cuts: {error}")
        return 1
    finally:
        world.close()


if __name__ == "__main__":
    sys.exit(main())
