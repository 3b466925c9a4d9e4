"""Crowds of peers that do not behave, beside producers that do; and every check of a batch."""
import contextlib
import gzip
import resource
import socket
import struct
import threading
import time

import wire
from fixture import Skip, check, consume, counters, equal, lines, memory_kib, produce

ALONE = True  # See run.

GOOD_TIME_MS = 1700000000000
PRODUCERS, APPENDS = 50, 30
MIB_KIB = 1024
# Beyond memory.limit: code, stacks, rings, pools of connections and calls, the map, malloc.
ALLOWANCE_KIB = 64 * MIB_KIB
# AddressSanitizer's own: shadow of 1/8, its maps, and freed memory that it keeps for a while.
SANITIZER_KIB = 192 * MIB_KIB


# --- Many at once. ---

def room_for(descriptors):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < descriptors:
        raise Skip(f"{hard} descriptors are allowed, {descriptors} needed")
    if soft != resource.RLIM_INFINITY and soft < descriptors:
        resource.setrlimit(resource.RLIMIT_NOFILE, (descriptors, hard))


def create(world, server, topic, *words):
    done = world.floe("topic", "create", topic, *words, "-b", server.address)
    equal(done.returncode, 0, done.stderr.decode())


def crowd(server, count, receive_bytes=None):
    """Connections; with little room for replies if asked."""
    connections = []
    for _ in range(count):
        connection = socket.socket()
        if receive_bytes:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        connection.settimeout(60)
        connection.connect(("127.0.0.1", server.port))
        connections.append(connection)
    return connections


def close_all(connections):
    for connection in connections:
        connection.close()


def append_many(server, topic, partition, name, offsets, errors):
    """One producer: APPENDS batches of 2 KiB, each acked before the next."""
    try:
        with server.connect(120) as connection:
            for n in range(APPENDS):
                batch = wire.batch([b"%s-%d-" % (name, n) + b"y" * 2048])
                connection.sendall(wire.produce_request(topic, batch, partition))
                error, offset = wire.produced(wire.answer(connection)[1], topic)
                equal(error, 0, f"append {n} of {name}")
                offsets.append((partition, offset))
    except Exception as error:  # Told by the thread that waits for this one.
        errors.append(f"{name}: {error!r}")


def produce_beside(world, server, topic):
    """PRODUCERS producers at once; every append is acked, at an offset of its own."""
    partitions = 10
    create(world, server, topic, "-p", str(partitions))
    offsets, errors = [], []
    threads = [threading.Thread(target=append_many, daemon=True,
                                args=(server, topic, n % partitions, b"p%d" % n, offsets, errors))
               for n in range(PRODUCERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(150)
    equal(errors, [], "producers that failed")
    equal(len(offsets), PRODUCERS * APPENDS, "acks")
    each = APPENDS * PRODUCERS // partitions
    equal(sorted(offsets), [(p, n) for p in range(partitions) for n in range(each)], "offsets")


def within_memory(server, limit_mib):
    peak = memory_kib(server, "VmHWM")
    with open(server.binary, "rb") as file:
        sanitized = b"__asan_init" in file.read()
    bound = limit_mib * MIB_KIB + ALLOWANCE_KIB + (SANITIZER_KIB if sanitized else 0)
    print(f"  peak of resident memory: {peak // 1024} MiB, bound {bound // 1024} MiB", flush=True)
    check(peak <= bound, f"{peak} KiB of memory, bound {bound} KiB")


def well_again(server, records):
    """A new client is served and the server still stops."""
    check(server.alive(), server.text)
    equal(consume(server, "w"), records)
    produce(server, "w", ["well"])
    equal(consume(server, "w"), records + ["well"])
    equal(server.stop(), 0, "exit code")


def big_lines():
    """4 MiB, so that one fetch of 1 MiB is full."""
    return [f"big-{n}-{'z' * 32768}" for n in range(128)]


def test_a_thousand_clients_that_never_read(world):
    room_for(2500)
    server = world.server(settings={"memory.limit": "256MiB"})
    records = big_lines()
    produce(server, "w", records)
    equal(server.stop(), 0)
    server.start()  # No cache: each reply is memory of its own.
    connections = crowd(server, 1000, receive_bytes=4096)
    for n, connection in enumerate(connections):
        for again in range(8):
            connection.sendall(wire.fetch_request("w", n % 64, correlation=again))
    produce_beside(world, server, "beside")
    cores = counters(server)[:-1]
    check(sum(core["fetches"] for core in cores) >= 1000, f"nobody fetched: {cores}")
    check(sum(core["send_bytes"] for core in cores) < 2000 << 20, f"somebody reads: {cores}")
    check(server.alive(), server.text)
    within_memory(server, 256)
    close_all(connections)
    well_again(server, records)


def test_waiting_fetches_of_a_thousand_clients_that_never_read(world):
    """Their long polls all end at once, with the data that the producers append."""
    room_for(2500)
    server = world.server(settings={"memory.limit": "256MiB"})
    records = lines(10)
    produce(server, "w", records)
    connections = crowd(server, 1000, receive_bytes=4096)
    for connection in connections:
        for again in range(4):
            connection.sendall(wire.fetch_request("w", 10, wait_ms=20000, correlation=again))
    more = big_lines()
    produce(server, "w", more)
    produce_beside(world, server, "beside")
    within_memory(server, 256)
    close_all(connections)
    well_again(server, records + more)


def test_half_a_request_of_five_hundred(world):
    room_for(1500)
    server = world.server(settings={"memory.limit": "256MiB"})
    produce(server, "w", lines(10))
    connections = crowd(server, 500)
    whole = wire.produce_request("w", wire.batch([b"h" * 20000]))
    for connection in connections:
        connection.sendall(whole[:len(whole) // 2])
    produce_beside(world, server, "beside")
    within_memory(server, 256)
    for connection in connections[:250]:
        connection.sendall(whole[len(whole) // 2:])
    for connection in connections[:250]:
        equal(wire.produced(wire.answer(connection)[1], "w")[0], 0)
    close_all(connections)
    check(server.alive(), server.text)
    equal(len(consume(server, "w")), 260)
    equal(server.stop(), 0)


def test_large_promises_of_five_hundred(world):
    """Their requests together are twice the memory: whoever sends a whole one is still served."""
    room_for(1500)
    server = world.server(settings={"memory.limit": "256MiB"})
    produce(server, "w", lines(10))
    connections = crowd(server, 500)
    for connection in connections:
        connection.sendall(struct.pack(">ihhi", 1000000, wire.PRODUCE, 7, 1) + b"\0" * 1000)
    produce_beside(world, server, "beside")
    within_memory(server, 256)
    close_all(connections)
    well_again(server, lines(10))


def test_two_hundred_that_send_a_byte_at_a_time(world):
    server = world.server()
    produce(server, "w", lines(10))
    connections = crowd(server, 200)
    data = wire.produce_request("w", wire.batch([b"slow"]))
    stop = threading.Event()

    def drip():
        for byte in data:
            for connection in connections:
                connection.sendall(bytes([byte]))
        stop.set()
    for connection in connections:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    dripping = threading.Thread(target=drip, daemon=True)
    dripping.start()
    produce_beside(world, server, "beside")
    check(stop.wait(120), "the slow senders are not done")
    offsets = set()
    for connection in connections:
        error, offset = wire.produced(wire.answer(connection)[1], "w")
        equal(error, 0)
        offsets.add(offset)
    equal(offsets, set(range(10, 210)))
    close_all(connections)
    well_again(server, lines(10) + ["slow"] * 200)


def answers(connection):
    """Whether a request is answered; False: the connection was closed."""
    try:
        connection.sendall(wire.request(wire.API_VERSIONS, 0))
        wire.answer(connection)
        return True
    except ConnectionError:
        return False


def test_more_connections_than_allowed(world):
    server = world.server(settings={"connections.max": "20", "cpu.cores": "1"})
    first = crowd(server, 20)
    equal([answers(connection) for connection in first], [True] * 20)
    surplus = crowd(server, 15)
    for connection in surplus:
        equal(connection.recv(1), b"", "a clean close, without a byte")
    said, deadline = "connection refused: too many on this core limit=20", time.monotonic() + 20
    while said not in server.text and time.monotonic() < deadline:
        time.sleep(0.01)  # The log comes through a pipe and a thread of its own.
    check(said in server.text, server.text)
    equal([answers(connection) for connection in first], [True] * 20)
    close_all(surplus)
    close_all(first[:10])
    deadline = time.monotonic() + 60
    served = []
    while len(served) < 10 and time.monotonic() < deadline:
        again, = crowd(server, 1)  # A close may still be under way.
        if answers(again):
            served.append(again)
        else:
            again.close()
    equal(len(served), 10, "connections in place of those that left")
    close_all(served + first[10:])
    equal(server.stop(), 0)


def test_descriptors_run_out(world):
    """The log's files suffer too: what cannot be opened is an error that clients try again."""
    server = world.server()
    produce(server, "w", lines(10))
    create(world, server, "later")
    # Behind its back: what it knows at the start it shares so that this does not happen.
    resource.prlimit(server.process.pid, resource.RLIMIT_NOFILE, (100, 100))
    connections = crowd(server, 150)
    deadline = time.monotonic() + 60
    while "accept failed, pausing" not in server.text and time.monotonic() < deadline:
        time.sleep(0.05)
    check("accept failed, pausing" in server.text, server.text)
    first = connections[0]
    check(answers(first), "a connection that stands is not served")
    first.sendall(wire.produce_request("later", wire.batch([b"no file left"])))
    error, _ = wire.produced(wire.answer(first)[1], "later")
    check(error in (56, 6, 7), f"error {error} without a descriptor for the file")
    close_all(connections[1:])
    deadline = time.monotonic() + 60
    while error != 0 and time.monotonic() < deadline:
        first.sendall(wire.produce_request("later", wire.batch([b"again"])))
        error, _ = wire.produced(wire.answer(first)[1], "later")
        check(error in (0, 56, 6, 7), f"error {error}")
    equal(error, 0, "error once there are descriptors")
    first.close()
    equal(consume(server, "later"), ["again"])
    well_again(server, lines(10))


# --- Each check of a batch (Kafka's, in the broker's order). ---

def seal(batch):
    """The batch with its length and CRC made right."""
    batch = batch[:8] + struct.pack(">i", len(batch) - 12) + batch[12:]
    return batch[:17] + struct.pack(">I", wire.crc32c(batch[21:])) + batch[21:]


def patched(layout, at, *values, of=None):
    """`values` at `at` of a good batch, sealed again."""
    batch = bytearray(of or wire.batch([b"one", b"two"]))
    struct.pack_into(">" + layout, batch, at, *values)
    return seal(bytes(batch))


def with_length(length):
    batch = wire.batch([b"one", b"two"])
    return batch[:8] + struct.pack(">i", length) + batch[12:]


def with_records(count, records, codec=0):
    """A header that says `count`, and any bytes behind it."""
    batch = wire.batch([b"x"] * max(count, 1))[:61] + records
    return patched("h", 21, codec, of=batch)


def one_record(offset_delta=0, key=-1, body=b"value", headers=0, length=None):
    data = b"\0" + wire.varint(0) + wire.varint(offset_delta) + wire.varint(key)
    data += wire.varint(len(body)) + body + wire.varint(headers)
    return wire.varint(len(data) if length is None else length) + data


TOO_LARGE = [b"l" * 1048600]
BOMB = gzip.compress(wire.LONG_RECORD + bytes(160 << 20), 9)

FRAME = {
    "magic 0": (lambda: patched("b", 16, 0), 87),
    "magic 1": (lambda: patched("b", 16, 1), 87),
    "magic 3": (lambda: patched("b", 16, 3), 87),
    "magic -1": (lambda: patched("b", 16, -1), 87),
    "60 bytes": (lambda: wire.batch([b"one"])[:60], 87),
    "a header alone": (lambda: wire.batch([b"one"])[:61], 87),
    "nothing": (lambda: b"", 87),
    "length 48": (lambda: with_length(48), 87),
    "length -1": (lambda: with_length(-1), 87),
    "length -2^31": (lambda: with_length(-2**31), 87),
    "length 2^31-1": (lambda: with_length(2**31 - 1), 87),
    "length one short": (lambda: with_length(len(wire.batch([b"one", b"two"])) - 13), 87),
    "a byte behind": (lambda: wire.batch([b"one"]) + b"\0", 87),
    "two batches": (lambda: wire.batch([b"one"]) + wire.batch([b"two"]), 87),
    "too large": (lambda: wire.batch(TOO_LARGE), 10),
    "too large and torn": (lambda: wire.batch(TOO_LARGE)[:-1] + b"?", 10),
}
HEADER = {
    "CRC": (lambda: wire.batch([b"one"])[:-1] + b"?", 2),
    "CRC and control bit": (lambda: patched("h", 21, 32)[:-1] + b"?", 2),
    "control": (lambda: patched("h", 21, 32), 87),
    "append time on a CreateTime topic": (lambda: patched("h", 21, 8), 32),
    "codec 5": (lambda: patched("h", 21, 5), 87),
    "codec 6": (lambda: patched("h", 21, 6), 87),
    "codec 7": (lambda: patched("h", 21, 7), 87),
    "delete horizon": (lambda: patched("h", 21, 64), 87),
    "attribute bit 7": (lambda: patched("h", 21, 128), 87),
    "attribute bit 15": (lambda: patched("h", 21, -2**15), 87),
    "count 0": (lambda: patched("ii", 57, 0, 0)[:65], 87),
    "count 0, delta -1": (lambda: patched("i", 23, -1, of=patched("i", 57, 0)), 87),
    "count -1": (lambda: patched("i", 57, -1), 87),
    "count 3 of 2": (lambda: patched("i", 57, 3), 87),
    "delta 5 of 2": (lambda: patched("i", 23, 5), 87),
    "delta 2^31-1": (lambda: patched("i", 23, 2**31 - 1), 87),
    "count and delta 2^31": (lambda: patched("i", 57, -2**31, of=patched("i", 23, 2**31 - 1)), 87),
    "base offset 1": (lambda: patched("q", 0, 1), 87),
    "base offset -1": (lambda: patched("q", 0, -1), 87),
    "producer without epoch": (lambda: patched("qhi", 43, 7, -1, 0), 87),
    "producer without sequence": (lambda: patched("qhi", 43, 7, 0, -1), 87),
    "transactional without producer": (lambda: patched("h", 21, 16), 87),
    "transactional without transaction":
        (lambda: patched("qhi", 43, 7, 0, 0, of=patched("h", 21, 16)), 87),
    "a time of next year": (lambda: wire.batch([b"one"], int(time.time() * 1000) + 31536000000), 32),
    "the greatest time": (lambda: patched("q", 35, 2**63 - 1), 32),
}
RECORDS = {
    "no records of 2": (lambda: with_records(2, b""), 87),
    "one record of 2": (lambda: with_records(2, one_record()), 87),
    "two records of 1": (lambda: with_records(1, one_record() + one_record(1)), 87),
    "deltas 0, 2": (lambda: with_records(2, one_record() + one_record(2)), 87),
    "deltas 1, 0": (lambda: with_records(2, one_record(1) + one_record(0)), 87),
    "a record too short": (lambda: with_records(1, one_record(length=3)), 87),
    "a record too long": (lambda: with_records(1, one_record(length=5000)), 87),
    "a negative record": (lambda: with_records(1, one_record(length=-5)), 87),
    "a key of -2": (lambda: with_records(1, one_record(key=-2)), 87),
    "a key of 2^31-1": (lambda: with_records(1, one_record(key=2**31 - 1)), 87),
    "headers that are not there": (lambda: with_records(1, one_record(headers=9)), 87),
    "headers of -1": (lambda: with_records(1, one_record(headers=-1)), 87),
    "a varint without end": (lambda: with_records(1, b"\xff" * 30), 87),
    "no gzip": (lambda: with_records(1, one_record(), codec=1), 87),
    "no snappy": (lambda: with_records(1, b"\xff" * 40, codec=2), 87),
    "no lz4": (lambda: with_records(1, one_record(), codec=3), 87),
    "no zstd": (lambda: with_records(1, one_record(), codec=4), 87),
    "gzip of the wrong count": (lambda: with_records(2, gzip.compress(one_record()), codec=1), 87),
    "half a gzip": (lambda: with_records(1, gzip.compress(one_record())[:-9], codec=1), 87),
    "a bomb": (lambda: with_records(1, BOMB, codec=1), 10),  # Java splits it and tries again.
}


def refuses(world, cases):
    """Each case gets its error; a good append on the same connection gets the next offset."""
    server = world.server()
    produce(server, "w", lines(1))
    with server.connect() as connection:
        for at, (name, (make, wanted)) in enumerate(cases.items()):
            connection.sendall(wire.produce_request("w", make(), correlation=at))
            correlation, body = wire.answer(connection)
            equal((name, correlation, *wire.produced(body, "w")), (name, at, wanted, -1))
            connection.sendall(wire.produce_request("w", wire.batch([b"good"])))
            equal((name, *wire.produced(wire.answer(connection)[1], "w")), (name, 0, at + 1))
    well_again(server, lines(1) + ["good"] * len(cases))


def test_frames_that_are_refused(world):
    refuses(world, FRAME)


def test_headers_that_are_refused(world):
    refuses(world, HEADER)


def test_records_that_are_refused(world):
    refuses(world, RECORDS)


def sent(connection, topic, batch, **options):
    connection.sendall(wire.produce_request(topic, batch, **options))
    return wire.produced(wire.answer(connection)[1], topic)


def null_records(topic):
    """A Produce v7 request whose record set is null."""
    body = struct.pack(">hhii", -1, -1, 30000, 1) + wire.text(topic)
    return wire.request(wire.PRODUCE, 7, body + struct.pack(">iii", 1, 0, -1))


def test_requests_that_are_refused(world):
    server = world.server()
    produce(server, "w", lines(1))
    good = wire.batch([b"good"])
    with server.connect() as connection:
        connection.sendall(null_records("w"))
        equal(wire.produced(wire.answer(connection)[1], "w")[0], 87, "null records")
        for acks in (2, -2, 32767):
            equal(sent(connection, "w", good, acks=acks)[0], 21, f"acks {acks}")
        for partition in (1, 99, -1, 2**31 - 1):
            equal(sent(connection, "w", good, partition=partition)[0], 3, f"partition {partition}")
        for topic in ("nobody", "", ".", "a" * 300, "w\0", "a/b"):
            check(sent(connection, topic, good)[0] in (3, 17), f"topic {topic!r}")
        connection.sendall(wire.request(wire.PRODUCE, 7, wire.text("txn") + struct.pack(
            ">hii", -1, 30000, 1) + wire.text("w") + struct.pack(">iii", 1, 0, len(good)) + good))
        equal(wire.produced(wire.answer(connection)[1], "w")[0], 48, "a transactional request")
        equal(sent(connection, "w", good), (0, 1))
    with server.connect() as connection:
        connection.sendall(wire.produce_request("w", good[:-1] + b"?", acks=0))
        check(wire.is_closed(connection), "acks=0 and an error: the connection says so")
    well_again(server, lines(1) + ["good"])


def test_zstd_needs_version_7(world):
    server = world.server()
    produce(server, "w", lines(1))
    zstd = with_records(1, b"\x28\xb5\x2f\xfd", codec=4)
    with server.connect() as connection:
        for version in (3, 4, 5, 6):
            connection.sendall(wire.produce_request("w", zstd, version=version))
            equal(wire.produced(wire.answer(connection)[1], "w")[0], 76, f"version {version}")
        equal(sent(connection, "w", zstd)[0], 87, "version 7: opened, and found broken")
        equal(sent(connection, "w", wire.batch([b"good"])), (0, 1))
    for version in (0, 1, 2):
        with server.connect() as connection:
            connection.sendall(wire.produce_request("w", zstd, version=version))
            check(wire.is_closed(connection), f"version {version} is too old")
    well_again(server, lines(1) + ["good"])


def idempotent(sequence, epoch=0, producer=7, count=1):
    return patched("qhi", 43, producer, epoch, sequence, of=wire.batch([b"i%d" % sequence] * count))


def test_sequences(world):
    server = world.server()
    create(world, server, "w")
    steps = [
        (idempotent(0), (0, 0)), (idempotent(0), (0, 0)), (idempotent(1, count=3), (0, 1)),
        (idempotent(4), (0, 4)), (idempotent(6), (45, -1)), (idempotent(1, count=2), (45, -1)),
        (idempotent(1, count=3), (0, 1)), (idempotent(5), (0, 5)), (idempotent(5, epoch=1), (45, -1)),
        (idempotent(0, epoch=1), (0, 6)), (idempotent(6), (47, -1)), (idempotent(1, epoch=1), (0, 7)),
        (idempotent(2**31 - 1, producer=8), (0, 8)), (idempotent(0, producer=8), (0, 9)),
    ]
    with server.connect() as connection:
        for at, (batch, wanted) in enumerate(steps):
            equal((at, *sent(connection, "w", batch)), (at, *wanted))
    server.kill()
    server.start()
    with server.connect() as connection:
        equal(sent(connection, "w", idempotent(1, epoch=1)), (0, 7), "a repetition after kill -9")
        equal(sent(connection, "w", idempotent(2, epoch=1)), (0, 10))
        equal(sent(connection, "w", idempotent(6)), (47, -1))
    equal(len(consume(server, "w")), 11)
    equal(server.stop(), 0)


def test_rules_of_a_topic(world):
    """Keys where it is compacted, times where it bounds them, sizes where it is strict."""
    server = world.server()
    now = int(time.time() * 1000)
    create(world, server, "compact", "--config", "cleanup.policy=compact")
    create(world, server, "young", "--config", "message.timestamp.before.max.ms=60000")
    create(world, server, "strict", "--config", "max.message.bytes=2000")
    create(world, server, "stamped", "--config", "message.timestamp.type=LogAppendTime")
    keyed = with_records(1, wire.varint(8) + b"\0\0\0" + wire.varint(1) + b"k" + wire.varint(1)
                         + b"v\0")
    with server.connect() as connection:
        equal(sent(connection, "compact", wire.batch([b"no key"])), (87, -1))
        equal(sent(connection, "compact", with_records(2, one_record() + one_record(1))), (87, -1))
        equal(sent(connection, "compact", keyed), (0, 0))
        equal(sent(connection, "young", wire.batch([b"old"], now - 3600000)), (32, -1))
        equal(sent(connection, "young", wire.batch([b"new"], now)), (0, 0))
        equal(sent(connection, "strict", wire.batch([b"s" * 2000])), (10, -1))
        equal(sent(connection, "strict", wire.batch([b"s" * 1900])), (0, 0))
        equal(sent(connection, "stamped", wire.batch([b"any"], now + 10**11)), (0, 0))
        equal(sent(connection, "stamped", patched("h", 21, 8)), (0, 1))
    check(server.alive(), server.text)
    equal(server.stop(), 0)


def test_two_partitions_of_a_request_are_judged_apart(world):
    server = world.server()
    create(world, server, "w", "-p", "3")
    bad = patched("h", 21, 32)
    good = wire.batch([b"good"])
    body = struct.pack(">hhii", -1, -1, 30000, 1) + wire.text("w") + struct.pack(">i", 3)
    for partition, batch in ((2, good), (0, bad), (1, good)):
        body += struct.pack(">ii", partition, len(batch)) + batch
    with server.connect() as connection:
        connection.sendall(wire.request(wire.PRODUCE, 7, body))
        answered = wire.answer(connection)[1][4 + 3 + 4:]
        rows = [struct.unpack(">ihq", answered[n * 30:n * 30 + 14]) for n in range(3)]
        equal(rows, [(2, 0, 0), (0, 87, -1), (1, 0, 0)])
    with contextlib.closing(server.connect()) as connection:
        equal(sent(connection, "w", good), (0, 0))
    equal(server.stop(), 0)
