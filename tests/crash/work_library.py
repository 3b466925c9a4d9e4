"""A program with libfloe under load, for powercut.py: floe_power, which appends, syncs, trims and
opens again, and writes what it was promised into a ledger that is not on the disk.

The ledger's lines are described in power.h. After a cut `floe_power check` compares the directory
with it, opened read-only first and then to write: both must find the same.
"""
import collections
import os
import re
import shutil
import signal
import subprocess
import time

import device
from fixture import check, equal
from ledger import Lost

SECONDS = 60
WRONG = 1  # Exit codes of power.h.
LEDGER_LINE = re.compile(rb"^(\w+)([ 0-9]*) \.$")


class LibraryWork:
    NAME, PROGRAM, MUTANT = "library", "floe_power", "floe_power_mutant"

    def __init__(self, life, partitions):
        self.life, self.prng = life, life.prng
        self.partitions, self.os_partitions = partitions, 1 if partitions == 1 else 4
        self.data = os.path.join(life.disk.root, "data")
        self.path = os.path.join(life.disk.folder, "ledger")
        self.binary = life.options.programs[self.NAME]
        self.content = [f"seed={self.prng.getrandbits(62)}", f"disk={partitions}",
                        f"os={self.os_partitions}", f"large={15 if partitions == 1 else 5}"]
        self.segments = [f"segment_bytes={self.prng.choice([1, 4, 64]) << 20}",
                         f"segment_records={self.prng.choice([100, 1000, 100000])}"]
        self.log = os.path.join(life.disk.folder, "library.log")
        self.process, self.words, self.read = None, "", 0
        self.counts = collections.Counter()  # Of the ledger's lines, and "records".
        # Since the last look: counts before, exit codes; acks when the cut began, and after that.
        self.before, self.codes, self.cut_acks, self.late_acks = self.counts, [], None, 0

    def text(self):
        return " ".join(self.segments)

    def begin(self):
        """On an empty disk."""

    def engines(self):
        """How a process opens the directory: every one may do it in another way."""
        words = [f"session={self.prng.getrandbits(62)}",
                 *self.prng.choice([[], [], ["posix"]]), *self.prng.choice([[], [], ["buffered"], ["mmap"]])]
        if self.prng.random() < 0.5:
            words += ["shared", f"threads={self.prng.choice([1, 2, min(8, self.partitions)])}"]
        return words

    def launch(self):
        """Does not wait."""
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(
                [self.binary, "load", self.data, self.path, *self.content, *self.segments,
                 *self.engines()], stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                preexec_fn=self.life.disk.in_this_boot)
        self.counts["open"] = 0

    def hear(self):
        """Reads on in the ledger."""
        if not os.path.exists(self.path):
            return
        with open(self.path, "rb") as file:
            file.seek(self.read)
            text = file.read()
        text = text[:text.rfind(b"\n") + 1]
        self.read += len(text)
        for line in text.splitlines():
            match = LEDGER_LINE.match(line)
            if match is not None:
                self.counts[match[1].decode()] += 1
                if match[1] == b"ack":
                    self.counts["records"] += int(match[2].split()[3])

    def until(self, true, what):
        """Until the ledger says so."""
        deadline = time.monotonic() + SECONDS
        while True:
            code = self.process.poll()
            self.hear()
            if true():
                return
            if code is not None:
                self.codes.append(code)
                self.raise_wrong()
            check(code is None, f"{what}: floe_power ended with {code}")
            check(time.monotonic() < deadline, f"{what}: not within {SECONDS} s")
            time.sleep(0.002)

    def run(self, acks):
        """Returns after so many acks; the load goes on."""
        if self.process is None:
            self.launch()
        self.codes, self.late_acks, self.before = [], 0, self.counts.copy()
        self.until(lambda: self.counts["ack"] >= self.before["ack"] + acks, f"{acks} acks")

    def pause(self):
        """Everything is acked when this returns, and nothing under way."""
        before = self.counts["idle"]
        self.process.send_signal(signal.SIGUSR1)
        count = sum(int(word[8:]) for word in self.process.args if word.startswith("threads="))
        self.until(lambda: self.counts["idle"] >= before + (count or 1), "a pause")

    def resume(self):
        """After a pause."""
        self.process.send_signal(signal.SIGUSR1)

    def cutting(self):
        """From now on it may fail."""
        if self.cut_acks is None:
            self.hear()
            self.cut_acks = self.counts["ack"]

    def restart(self):
        """After a kill -9; does not wait."""
        self.kill()
        self.launch()

    def is_ready(self):
        self.hear()
        return self.counts["open"] > 0

    def stopping(self):
        """Asks for an orderly stop."""
        self.process.send_signal(signal.SIGTERM)

    def kill(self):
        if self.process is not None:
            self.process.kill()
            self.codes.append(self.process.wait(SECONDS))
            self.process = None
            self.hear()
            self.late_acks += self.counts["ack"] - (self.cut_acks or self.counts["ack"])
            self.cut_acks = None

    def keep(self, path):
        """What belongs to a disk that is copied: the ledger, and the words to check with."""
        shutil.copyfile(self.path, f"{path}.ledger")
        with open(f"{path}.words", "w", encoding="ascii") as file:
            file.write(" ".join([*self.content, *self.segments]) + "\n")

    def raise_wrong(self):
        """What it found out itself: an ack with a wrong offset, say."""
        with open(self.log, encoding="utf-8") as file:
            self.words = file.read()[-4000:]
        if WRONG in self.codes:
            raise Lost(f"floe_power load: {self.words.strip()}")

    def settle(self):
        """Behind the cut: counts what is acked."""
        self.raise_wrong()
        new = self.counts - self.before
        self.life.count("acked batches", new["ack"])
        self.life.count("acked records", new["records"])
        self.life.count("acks after the cut", self.late_acks)
        for line, what in (("sync", "acked syncs"), ("trimmed", "acked trims"),
                           ("closed", "times closed in order")):
            self.life.count(what, new[line])
        return new["ack"]

    def check(self, *words):
        """What `floe_power check` finds: rows of partition, start, end, batches, sent, acked, lost."""
        done = subprocess.run([self.binary, "check", self.data, self.path, *self.content,
                               *self.segments, *self.engines(), *words], capture_output=True,
                              timeout=SECONDS, check=False,
                              preexec_fn=self.life.disk.in_this_boot)
        self.words = done.stderr.decode()
        if done.returncode == WRONG:
            raise Lost(f"floe_power check {' '.join(words)}: {self.words.strip()}")
        equal(done.returncode, 0, f"floe_power check {' '.join(words)}: {self.words}")
        return [[int(word) for word in line.split()] for line in done.stdout.splitlines()]

    def look(self):
        """Reads all back and compares; how many batches there are."""
        found = self.check("read")
        equal(self.check(), found, "a reader had found another end: the writer")
        self.life.verify_files([])
        for number, _, _, batches, sent, acked, lost in found:
            if number < self.partitions:
                self.life.count("a batch sent, not acked, was lost", batches < sent)
                self.life.count("a batch sent, not acked, survived", batches > acked)
            else:
                self.life.count("an acked batch of durability=os was lost", lost > 0)
        return sum(row[3] for row in found)

    def close(self):
        """In order: the process has ended with the cut, and the check has closed its handle."""
