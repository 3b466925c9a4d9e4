#!/usr/bin/python3
"""Cuts the power of the disk under a server, or a program with libfloe, again and again; whatever was
acked must be there.

    tests/crash/powercut.py [--floe build/release/floe] [--cycles 20] [--seed N]
                            [--workload server|library] [--partitions 1|64]
                            [--set KEY=VALUE]... [--mutant NAME] [--keep IMAGE]

After every cut: each acked batch stands at the offset that its ack named, byte for byte; nothing is
missing between, nothing stands there twice. Exit code 1 when that is not so. `--mutant` chooses a
deliberate bug (the programs are floe_mutant, floe_power_mutant), which must lose an acked record:
exit code 1 when it does not within these cycles. 77: this machine cannot do it. `--keep` copies the
disk after each cut. Programs are looked for beside that of `--floe`.
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
from fixture import ROOT, World, check  # noqa: E402
from ledger import Lost  # noqa: E402
from work_library import LibraryWork  # noqa: E402
from work_server import ServerWork  # noqa: E402

WORKS = {work.NAME: work for work in (ServerWork, LibraryWork)}
# One disk, with its files and producers, lives through some cuts; then comes a fresh one.
CUTS_OF_A_LIFE, ACKS_OF_A_CYCLE = (1, 7), (1, 240)
# When the power goes, and how often of 20: under load; in the restart after a kill -9; under load
# and again in the restart after that; when all is acked; in an orderly stop.
MOMENTS = ["load"] * 13 + ["start"] * 2 + ["twice"] * 2 + ["idle"] * 1 + ["stop"] * 2
# Of what no flush has asked for, this is on the disk nevertheless.
SHARES_SAVED = [0, 0, 0, 0.2, 0.5, 0.9]
# What `log verify` may say of files before a writer has looked at them.
TORN = ["the seal block is damaged"]
WARM_ACKS, START_SECONDS, STOP_SECONDS, CUT_SECONDS = 300, 0.08, 0.05, 0.01
AIMED = 0.75  # In this share of the cuts the disk holds something unflushed, if it ever does.
SOMETIMES_CYCLES = 40  # From so many cycles of a workload on each of these must have been seen:
SOMETIMES = ["a cut that took what was not flushed", "a batch sent, not acked, was lost",
             "a batch sent, not acked, survived", "a start was cut before it was ready",
             "a cut of which some sectors survived"]


class Life:
    """One disk, from mkfs to the last cut."""

    def __init__(self, options, world, prng, number, counts, kind):
        self.options, self.world, self.counts = options, world, counts
        self.prng, self.number = prng, number
        self.seed = f"{options.seed}/{number}"
        self.disk = device.Device(os.path.join(world.dir, f"life-{number}"))
        self.name, self.partitions = kind
        self.work = WORKS[self.name](self, self.partitions)
        self.slot = 0

    def text(self):
        return f"{self.name} partitions={self.partitions} {self.work.text()}"

    def begin(self):
        self.disk.make()
        self.power_on()
        self.work.begin()
        if self.options.mutant is not None:
            # Files and names, superblock and map are safe by our doing: a mutant shall lose
            # records, and not be found because nothing starts any more.
            self.work.run(WARM_ACKS)
            self.work.pause()
            self.disk.flush()
            self.work.resume()

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
        self.work.cutting()
        self.disk.cut()
        self.count("power cuts")
        self.work.kill()
        self.disk.clear()
        share = self.prng.choice(SHARES_SAVED)
        there, saved = self.disk.save(self.prng, share)
        if self.options.keep is not None:
            device.run("cp", "--sparse=always", self.disk.image, self.options.keep)
            self.work.keep(self.options.keep)
        self.count("bytes that no flush had asked for", there)
        self.count("of them on the disk nevertheless", saved)
        self.count("a cut that took what was not flushed", there > saved)
        self.count("a cut of which some sectors survived", saved > 0)
        return f"of {there // 1024} KiB without a flush {saved // 1024} saved"

    def cycle(self, moment):
        """From a disk that has power to the next one, with a cut between; what to say of it."""
        self.count(f"cycles with a cut in {moment}")
        self.work.run(self.prng.randrange(*ACKS_OF_A_CYCLE))
        if moment == "idle":
            self.work.pause()
        elif moment in ("start", "stop"):
            self.work.cutting()
        if moment == "twice":
            self.power_off()
            self.power_on()
        if moment in ("start", "twice"):
            self.work.restart()
            time.sleep(self.prng.random() * START_SECONDS)
            self.count("a start was cut before it was ready", not self.work.is_ready())
        elif moment == "stop":
            self.work.stopping()
            time.sleep(self.prng.random() * STOP_SECONDS)
        cut = self.power_off()
        return f"{self.work.settle()} acks; {cut}; {self.look()} batches are there"

    def look(self):
        """Powers on and compares."""
        self.power_on()
        self.count("a write without a flush was lost", self.disk.witness_lost(self.slot))
        self.verify_files(TORN)
        batches = self.work.look()
        self.count("batches read back", batches)
        return batches

    def verify_files(self, allowed):
        """By `floe log verify`, which names each problem: file, position, what it is."""
        if self.options.mutant is not None or not os.path.exists(self.work.data):
            return
        done = self.world.floe("log", "verify", self.work.data)
        problems = [line.split("\t") for line in done.stdout.decode().splitlines()[1:]]
        bad = [problem for problem in problems if problem[-1] not in allowed]
        check(not bad and (problems or done.returncode == 0),
              f"log verify: {bad[:5]} {done.returncode} {done.stderr.decode()}")
        self.count("a torn seal block was met", len(problems) > 0)

    def count(self, what, times=1):
        self.counts[self.name][what] += int(times)

    def close(self):
        """In order; the files are whole now, whatever the cuts have torn."""
        self.work.close()
        self.verify_files([])

    def end(self):
        """As it is."""
        self.work.kill()
        self.disk.clear()
        shutil.rmtree(self.disk.folder, ignore_errors=True)


def lives(options, world, counts):
    """The cycles, one after the other; a mutant ends them when it has lost something."""
    prng = random.Random(options.seed)
    kinds = [(name, partitions) for name in WORKS for partitions in (1, 64)
             if options.workload in (None, name) and options.partitions in (None, partitions)]
    cycles = collections.Counter({kind: 0 for kind in kinds})
    number = 0
    while (done := cycles.total()) < options.cycles:
        kind = min(kinds, key=cycles.get)
        share = -(-options.cycles // len(kinds)) - cycles[kind]
        cuts = min(prng.randrange(*CUTS_OF_A_LIFE), share, options.cycles - done)
        life = Life(options, world, random.Random(f"{options.seed} life {number}"), number, counts,
                    kind)
        number += 1
        print(f"disk {number}: {life.text()}", flush=True)
        try:
            life.begin()
            for _ in range(cuts):
                moment, started = life.prng.choice(MOMENTS), time.monotonic()
                cycles[kind] += 1
                said = life.cycle(moment)
                seconds = time.monotonic() - started
                print(f"cut {cycles.total()} ({moment}): {said} ({seconds:.2f} s)", flush=True)
            life.close()
        except AssertionError as error:
            if options.mutant is None:
                print(life.work.words, flush=True)
                raise
            if isinstance(error, Lost):
                return f"{options.mutant} is found after {cycles.total()} cuts: {error}"
            life.count("lives that ended otherwise")
            print(f"cut {cycles.total()}: {error!s:.600}", flush=True)
        finally:
            life.end()
    return None


def judge(options, counts, found, seconds):
    """The last lines, and the exit code."""
    for name, counted in counts.items():
        for what, count in sorted(counted.items()):
            print(f"{name:8}{count:10} {what}")
    if options.mutant is not None:
        print(found or f"FAIL with --seed {options.seed}: {options.mutant} lost nothing in "
              f"{options.cycles} cuts")
        return 0 if found else 1
    for name, counted in counts.items():
        never = [what for what in SOMETIMES if counted[what] == 0]
        if counted["power cuts"] >= SOMETIMES_CYCLES and never:
            print(f"FAIL with --seed {options.seed}: the cuts prove nothing, with the {name} it was "
                  f"never seen that {never[0]}")
            return 1
    both = sum(counts.values(), collections.Counter())
    split = ", ".join(f"{counted['power cuts']} {name}" for name, counted in counts.items())
    print(f"{both['power cuts']} power cuts ({split}), {both['acked records']} acked records in "
          f"{both['acked batches']} batches: none lost ({seconds:.0f} s, seed {options.seed})")
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
    parser.add_argument("--workload", choices=list(WORKS), default=None)
    parser.add_argument("--partitions", type=int, choices=[1, 64], default=None)
    parser.add_argument("--set", type=key_and_value, action="append", default=[])
    parser.add_argument("--mutant", default=None)
    parser.add_argument("--keep", default=None)
    options = parser.parse_args()
    options.set = dict(options.set)
    options.floe = os.path.abspath(options.floe or os.path.join(ROOT, "build", "release", "floe"))
    options.programs = {
        name: os.path.join(os.path.dirname(options.floe),
                           work.PROGRAM if options.mutant is None else work.MUTANT)
        for name, work in WORKS.items() if options.workload in (None, name)}
    return options


def end(_signal, _frame):
    sys.exit(1)  # By way of every `finally`.


def main():
    options = parse()
    reason = device.missing()
    if reason is not None:
        print(f"no power cuts here: {reason}")
        return 77
    for path in options.programs.values():
        check(os.access(path, os.X_OK), f"{path} is not there")
    signal.signal(signal.SIGTERM, end)
    for key in [key for key in os.environ if key.startswith("FLOE_")]:
        del os.environ[key]
    if options.mutant is not None:
        os.environ["MUTANT"] = options.mutant
    device.sweep(os.path.join(ROOT, "build", "integration"))
    world, started = World(options.programs.get("server", options.floe)), time.monotonic()
    counts = {name: collections.Counter() for name in options.programs}
    print(f"seed {options.seed}", flush=True)
    try:
        found = lives(options, world, counts)
        return judge(options, counts, found, time.monotonic() - started)
    except Exception as error:  # Whatever it was, the seed belongs to it.
        traceback.print_exc(file=sys.stdout)
        cuts = sum(counted["power cuts"] for counted in counts.values())
        print(f"FAIL with --seed {options.seed} after {cuts} cuts: {error}")
        return 1
    finally:
        world.close()


if __name__ == "__main__":
    sys.exit(main())
