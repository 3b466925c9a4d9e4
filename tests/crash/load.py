"""Producers that keep a server busy until it dies: few connections, many requests under way."""
import collections
import random
import threading
import time

import wire
from fixture import check

CONNECTIONS_MAX, REQUESTS_MAX, SECONDS = 4, 12, 60


def producer_id(server):
    """An id of the server's; epoch 0."""
    with server.connect() as connection:
        connection.sendall(wire.producer_id_request())
        error, number, epoch = wire.producer_id(wire.answer(connection)[1])
        check(error == 0, f"InitProducerId: error {error}")
        return number, epoch


class Load:
    def __init__(self, server, ledgers, producer, seed):
        self.server, self.producer, self.seed = server, producer, seed
        self.lock = threading.Condition()
        self.acks = self.late_acks = self.records = 0
        self.stopping = self.cut = False
        self.errors = []  # What went wrong before the cut; behind it everything may.
        count = min(CONNECTIONS_MAX, len(ledgers))
        self.threads = [threading.Thread(target=self.produce, args=(at, ledgers[at::count]),
                                         daemon=True) for at in range(count)]
        for thread in self.threads:
            thread.start()

    def produce(self, number, ledgers):
        try:
            with self.server.connect() as connection:
                self.produce_on(connection, random.Random(f"{self.seed} {number}"), ledgers)
        except Exception as error:  # Handed to whoever waits for this load.
            with self.lock:
                if not self.cut or isinstance(error, AssertionError):
                    self.errors.append(error)
                self.lock.notify_all()

    def produce_on(self, connection, prng, ledgers):
        under_way = collections.deque()
        while True:
            ready = [] if self.stopping else [ledger for ledger in ledgers if ledger.may_send()]
            while ready and len(under_way) < REQUESTS_MAX:
                ledger = prng.choice(ready)
                batch, number = ledger.send(self.producer)
                under_way.append((ledger, number))
                connection.sendall(wire.produce_request(ledger.topic, batch, ledger.partition))
                if not ledger.may_send():
                    ready.remove(ledger)
            if not under_way:
                return
            ledger, number = under_way.popleft()
            error, offset = wire.produced(wire.answer(connection)[1], ledger.topic)
            with self.lock:
                if error != 0 and self.cut:
                    return
                check(error == 0, f"{ledger}: batch {number} is refused with error {error}")
                ledger.hear(number, offset)
                self.acks += 1
                self.records += ledger.starts[number + 1] - ledger.starts[number]
                self.late_acks += self.cut
                self.lock.notify_all()

    def until(self, acks):
        """Waits for so many acks."""
        deadline = time.monotonic() + SECONDS
        with self.lock:
            while self.acks < acks and not self.errors:
                check(time.monotonic() < deadline,
                      f"only {self.acks} of {acks} acks within {SECONDS} s")
                self.lock.wait(1)
        self.raise_errors()

    def cutting(self):
        """From now on the server may refuse and die."""
        with self.lock:
            self.cut = True

    def finish(self):
        """Sends no more; waits for what is under way."""
        self.stopping = True
        for thread in self.threads:
            thread.join(SECONDS)
            check(not thread.is_alive(), "a producer hangs")
        self.raise_errors()

    def raise_errors(self):
        if self.errors:
            raise self.errors[0]
