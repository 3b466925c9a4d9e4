"""SIGTERM and SIGINT at any time: the first ends the server in order, the second a drain or the
process."""
import os
import random
import signal
import time

import wire
from fixture import START_SECONDS, check, consume, counters, equal, lines, produce


def pending(*signals):
    """They wait, blocked, for the process to come: sent before its first instruction."""
    def preexec():
        signal.pthread_sigmask(signal.SIG_BLOCK, signals)
        for number in signals:
            os.kill(os.getpid(), number)
    return preexec


def end(server, clean):
    if clean:
        equal(server.stop(), 0)
    else:
        server.kill()


def test_a_signal_before_the_start_ends_it_in_order(world):
    for number in (signal.SIGTERM, signal.SIGINT):
        for words in ((), ("--set", "io.engine=posix")):
            server = world.server(*words, preexec=pending(number), start=False)
            server.launch()
            equal(server.ends(), 0)
            check("floe ready" not in server.text, server.text)
            check("stopping" in server.text, server.text)


def test_a_second_signal_ends_the_start_at_once(world):
    server = world.server(preexec=pending(signal.SIGINT, signal.SIGTERM), start=False)
    server.launch()
    equal(server.ends(), -signal.SIGTERM)
    check("floe ready" not in server.text, server.text)


def test_signals_in_the_middle_of_starts_lose_nothing(world):
    server = world.server(settings={"partitions.default": "8"})
    records = lines(2000)
    for topic in range(8):
        produce(server, f"t{topic}", records)
    seconds = []
    for clean in (False, True):
        end(server, clean)
        begin = time.monotonic()
        server.start()
        seconds.append(time.monotonic() - begin)
    for n in range(12):
        # Half of them find a server that was killed before, with files to recover.
        end(server, n % 2 == 1)
        server.launch()
        time.sleep(random.uniform(0, max(seconds)))
        server.process.send_signal(signal.SIGTERM)
        # Before main() blocks it, a signal ends the process as it does any other.
        check(server.ends() in (0, -signal.SIGTERM), server.text)
        server.start()
        equal(consume(server, f"t{n % 8}"), records)
    equal(server.stop(), 0)


def filled(server):
    """It sent what the sockets take of its answers, and has more."""
    before = None
    deadline = time.monotonic() + START_SECONDS
    while True:
        now = [sum(core[key] for core in counters(server)) for key in ("fetch_bytes", "send_bytes")]
        if now == before and now[0] > now[1] > 0:
            return
        check(time.monotonic() < deadline, f"the sockets are never full: {now}")
        before = now
        time.sleep(0.2)


def test_a_second_signal_ends_a_drain_that_takes_long(world):
    server = world.server(settings={"drain.timeout.ms": "1h"})
    produce(server, "held", ["x" * 100_000] * 100)
    with wire.deaf(server, "held", 10):  # So the stop waits for it.
        filled(server)
        server.process.send_signal(signal.SIGTERM)
        server.says("draining: 1 connections")
        server.process.send_signal(signal.SIGINT)
        equal(server.ends(), 0)
    check("drain is over: 1 connections were cut off" in server.text, server.text)
    server.start()
    equal(len(consume(server, "held")), 100)
