#!/usr/bin/python3
"""Thousands of rude peers beside producers, under a limit of the kernel's: nothing that was acked is lost.

    tools/dev rude [--seconds 60] [--silent 2000] [--drip 2000] [--half 1000] [--producers 200] [WORD]...

WORD: silent, drip, half, attacks: only these; several together are one crowd. The server has memory.limit
256 MiB and is in a memory cgroup of 512 MiB where this machine lets us make one. Twice in turn the producers
are alone, then beside the others. Prints their rates, who took the CPU, and what the server's pools held; only
counts are judged. test_rude.py runs it small.
"""
import argparse
import collections
import http.client
import os
import re
import resource
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
import zlib

sys.dont_write_bytecode = True

import wire
from fixture import ROOT, Skip, World, check, equal, lines, memory_kib, produce

PARTITIONS = 10
LIMIT_BYTES = 512 << 20
TOPIC = "beside"
SENT_TO_SILENT = 512 << 10  # By the kernel's own measure it would be 2 MiB and more.
# Of a Produce v7 answer: length, correlation, topics, name, partitions, partition.
ERROR_AT = 4 + 4 + 4 + 2 + len(TOPIC) + 4 + 4


# --- A limit of the kernel's. ---

def unified_top():
    """Where cgroups of version 2 with memory can be made; or None, and why is printed."""
    for top in ("/sys/fs/cgroup", "/sys/fs/cgroup/unified"):
        try:
            with open(os.path.join(top, "cgroup.controllers")) as file:
                if "memory" in file.read().split():
                    return top
        except OSError:
            continue
    print("skip cgroup v2: it has no memory controller here")
    return None


class Cage:
    """A memory cgroup for one process, of version 2 or 1. Skip: it can't be made here."""

    def __init__(self, limit):
        top = unified_top()
        unified = top is not None
        top = top or "/sys/fs/cgroup/memory"
        self.path = os.path.join(top, f"floe-rude-{os.getpid()}")
        self.peak_name = "memory.peak" if unified else "memory.max_usage_in_bytes"
        self.kills_name = "memory.events" if unified else "memory.oom_control"
        try:
            os.mkdir(self.path)
            self.write("memory.max" if unified else "memory.limit_in_bytes", limit)
        except OSError as error:
            self.leave()
            raise Skip(f"no memory cgroup can be made: {error}") from error

    def write(self, name, value):
        with open(os.path.join(self.path, name), "w") as file:
            file.write(str(value))

    def read(self, name):
        with open(os.path.join(self.path, name)) as file:
            return file.read()

    def enter(self):
        self.write("cgroup.procs", os.getpid())

    def peak(self):
        return int(self.read(self.peak_name))

    def kills(self):
        found = re.search(r"^oom_kill (\d+)", self.read(self.kills_name), re.M)
        return int(found[1]) if found else 0

    def leave(self):
        if os.path.isdir(self.path):
            os.rmdir(self.path)


# --- What is said once, and how it is answered. ---

def sealed(batch):
    batch = batch[:8] + struct.pack(">i", len(batch) - 12) + batch[12:]
    return batch[:17] + struct.pack(">I", wire.crc32c(batch[21:])) + batch[21:]


def bomb(codec, records):
    batch = bytearray(wire.batch([b"x"])[:61] + records)
    struct.pack_into(">h", batch, 21, codec)
    return wire.produce_request("bombs", sealed(bytes(batch)))


# What comes out of a bomb is sound as far as it goes: nobody is done with it sooner than its bound says.
LONG, resp = wire.LONG_RECORD, wire.resp


def deflated(megabytes):
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    data = packer.compress(LONG) + b"".join(packer.compress(bytes(1 << 20)) for _ in range(megabytes))
    return data + packer.flush()


def zstd_of_runs(blocks):
    """Each block: 128 KiB of one byte, in four bytes. The window is 128 KiB, the size not told."""
    first = struct.pack("<I", len(LONG) << 3)[:3] + LONG
    runs = b"".join(struct.pack("<I", (131072 << 3) | 2 | (n == blocks - 1))[:3] + b"\0"
                    for n in range(blocks))
    return b"\x28\xb5\x2f\xfd" + bytes([0, 0x38]) + first + runs


def lz4_of_runs(blocks):
    """Each block: a byte, then itself again up to nearly 4 MiB."""
    first = struct.pack("<I", 1 << 31 | len(LONG)) + LONG  # As it is.
    run = b"\x1f\0\x01\0" + b"\xff" * 16000 + b"\0" + b"\x50" + bytes(5)
    head = b"\x60\x70"  # Version 1, independent blocks, at most 4 MiB.
    return (b"\x04\x22\x4d\x18" + head + b"\x73" + first +
            (struct.pack("<I", len(run)) + run) * blocks + bytes(4))


def snappy_of_runs(copies):
    """Copies of 64 bytes, in three bytes each."""
    size, length = 64 + 64 * copies, b""
    while size >= 0x80:
        length += bytes([size & 0x7F | 0x80])
        size >>= 7
    first = LONG + bytes(64 - len(LONG))
    copied = b"\xfe\x20\0" * copies  # From 32 bytes before: of the zeros.
    return length + bytes([size]) + b"\xf0\x3f" + first + copied


HEAD = b"POST /v1/topics/smuggled/records HTTP/1.1\r\nHost: localhost\r\nX-Floe: 1\r\n"
INNER = HEAD + b"Content-Length: 1\r\n\r\nx"
REFUSED = rb"HTTP/1\.1 4\d\d .*Connection: close"
KAFKA_ERROR = "a Kafka error"
CLOSED = rb"$"


def attacks():
    """Name, bytes, and what the answer must be like."""
    return [
        ("a gzip bomb", bomb(1, deflated(160)), KAFKA_ERROR),
        ("a snappy bomb", bomb(2, snappy_of_runs(300000)), KAFKA_ERROR),
        ("an lz4 bomb", bomb(3, lz4_of_runs(60)), KAFKA_ERROR),
        ("a zstd bomb", bomb(4, zstd_of_runs(4000)), KAFKA_ERROR),
        ("a frame of 101 MB", struct.pack(">ihhi", 101 << 20, 0, 7, 1) + bytes(64), CLOSED),
        ("an array of 2^31", b"*2147483648\r\n", rb"-ERR Protocol error: "),
        ("an array of 2^31-1", b"*2147483647\r\n", rb"-ERR Protocol error: "),
        ("a bulk of 2^31", b"*2\r\n$4\r\nPING\r\n$2147483648\r\n", rb"-ERR Protocol error: "),
        ("CL and TE", HEAD + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" +
         INNER, REFUSED),
        ("two CL", HEAD + b"Content-Length: 3\r\nContent-Length: 4\r\n\r\nabc" + INNER, REFUSED),
        ("a folded head", HEAD + b"Content-Length:\r\n 3\r\n\r\nabc" + INNER, REFUSED),
        ("a chunk of no size", HEAD + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n" + INNER, REFUSED),
        ("a chunk of -1", HEAD + b"Transfer-Encoding: chunked\r\n\r\n-1\r\n" + INNER, REFUSED),
        ("HTTP/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", rb"(-ERR |HTTP/1\.1 [45]|$)"),
        ("TLS", b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03" + bytes(506), CLOSED),
        ("SSH", b"SSH-2.0-OpenSSH_9.2p1\r\n", rb"-ERR "),
        ("SMTP", b"EHLO localhost\r\n", rb"-ERR "),
    ]


def said_back(port, data):
    """All until it closes, or the first of it."""
    with socket.create_connection(("127.0.0.1", port), 60) as connection:
        try:
            connection.sendall(data)
            answer = connection.recv(65536)
            while answer.startswith(b"HTTP") and b"\r\n\r\n" not in answer:
                answer += connection.recv(65536)
            return answer
        except (BrokenPipeError, ConnectionResetError):
            return b""


def check_answer(name, answer, wanted):
    if wanted is KAFKA_ERROR:
        error, = struct.unpack(">h", answer[ERROR_AT - 1:ERROR_AT + 1])  # "bombs" is one shorter.
        check(error in (2, 10, 87), f"{name}: error {error}")
    else:
        check(re.match(wanted, answer, re.S), f"{name}: {answer[:300]!r}")


class Attacker(threading.Thread):
    """One after the other, again and again, until told to stop; at least once each."""

    def __init__(self, port):
        super().__init__(daemon=True)
        self.port, self.attacks, self.over = port, attacks(), threading.Event()
        self.answered, self.failures = collections.Counter(), []

    def run(self):
        rounds = 0
        while rounds == 0 or not self.over.is_set():
            for name, data, wanted in self.attacks:
                try:
                    check_answer(name, said_back(self.port, data), wanted)
                    self.answered[name] += 1
                except Exception as error:  # Told by the thread that waits for this one.
                    self.failures.append(f"{name}: {error!r}")
            rounds += 1


# --- The crowd. ---

def scripts(world):
    """Files by kind: each of them is said by a share of the kind's peers."""
    get = b"GET %s HTTP/1.1\r\nHost: localhost\r\n\r\n"
    whole = wire.produce_request("w", wire.batch([b"h" * 20000]))
    said = {
        "produce": [wire.produce_request(TOPIC, wire.batch([b"p%d" % n + b"y" * 1000]), n)
                    for n in range(PARTITIONS)],
        "silent": [wire.fetch_request("w", 0) * 8, resp(b"XRANGE", b"w", b"-", b"+") * 8,
                   get % b"/v1/topics/w/partitions/0/records?offset=0" * 8],
        "drip": [wire.produce_request("w", wire.batch([b"slow"])), resp(b"PING", b"slow"),
                 get % b"/livez", struct.pack("<I", 7) + b"STATE w"],
        "half": [whole[:len(whole) // 2], resp(b"XADD", b"w", b"*", b"f", b"v" * 20000)[:9000],
                 HEAD + b"Content-Length: 20000\r\n\r\n" + b"v" * 9000,
                 struct.pack(">ihhi", 90 << 20, 0, 7, 1) + bytes(1000)],
    }
    paths = {}
    for kind, all_of_it in said.items():
        for n, data in enumerate(all_of_it):
            path = os.path.join(world.dir, f"{kind}{n}")
            with open(path, "wb") as file:
                file.write(data)
            paths.setdefault(kind, []).append(path)
    return paths


def crowd_begin(tool, server, paths, seconds, counts):
    """A process that is these peers."""
    command = [tool, str(server.port), str(seconds), str(ERROR_AT)]
    for kind, count in counts.items():
        for n, path in enumerate(paths[kind]):
            share = count // len(paths[kind]) + (n < count % len(paths[kind]))
            command += [kind, str(share), path]
    # Not a pipe: nobody reads it meanwhile.
    said = tempfile.TemporaryFile()
    process = subprocess.Popen(command, stdout=said)
    process.said = said
    return process


def crowd_end(process, seconds):
    """Its counts, and the acked offsets of each partition."""
    equal(process.wait(seconds + 120), 0, "floe_crowd")
    with process.said as said:
        said.seek(0)
        *acks, last = said.read().decode().splitlines()
    offsets = collections.defaultdict(list)
    for line in acks:
        _, partition, offset = line.split()
        offsets[int(partition)].append(int(offset))
    return {key: int(value) for key, value in re.findall(r"(\w+)=(\d+)", last)}, offsets


# --- What the server says of itself. ---

class Gauges:
    """/metrics, again and again, on a connection that was there before the crowd."""

    def __init__(self, server):
        self.connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=120)
        self.now()

    def now(self):
        """Samples by family, each with its labels as text."""
        self.connection.request("GET", "/metrics")
        text = self.connection.getresponse().read().decode()
        found = collections.defaultdict(dict)
        for name, labels, value in re.findall(r"^(\w+)(?:\{(.*)\})? ([0-9.]+)$", text, re.M):
            found[name][labels] = float(value)
        return found


def total(metrics, name, label=""):
    return int(sum(value for labels, value in metrics["floe_" + name].items() if label in labels))


def cpu_seconds(pid):
    with open(f"/proc/{pid}/stat", encoding="ascii") as file:
        fields = file.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def kernel_mib():
    """What the kernel holds for all TCP sockets of this machine."""
    with open("/proc/net/sockstat", encoding="ascii") as file:
        return int(re.search(r"^TCP:.* mem (\d+)", file.read(), re.M)[1]) * 4096 >> 20


def log_end(server, partition):
    """By a read of all that is there."""
    with server.connect(120) as connection:
        offset = 0
        while True:
            connection.sendall(wire.fetch_request(TOPIC, offset, partition))
            error, high, data = wire.fetched(wire.answer(connection)[1], TOPIC)
            equal(error, 0, "fetch")
            if offset == high:
                return high
            at = 0
            while at + 61 <= len(data):
                base, length = struct.unpack(">qi", data[at:at + 12])
                if at + 12 + length > len(data):
                    break
                equal(base, offset, "a gap")
                equal(data[at + 17:at + 21],
                      struct.pack(">I", wire.crc32c(data[at + 21:at + 12 + length])), "CRC")
                offset = base + 1 + struct.unpack(">i", data[at + 23:at + 27])[0]
                at += 12 + length


def check_kept(server, runs):
    """Every acked offset is there once, after a kill -9."""
    server.kill()
    server.start()
    acked = 0
    for partition in range(PARTITIONS):
        offsets = [offset for run in runs for offset in run[partition]]
        equal(len(offsets), len(set(offsets)), f"acks of partition {partition} at one offset")
        check(log_end(server, partition) > max(offsets), f"partition {partition} lost its end")
        acked += len(offsets)
    return acked


def room_for(descriptors):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard not in (resource.RLIM_INFINITY,) and hard < descriptors:
        raise Skip(f"{hard} descriptors are allowed, {descriptors} needed")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, descriptors), hard))


class Round:
    """The producers for some seconds, alone or beside the others, who are given time to arrive."""

    def __init__(self, tool, server, paths, counts, seconds, settle):
        others = {kind: count for kind, count in counts.items() if kind != "produce"}
        gauges = Gauges(server)
        self.before, self.rude, self.peak_mib = gauges.now(), {}, 0
        if others:
            crowd = crowd_begin(tool, server, paths, seconds + settle, others)
            time.sleep(settle)
        began, server_cpu = time.monotonic(), cpu_seconds(server.process.pid)
        self.settled = gauges.now()
        producers = crowd_begin(tool, server, paths, seconds, {"produce": counts["produce"]})
        crowd_cpu = cpu_seconds(crowd.pid) if others else 0
        for _ in range(seconds - 1):
            time.sleep(1)
            self.peak_mib = max(self.peak_mib, kernel_mib())
        self.during = gauges.now()
        if others:
            crowd_cpu = cpu_seconds(crowd.pid) - crowd_cpu
        server_cpu = cpu_seconds(server.process.pid) - server_cpu
        passed = time.monotonic() - began
        self.counts, self.offsets = crowd_end(producers, seconds)
        if others:
            self.rude, _ = crowd_end(crowd, seconds)
        self.after = gauges.now()
        self.rate = self.counts["acks"] // seconds
        print(f"  {'beside' if others else 'alone '} {self.rate:6}/s; of a core: server {server_cpu / passed:.2f}, "
              f"others {crowd_cpu / passed:.2f}; TCP of the machine {self.peak_mib} MiB", flush=True)
        if others:
            print(f"         pools, MiB: {self.pools()}; waits {self.waits()}; "
                  f"{self.grown('connections_stalled_total')} closed as stalled", flush=True)

    def grown(self, name, label=""):
        return total(self.after, name, label) - total(self.before, name, label)

    def waits(self):
        return {pool: self.grown("memory_waits_total", f'pool="{pool}"') for pool in ("call", "send", "receive")}

    def pools(self):
        return {pool: total(self.during, "memory_used_bytes", f'pool="{pool}"') >> 20
                for pool in ("call", "send", "receive", "append")}

    def check(self, producers, small):
        """Nothing is judged by its time."""
        equal(self.counts["errors"], 0, "refused appends")
        equal(self.counts["produce_closed"], 0, "producers thrown out")
        check(self.counts["acks"] >= producers, "the producers do not go on")
        if not self.rude:
            return
        # What a producer's request needs is there, however much is pinned by those who do not read; but
        # thousands of them may have all that is for small requests, until they are closed as stalled.
        if small:
            equal(self.waits()["call"], 0, "requests that waited for memory of their own")
        limit = total(self.during, "memory_limit_bytes", 'core="0"')
        for core in range(2):
            for pool in ("call", "send"):
                used = total(self.during, "memory_used_bytes", f'core="{core}",pool="{pool}"')
                check(used <= limit // 4, f"pool {pool} of core {core} has {used} of {limit}")
        check(total(self.during, "memory_used_bytes", 'pool="call"') > 0, "no request has memory of its own")
        if self.rude["silent_peers"] > 0:
            check(self.waits()["send"] > 0, "the silent ones do not have all that they may: the test shows nothing")
            peers = self.rude["silent_peers"] + self.rude["silent_closed"]
            sent = self.grown("send_bytes_total") // peers
            check(sent <= SENT_TO_SILENT, f"the kernel took {sent} bytes for each peer who does not read")


def run(world, tool, counts, seconds, cage=None, rounds=1, attacks_too=True, settle=3):
    """What was counted, without and with the rude ones."""
    if not os.access(tool, os.X_OK):
        raise Skip(f"{tool} is not built")
    peers = sum(counts.values())
    room_for(peers + 500)
    server = world.server(protocol="any", preexec=cage.enter if cage else None,
                          settings={"memory.limit": "256MiB", "cpu.cores": "2"})
    produce(server, "w", [f"big-{n}-{'z' * 32768}" for n in range(128)])
    produce(server, "bombs", lines(1))
    done = world.floe("topic", "create", TOPIC, "-p", str(PARTITIONS), "-b", server.address)
    equal(done.returncode, 0, done.stderr.decode())
    paths = scripts(world)
    print(f"  {peers} peers: {counts}")
    alone, beside = [], []
    attacker = Attacker(server.port)
    for _ in range(rounds):
        alone.append(Round(tool, server, paths, {"produce": counts["produce"]}, seconds, 0))
        if attacks_too and not attacker.is_alive():
            attacker.start()
        beside.append(Round(tool, server, paths, counts, seconds, settle))
    attacker.over.set()
    if attacks_too:
        attacker.join(120)
    check(server.alive(), server.text)
    share = 100 * sum(one.rate for one in beside) // max(1, sum(one.rate for one in alone))
    print(f"  producers beside the others: {share} % of their rate alone; resident "
          f"{memory_kib(server, 'VmHWM') >> 10} MiB"
          + (f"; cgroup peak {cage.peak() >> 20} MiB, OOM kills {cage.kills()}" if cage else ""))
    print(f"  {beside[-1].rude}")
    print(f"  {sum(attacker.answered.values())} attacks answered", flush=True)
    equal(attacker.failures, [], "attacks that were not answered as they must be")
    check(not attacks_too or len(attacker.answered) == len(attacker.attacks), "some attacks were never made")
    for one in alone + beside:
        one.check(counts["produce"], peers < 1000)
    if cage:
        equal(cage.kills(), 0, "OOM kills")
    acked = check_kept(server, [one.offsets for one in alone + beside])
    equal(acked, sum(one.counts["acks"] for one in alone + beside), "acks")
    topics = world.floe("topic", "list", "-o", "json", "-b", server.address).stdout
    check(b"smuggled" not in topics, "something was smuggled")
    equal(server.stop(), 0, "exit code")
    print(f"  {acked} acked, 0 lost after a kill -9", flush=True)


def main():
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--binary", default=os.path.join(ROOT, "build", "release", "floe"))
    for name, number in (("silent", 2000), ("drip", 2000), ("half", 1000), ("producers", 200),
                         ("seconds", 60)):
        options.add_argument(f"--{name}", type=int, default=number)
    options.add_argument("words", nargs="*", metavar="WORD", choices=["silent", "drip", "half", "attacks", []])
    given = options.parse_args()
    wanted = given.words or ["silent", "drip", "half", "attacks"]
    world, cage, skipped = World(os.path.abspath(given.binary)), None, 0
    try:
        cage = Cage(LIMIT_BYTES)
    except Skip as why:
        print(f"skip the cgroup: {why}")
        skipped = 1
    tool = os.path.join(os.path.dirname(world.binary), "floe_crowd")
    counts = {"produce": given.producers}
    for kind in ("silent", "drip", "half"):
        if kind in wanted:
            counts[kind] = getattr(given, kind)
    try:
        run(world, tool, counts, given.seconds, cage, rounds=2, attacks_too="attacks" in wanted, settle=10)
    except AssertionError as error:
        for server in world.servers:
            print(server.text[-2000:])
        print(f"FAIL rude: {error}\n0 passed, 1 failed, {skipped} skipped")
        return 1
    finally:
        world.close()
        if cage:
            cage.leave()
    print(f"1 passed, 0 failed, {skipped} skipped")
    return 0


if __name__ == "__main__":
    sys.exit(main())
