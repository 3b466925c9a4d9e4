"""The server under load, for powercut.py: producers over the wire, topics that come and go."""
import os
import signal

from fixture import READY, equal
from ledger import Ledger, Lost
from load import Load, producer_id

OS_TOPIC, DISK_TOPIC = "quick", "safe"
TOPICS_CHANGE, TOPICS_MORE = 0.25, 3  # In this share of the cycles; at most so many others.


class ServerWork:
    NAME, PROGRAM, MUTANT = "server", "floe", "floe_mutant"

    def __init__(self, life, partitions):
        self.life, self.world, self.prng = life, life.world, life.prng
        large = 0.15 if partitions == 1 else 0.05
        self.ledgers = [Ledger(life.seed, DISK_TOPIC, at, True, large) for at in range(partitions)]
        self.ledgers.append(Ledger(life.seed, OS_TOPIC, 0, False, large))
        self.settings = {
            "segment.bytes": self.prng.choice(["1MiB", "4MiB", "64MiB"]),
            "segment.records": self.prng.choice(["100", "1000", "100000"]),
            "storage.engine": self.prng.choice(["direct", "direct", "buffered", "mmap"]),
            "io.engine": self.prng.choice(["auto", "auto", "posix"]), **life.options.set}
        self.server = self.producer = self.load = None
        self.names = {DISK_TOPIC, OS_TOPIC}  # Of the topics, as acked.

    def text(self):
        return " ".join(f"{key}={value}" for key, value in self.settings.items())

    @property
    def data(self):
        return self.server.data

    @property
    def words(self):
        """What it said last."""
        return self.server.text[-4000:] if self.server else ""

    def begin(self):
        """On an empty disk."""
        self.server = self.world.server(data=os.path.join(self.life.disk.root, "data"),
                                        settings=self.settings,
                                        preexec=self.life.disk.in_this_boot)
        for topic, count, durability in ((DISK_TOPIC, len(self.ledgers) - 1, "disk"),
                                         (OS_TOPIC, 1, "os")):
            done = self.world.floe("topic", "create", topic, "-p", str(count), "-b",
                                   self.server.address, "--config", f"durability={durability}")
            equal(done.returncode, 0, f"topic create: {done.stderr!r}")
        self.producer = producer_id(self.server)

    def run(self, acks):
        """Returns after so many acks; the load goes on."""
        self.load = Load(self.server, self.ledgers, self.producer,
                         f"{self.life.seed} {self.life.slot}")
        self.load.until(acks)
        if self.prng.random() < TOPICS_CHANGE and self.life.options.mutant is None:
            self.change_topics()

    def change_topics(self):
        """One more or one less."""
        others = sorted(self.names - {DISK_TOPIC, OS_TOPIC})
        verb = "delete" if len(others) == TOPICS_MORE else "create"
        name = others[0] if verb == "delete" else f"other-{self.life.slot}"
        done = self.world.floe("topic", verb, name, "-b", self.server.address)
        equal(done.returncode, 0, f"topic {verb}: {done.stderr!r}")
        self.names ^= {name}
        self.life.count("acked changes of topics")

    def pause(self):
        """Everything is acked when this returns."""
        self.load.finish()

    def resume(self):
        """After a pause: run() begins a new load."""

    def cutting(self):
        """From now on it may fail."""
        self.load.cutting()

    def restart(self):
        """After a kill -9; does not wait."""
        self.server.kill()
        self.server.launch()

    def is_ready(self):
        return READY.search(self.server.text) is not None

    def stopping(self):
        """Asks for an orderly stop."""
        self.server.process.send_signal(signal.SIGTERM)

    def kill(self):
        if self.server is not None:
            self.server.kill()

    def keep(self, _path):
        """What belongs to a disk that is copied: nothing."""

    def settle(self):
        """Behind the cut: counts what is acked."""
        self.load.finish()
        self.life.count("acked batches", self.load.acks)
        self.life.count("acked records", self.load.records)
        self.life.count("acks after the cut", self.load.late_acks)
        return self.load.acks

    def look(self):
        """Starts again, reads all back and compares; how many batches there are."""
        self.server.start()
        self.verify_topics()
        batches = 0
        for ledger in self.ledgers:
            found = ledger.verify(self.server, self.producer)
            batches += found
            if ledger.durable:
                self.life.count("a batch sent, not acked, was lost", found < ledger.next)
                self.life.count("a batch sent, not acked, survived", found > ledger.acked)
            else:
                self.life.count("an acked batch of durability=os was lost", found < ledger.acked)
            ledger.resume(found)
        return batches

    def verify_topics(self):
        done = self.world.floe("topic", "list", "-b", self.server.address)
        found = {line.split("\t")[0] for line in done.stdout.decode().splitlines()[1:]}
        if found != self.names:
            raise Lost(f"the topics are {sorted(found)}, acked were {sorted(self.names)}")

    def close(self):
        """In order."""
        equal(self.server.stop(), 0, "exit code of SIGTERM")
