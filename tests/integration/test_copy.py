"""A copy of a data directory whose node is frozen while it works: sound, and all that was acked is there."""
import json
import os
import re
import shutil
import signal
import threading
import time

from fixture import check, consume, equal, produce

COPIES = 3
TOPICS = {"small": 20, "large": 70000}  # Records of so many bytes: to the journal, and past it.


class Load(threading.Thread):
    """Appends a numbered batch after the other to one topic, and counts what was acked."""

    def __init__(self, server, topic, size):
        super().__init__(daemon=True)
        self.server, self.topic, self.size = server, topic, size
        self.acked, self.ending, self.failed = 0, False, None

    def run(self):
        try:
            while not self.ending:
                produce(self.server, self.topic, [f"{n}-{'x' * self.size}"
                                                  for n in range(self.acked, self.acked + 5)])
                self.acked += 5
        except AssertionError as error:
            self.failed = error


def await_count(load, count):
    while load.failed is None and load.acked < count:
        time.sleep(0.01)
    check(load.failed is None, load.failed)


def freeze(server):
    """SIGSTOP; every thread is stopped when this returns."""
    pid = server.process.pid
    server.process.send_signal(signal.SIGSTOP)
    for thread in os.listdir(f"/proc/{pid}/task"):
        state = ""
        while state not in ("T", "t"):
            with open(f"/proc/{pid}/task/{thread}/status", encoding="ascii") as file:
                state = re.search(r"^State:\s+(\w)", file.read(), re.M)[1]
            time.sleep(0.001)


def test_a_copy_of_a_frozen_node_is_sound(world):
    server = world.server(settings={"segment.records": "100"})
    loads = [Load(server, topic, size) for topic, size in TOPICS.items()]
    for load in loads:
        load.start()
    copies, journaled = [], 0
    for n in range(COPIES):
        for load in loads:
            await_count(load, load.acked + 35)
        path = os.path.join(world.dir, f"copy-{n}")
        acked = {load.topic: load.acked for load in loads}
        freeze(server)
        shutil.copytree(world.data, path)
        server.process.send_signal(signal.SIGCONT)
        copies.append((path, acked))
    for load in loads:
        load.ending = True
        load.join(60)
        check(load.failed is None, load.failed)
    equal(server.stop(), 0)
    for path, acked in copies:
        done = world.floe("log", "verify", path, "-o", "json")
        said = done.stderr.decode()
        equal((done.returncode, json.loads(done.stdout)["rows"]), (0, []), said)
        journaled += int(re.search(r"(\d+) of them in journals alone", said)[1])
        exported = {topic: world.floe("log", "export", path, topic).stdout.decode().splitlines()
                    for topic in TOPICS}
        copy = world.server(data=path)
        for topic in TOPICS:
            found = consume(copy, topic)
            equal([record.split("-")[0] for record in found],
                  [str(number) for number in range(len(found))])
            check(len(found) >= acked[topic], f"{topic}: {len(found)} of {acked[topic]} in {path}")
            check(exported[topic] == found, f"{topic}: export and consume differ in {path}")
        equal(copy.stop(), 0)
    check(journaled > 0, "no copy had records in its journals alone")
