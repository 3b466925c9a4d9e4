"""What floe costs while nothing happens: turns, bytes and files at a start, memory of a connection.

Nothing here asserts a time: turns are counted over a while, bytes and files over a start."""
import glob
import os
import re
import resource
import signal
import time

import wire
from fixture import Skip, check, consume, counters, equal, lines, memory_kib, need, produce

ALONE = True  # See run.

TURNS_PER_SECOND = 20  # Of a core; design: an idle core sleeps.
WATCH_SECONDS = 5
IDLE_CONNECTIONS = 5000
# struct conn and its share of the pools; no buffer is kept while a connection is silent.
CONNECTION_BYTES = 4096
# A start reads, beside raft's two files: settings of the machine (/sys, /proc), the superblock, the
# snapshot; of each topic the header, the seal block and the trailer of its last segment. It writes
# the superblock (the boot number) and LOCK; of each topic the trailer and seal of what was open.
START_READ_BYTES = 1 << 20
START_READ_BYTES_TOPIC = 32 << 10
RAFT_WINDOW_BYTES = 2 << 20
START_WRITE_BYTES = 64 << 10
START_WRITE_BYTES_TOPIC = 12 << 10
START_FILES = 64
START_FILES_TOPIC = 2


def thread_switches(server):
    """Per thread: how often it gave up the CPU by itself, or was made to."""
    found = {}
    for path in glob.glob(f"/proc/{server.process.pid}/task/*/status"):
        with open(path, encoding="ascii") as file:
            found[path] = sum(int(number) for number in
                              re.findall(r"ctxt_switches:\s+(\d+)", file.read()))
    return found


def cpu_ticks(server):
    with open(f"/proc/{server.process.pid}/stat", encoding="ascii") as file:
        words = file.read().rsplit(")", 1)[1].split()
    return int(words[11]) + int(words[12])


def is_idle(server, what):
    """At most TURNS_PER_SECOND a core and thread, and no more than a few ticks of the CPU."""
    before, ticks = counters(server), cpu_ticks(server)
    switches = thread_switches(server)
    start = time.monotonic()
    time.sleep(WATCH_SECONDS)
    seconds = time.monotonic() - start  # As long as it took: a busy machine is no failure.
    again = thread_switches(server)
    after = counters(server)
    spent = cpu_ticks(server) - ticks
    turns = [late["turns"] - early["turns"] for early, late in zip(before, after)]
    most = max(again[path] - switches.get(path, 0) for path in again)
    print(f"  {what}: {[round(turn / seconds, 1) for turn in turns]} turns/s of each core, at most "
          f"{most / seconds:.1f} switches/s of a thread, {spent} ticks", flush=True)
    for turn in turns:
        check(turn <= TURNS_PER_SECOND * seconds, f"{what}: {turns} turns in {seconds:.1f} s")
    check(most <= TURNS_PER_SECOND * seconds, f"{what}: {most} switches in {seconds:.1f} s")
    hertz = os.sysconf("SC_CLK_TCK")
    check(spent <= 0.02 * seconds * hertz, f"{what}: {spent} ticks in {seconds:.1f} s")


def test_an_idle_server_sleeps(world):
    server = world.server()
    is_idle(server, "empty")
    produce(server, "i", lines(100))
    consume(server, "i")
    is_idle(server, "after use")
    with server.connect() as waiting:
        waiting.sendall(wire.fetch_request("i", 100, wait_ms=60000))
        is_idle(server, "with a waiting fetch")
    equal(server.stop(), 0)


def test_an_idle_server_sleeps_on_the_posix_engine(world):
    server = world.server(settings={"io.engine": "posix"})
    produce(server, "i", lines(100))
    is_idle(server, "posix")
    equal(server.stop(), 0)


# --- A start on what is there. ---

def start_costs(server, what):
    """(bytes read, bytes written, files opened by the shards). With the posix engine every read of
    the process is a system call, whoever asks: settings, /sys, raft's files, segments."""
    server.start()
    equal(server.ready["io"], "posix")
    with open(f"/proc/{server.process.pid}/io", encoding="ascii") as file:
        seen = {key: int(value) for key, value in re.findall(r"(\w+): (\d+)", file.read())}
    opened = sum(row["files_opened"] for row in counters(server))
    held = len(os.listdir(f"/proc/{server.process.pid}/fd"))
    print(f"  {what}: a start reads {seen['rchar']} bytes, writes {seen['wchar']}, opens {opened} "
          f"files, holds {held} descriptors", flush=True)
    return seen["rchar"] - raft_bytes(server), seen["wchar"], opened, held


def raft_bytes(server):
    """Raft's two files are searched to their ends for frames that would prove a loss; where a search
    begins, and for their first frames, a window of them is read once more."""
    sizes = [os.path.getsize(os.path.join(server.data, "meta", name)) for name in
             ("log-0", "log-1")]
    return sum(sizes) + 3 * min(RAFT_WINDOW_BYTES, *sizes)


def costs_at_most(costs, topics, what):
    read, written, opened, held = costs
    check(read <= START_READ_BYTES + topics * START_READ_BYTES_TOPIC, f"{what}: {read} bytes read")
    check(written <= START_WRITE_BYTES + topics * START_WRITE_BYTES_TOPIC,
          f"{what}: {written} bytes written")
    check(opened <= START_FILES + topics * START_FILES_TOPIC, f"{what}: {opened} files opened")
    check(held <= START_FILES + topics, f"{what}: {held} descriptors")


POSIX = {"io.engine": "posix"}


def test_a_start_touches_little(world):
    topics = 100
    server = world.server(settings=POSIX)
    equal(server.stop(), 0)
    costs_at_most(start_costs(server, "no topic"), 0, "no topic")
    for n in range(topics):
        equal(world.floe("topic", "create", f"t{n}", "-b", server.address).returncode, 0)
    with server.connect() as connection:
        for n in range(topics):
            connection.sendall(wire.produce_request(f"t{n}", wire.batch([b"one"])))
            equal(wire.produced(wire.answer(connection)[1], f"t{n}"), (0, 0))
    equal(server.stop(), 0)
    for what in ("100 open segments", "100 sealed segments"):
        costs_at_most(start_costs(server, what), topics, what)
        equal(server.stop(), 0)


def test_a_start_does_not_read_sealed_segments(world):
    """What it touches does not grow with the data."""
    server = world.server(settings={**POSIX, "segment.bytes": "1MiB"})
    big = [f"{n}-" + "b" * 100000 for n in range(400)]
    produce(server, "b", big[:15])
    equal(server.stop(), 0)
    few = start_costs(server, "2 MB")
    for at in range(15, len(big), 35):
        produce(server, "b", big[at:at + 35])
    equal(server.stop(), 0)
    many = start_costs(server, "40 MB")
    segments = len(glob.glob(os.path.join(world.data, "topics", "*", "*", "*.seg")))
    check(segments > 30, f"only {segments} segments")
    costs_at_most(few, 1, "2 MB")
    costs_at_most(many, 1, "40 MB")
    equal(consume(server, "b"), big)
    equal(server.stop(), 0)


def test_opens_of_a_start_are_few(world):
    """Of the whole process, as strace sees them."""
    need("strace")
    server = world.server(settings=POSIX)
    for n in range(20):
        equal(world.floe("topic", "create", f"t{n}", "-b", server.address).returncode, 0)
    equal(server.stop(), 0)
    trace, script = os.path.join(world.dir, "trace"), os.path.join(world.dir, "traced")
    with open(script, "w", encoding="ascii") as file:
        # A sanitizer's search for leaks does not work under a tracer.
        file.write(f"#!/bin/sh\nASAN_OPTIONS=detect_leaks=0 exec strace -f -qq -o {trace} "
                   f"-e trace=openat,open,creat {server.binary} \"$@\"\n")
    os.chmod(script, 0o755)
    traced = world.server(start=False, settings=POSIX)
    traced.binary = script
    try:
        traced.start()
    except AssertionError as error:
        raise Skip(f"strace cannot trace here: {str(error)[-200:]}") from error
    with open(trace, encoding="ascii", errors="replace") as file:
        calls = file.read().splitlines()
    inside = [call for call in calls if world.data in call]
    print(f"  {len(calls)} opens, {len(inside)} of them inside the data directory", flush=True)
    check(0 < len(inside) <= START_FILES, inside)
    os.kill(int(calls[0].split()[0]), signal.SIGTERM)
    equal(traced.ends(), 0)


# --- Connections. ---

def test_five_thousand_idle_connections(world):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 2 * IDLE_CONNECTIONS + 500
    if hard != resource.RLIM_INFINITY and hard < wanted:
        raise Skip(f"{hard} descriptors are allowed, {wanted} needed")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))
    server = world.server()
    produce(server, "i", lines(10))
    request = wire.request(wire.API_VERSIONS, 0)
    connections, resident = [], memory_kib(server)
    try:
        for _ in range(IDLE_CONNECTIONS):
            connection = server.connect()
            connections.append(connection)
            connection.sendall(request)  # It has been used: buffers would be there if kept.
            wire.answer(connection)
        grown = (memory_kib(server) - resident) * 1024
        print(f"  {IDLE_CONNECTIONS} idle connections: {grown / IDLE_CONNECTIONS:.0f} bytes of "
              f"resident memory each, bound {CONNECTION_BYTES}", flush=True)
        check(grown <= IDLE_CONNECTIONS * CONNECTION_BYTES, f"{grown} bytes grown")
        produce(server, "i", ["beside"])
        equal(consume(server, "i"), lines(10) + ["beside"])
        is_idle(server, "5000 connections")
        for connection in connections[::500]:
            connection.sendall(request)
            wire.answer(connection)
    finally:
        for connection in connections:
            connection.close()
    equal(server.stop(), 0)
