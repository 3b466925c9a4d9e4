"""Tens of thousands of segments under a few thousand descriptors; and fewer of these than needed."""
import os
import random
import re
import resource
import subprocess

import wire
from fixture import check, counters, equal, memory_kib

ALONE = True  # See run.

TOPICS, PARTITIONS, SEGMENTS, RECORDS = 50, 20, 30, 3  # 30,000 files of 16 KiB.
LIMIT = 4096
SERVER_FILES = 20  # Of the process and its two cores: streams, rings, journals, the map's log.
SEALED_BYTES = 8192 + 4096  # Header and seal block, a block of trailer.
READ_BYTES = 256 << 10
SAMPLES = 3000
SPREAD = 100  # Partitions, of which not all can be written to under 160 descriptors.
RETRY_ERRORS = (6, 56)  # Not the leader (not ready), storage.


def limited(limit):
    return lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))


def make_segments(world, *shape):
    path = os.path.join(os.path.dirname(world.binary), "floe_segments")
    if not os.access(path, os.X_OK):
        raise AssertionError(f"{path} is not built")
    subprocess.run([path, world.data, *[str(number) for number in shape]], check=True, timeout=120)


def descriptors(server):
    return len(os.listdir(f"/proc/{server.process.pid}/fd"))


def total(server, *names):
    """Of all cores."""
    return [sum(core[name] for core in counters(server)) for name in names]


def value_of(topic, partition, offset):
    return f"t{topic}-{partition}-{offset}".encode()


def asked(connection, request):
    connection.sendall(request)
    return wire.answer(connection)[1]


def read(connection, topic, partition, offset):
    """The batch that holds the record, as stored."""
    name = f"t{topic}"
    error, _, data = wire.fetched(asked(connection, wire.fetch_request(name, offset, partition)), name)
    equal(error, 0, f"error of {name}/{partition} at {offset}")
    check(value_of(topic, partition, offset) in data, f"{name}/{partition} at {offset}: {data!r:.200}")
    return data


def write(connection, topic, partition, values):
    name = f"t{topic}"
    body = asked(connection, wire.produce_request(name, wire.batch(values), partition))
    return wire.produced(body, name)


def read_all_over(connection, seed, samples):
    chance = random.Random(seed)
    for _ in range(samples):
        read(connection, chance.randrange(TOPICS), chance.randrange(PARTITIONS),
             chance.randrange(SEGMENTS * RECORDS))


def clean_start(world):
    """A start where every segment is sealed: nothing is opened, nothing is read."""
    server = world.server(preexec=limited(LIMIT))
    opened, recovery, scanned, index = total(
        server, "files_opened", "recovery_read_bytes", "scanned_bytes", "index_read_bytes")
    print(f"  start: {opened} files opened, {recovery} bytes read by recovery, "
          f"{memory_kib(server) >> 10} MiB resident, {descriptors(server)} descriptors", flush=True)
    check(opened <= SERVER_FILES, f"{opened} files opened")
    equal((recovery, scanned, index), (0, 0, 0), "bytes read by recovery, scanned, for an index")
    check(descriptors(server) <= SERVER_FILES, f"{descriptors(server)} descriptors")
    return server


def test_thirty_thousand_segments(world):
    make_segments(world, TOPICS, PARTITIONS, SEGMENTS, RECORDS)
    server = world.server(preexec=limited(LIMIT))  # Adopts them: each file is looked at once.
    check(f"segments={TOPICS * PARTITIONS * SEGMENTS}" in server.text, server.text)
    equal(server.stop(), 0)

    server = clean_start(world)
    empty = memory_kib(server)
    connection = server.connect()
    read_all_over(connection, 1, SAMPLES)
    opened, evicted, refused, index, data, most = *total(
        server, "files_opened", "files_evicted", "files_refused", "index_read_bytes",
        "fetch_read_bytes"), descriptors(server)
    print(f"  {SAMPLES} reads: {opened} files opened, {evicted} closed again, {most} descriptors, "
          f"{(memory_kib(server) - empty) >> 10} MiB more", flush=True)
    # And of each partition the newest one, which knows what is deleted, before the first read.
    check(opened <= SAMPLES + TOPICS * PARTITIONS + SERVER_FILES, f"{opened} files opened")
    check(evicted > 0 and refused == 0, f"{evicted} files closed, {refused} refused")
    check(index <= SAMPLES * SEALED_BYTES, f"{index} bytes read for indexes")
    check(data <= SAMPLES * READ_BYTES, f"{data} bytes read")
    check(most <= LIMIT // 2 + SERVER_FILES, f"{most} descriptors")

    # Each partition that is written to keeps a file.
    for topic in range(TOPICS):
        for partition in range(0, PARTITIONS, 2):
            equal(write(connection, topic, partition, [b"new"]), (0, SEGMENTS * RECORDS))
    written = TOPICS * PARTITIONS // 2
    read_all_over(connection, 2, SAMPLES)
    check(written < descriptors(server) <= LIMIT // 2 + SERVER_FILES,
          f"{descriptors(server)} descriptors, {written} open segments")
    scanned, refused = total(server, "scanned_bytes", "files_refused")
    equal((scanned, refused), (0, 0), "bytes scanned, files refused")
    connection.close()
    equal(server.stop(), 0)

    # The map has the written ones as open: of each its ends are read, and nothing else.
    server = world.server(preexec=limited(LIMIT))
    opened, recovery, scanned = total(server, "files_opened", "recovery_read_bytes", "scanned_bytes")
    print(f"  start after {written} open segments: {opened} files opened, "
          f"{recovery / written:.0f} bytes read of each", flush=True)
    check(written <= opened <= written + SERVER_FILES, f"{opened} files opened")
    check(0 < recovery <= written * SEALED_BYTES, f"{recovery} bytes read")
    equal(scanned, 0, "bytes scanned")
    connection = server.connect()
    read_all_over(connection, 3, 300)
    equal(write(connection, 0, 0, [b"newer"]), (0, SEGMENTS * RECORDS + 1))
    connection.close()

    # Killed: only that partition was written to.
    server.kill()
    server = world.server(preexec=limited(LIMIT))
    opened, recovery, scanned = total(server, "files_opened", "recovery_read_bytes", "scanned_bytes")
    print(f"  start after kill -9: {opened} files opened, {recovery} bytes read", flush=True)
    check(opened <= 4 + SERVER_FILES, f"{opened} files opened")
    check(0 < recovery, "the journal was not looked at")
    connection = server.connect()
    equal(write(connection, 0, 0, [b"newest"]), (0, SEGMENTS * RECORDS + 2))
    read_all_over(connection, 4, 300)
    connection.close()
    check("lost" not in server.text and "damaged" not in server.text, server.text)
    equal(server.stop(), 0)
    equal(clean_start_after_one(world), 0)


def clean_start_after_one(world):
    server = world.server(preexec=limited(LIMIT))
    opened, scanned = total(server, "files_opened", "scanned_bytes")
    check(opened <= 1 + SERVER_FILES, f"{opened} files opened")
    equal(scanned, 0, "bytes scanned")
    return server.stop()


def test_more_open_segments_than_descriptors(world):
    """Who comes too late is told to try again; nobody else notices, and nothing is damaged."""
    make_segments(world, 1, SPREAD, 2, RECORDS)
    server = world.server(preexec=limited(160))
    connection = server.connect()
    done, told = [], set()
    for partition in range(SPREAD):
        error, base = write(connection, 0, partition, [b"new"])
        if error == 0:
            equal(base, 2 * RECORDS)
            done.append(partition)
        told.add(error)
    check(len(done) > 40 and told - {0} and told - {0} <= set(RETRY_ERRORS), f"{len(done)}: {told}")
    check(re.search(r"too many segments are open.*ulimit -n.*limit=160", server.text), server.text)
    check(descriptors(server) < 120, f"{descriptors(server)} descriptors")  # Others need some, too.
    refused, = total(server, "files_refused")
    check(refused > 0, "no file was refused")
    for partition in done:  # Who has a file goes on.
        equal(write(connection, 0, partition, [b"newer"]), (0, 2 * RECORDS + 1))
    connection.close()
    equal(server.stop(), 0)

    server = world.server(preexec=limited(1024))
    connection = server.connect()
    for partition in range(SPREAD):
        offset = 2 * RECORDS + (2 if partition in done else 0)
        equal(write(connection, 0, partition, [b"newest"]), (0, offset))
        for old in range(2 * RECORDS):
            read(connection, 0, partition, old)
    connection.close()
    check("lost" not in server.text and "damaged" not in server.text, server.text)
    equal(server.stop(), 0)


def test_a_low_limit_is_told(world):
    server = world.server(preexec=limited(300))
    found = re.search(r"limit of open files is low limit=300 ample=(\d+) files=(\d+) "
                      r"connections=(\d+) connections.max=10000 .*ulimit -n", server.text)
    check(found, server.text)
    check(2 * (int(found[2]) + int(found[3])) <= 300, found[0])
    equal(server.stop(), 0)
    server = world.server(preexec=limited(2048), settings={"connections.max": "400"})
    check("limit of open files" not in server.text, server.text)
    equal(server.stop(), 0)


def test_the_soft_limit_is_raised(world):
    def preexec():
        resource.setrlimit(resource.RLIMIT_NOFILE, (128, 2048))
    server = world.server(preexec=preexec, settings={"connections.max": "400"})
    check("limit of open files" not in server.text, server.text)
    with open(f"/proc/{server.process.pid}/limits", encoding="ascii") as file:
        equal(re.search(r"Max open files +(\d+)", file.read())[1], "2048")
    equal(server.stop(), 0)


def test_too_low_a_limit_is_refused(world):
    server = world.server(preexec=limited(40), start=False)
    server.launch()
    equal(server.ends(), 1)
    check(re.search(r"limit of open files is 40, and 2 cores need \d+.*ulimit -n", server.text),
          server.text)


def test_connections_leave_files_to_the_log(world):
    make_segments(world, 1, 4, 20, RECORDS)
    server = world.server(preexec=limited(100))
    served = server.connect()
    read(served, 0, 0, 0)  # Which of many are served depends on which core looks first.
    connections = [served]
    for _ in range(150):  # Those that are too many are closed again.
        connections.append(server.connect())
    for partition in range(4):
        for offset in range(20 * RECORDS):
            read(served, 0, partition, offset)
        equal(write(served, 0, partition, [b"new"]), (0, 20 * RECORDS))
    refused, = total(server, "files_refused")
    equal(refused, 0, "files refused")
    check("accept failed" not in server.text, server.text)
    check(descriptors(server) <= 100, f"{descriptors(server)} descriptors")
    for connection in connections:
        connection.close()
    equal(server.stop(), 0)
