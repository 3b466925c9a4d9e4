"""The drain of a stop: what was begun is answered, what comes is told to try again, nothing is lost."""
import json
import re
import signal
import socket
import struct
import threading
import time

import wire
from fixture import check, consume, counters, equal, need_module
from http_client import make, read_answer
from test_door import free_port
from wire import resp
from walrus import frame

STOPPING = "the server is stopping: retry when it is back"
HALF = 6  # So many bytes tell what protocol it is, and are no request.
FIND_COORDINATOR, JOIN_GROUP, HEARTBEAT, LEAVE_GROUP, LIST_GROUPS = 10, 11, 12, 13, 16
OFFSET_COMMIT, OFFSET_FETCH, CREATE_TOPICS, DELETE_TOPICS = 8, 9, 19, 20
DESCRIBE_GROUPS = 15


def start(world, **settings):
    settings = {key.replace("_", "."): value for key, value in settings.items()}
    return world.server("--listen", "any://127.0.0.1:0", settings=settings)


def term(server):
    """SIGTERM, and the drain has begun on every core."""
    server.process.send_signal(signal.SIGTERM)
    server.says("draining: ")


class Half:
    """A connection with the beginning of a request, so that it stays while the server drains."""

    def __init__(self, server, data):
        self.connection = server.connect()
        self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.data = data
        self.connection.sendall(data[:HALF])

    def rest(self):
        self.connection.sendall(self.data[HALF:])
        return self.connection

    def ends(self):
        check(wire.is_closed(self.connection), "it stays open")
        self.connection.close()


def received(server):
    return sum(core["recv_bytes"] for core in counters(server))


def halves(server, *requests):
    """The server has read the beginning of each: it has not to be in time for a signal."""
    before = received(server)
    waits = [Half(server, data) for data in requests]
    while received(server) < before + HALF * len(waits):
        time.sleep(0.01)
    return waits


def group_member(generation=1):
    return wire.text("g") + struct.pack(">i", generation) + wire.text("m")


def kafka_cases():
    """Requests, and the whole body of what they are answered while the server drains."""
    name = wire.text("t")
    one = struct.pack(">i", 1) + name + struct.pack(">i", 1)  # One topic with one partition,
    part = one + struct.pack(">i", 0)                         # which is 0.
    join = (wire.text("g") + struct.pack(">ii", 10000, 10000) + wire.text("") + wire.text("consumer")
            + struct.pack(">i", 1) + wire.text("range") + struct.pack(">i", 0))
    create = (struct.pack(">i", 1) + wire.text("new") + struct.pack(">ihii", 1, 1, 0, 0)
              + struct.pack(">ib", 30000, 0))
    zero = struct.pack(">i", 0)
    return {
        "Produce": (wire.produce_request("t", wire.batch([b"no"])),
                    part + struct.pack(">hqqqi", 6, -1, -1, -1, 0)),
        "Fetch": (wire.fetch_request("t", 0, wait_ms=60000),
                  zero + part + struct.pack(">hqqii", 6, -1, -1, 0, 0)),
        "ListOffsets": (wire.request(wire.LIST_OFFSETS, 1, struct.pack(">i", -1) + part
                                     + struct.pack(">q", -1)),
                        part + struct.pack(">hqq", 6, -1, -1)),
        "DeleteRecords": (wire.delete_records_request("t", 0), None),
        "InitProducerId": (wire.producer_id_request(), zero + struct.pack(">hqh", 14, -1, -1)),
        "FindCoordinator": (wire.request(FIND_COORDINATOR, 0, wire.text("g")),
                            struct.pack(">hi", 15, -1) + wire.text("") + struct.pack(">i", -1)),
        "JoinGroup": (wire.request(JOIN_GROUP, 2, join),
                      zero + struct.pack(">hi", 16, -1) + wire.text("") * 3 + zero),
        "Heartbeat": (wire.request(HEARTBEAT, 0, group_member()), struct.pack(">h", 16)),
        "LeaveGroup": (wire.request(LEAVE_GROUP, 0, wire.text("g") + wire.text("m")),
                       struct.pack(">h", 16)),
        "OffsetCommit": (wire.request(OFFSET_COMMIT, 2, group_member() + struct.pack(">q", -1) + part
                                      + struct.pack(">q", 5) + wire.text("")),
                         part + struct.pack(">h", 16)),
        "OffsetFetch": (wire.request(OFFSET_FETCH, 1, wire.text("g") + part),
                        part + struct.pack(">q", -1) + wire.text("") + struct.pack(">h", 16)),
        "ListGroups": (wire.request(LIST_GROUPS, 0), struct.pack(">h", 15) + zero),
        "CreateTopics": (wire.request(CREATE_TOPICS, 2, create),
                         zero + struct.pack(">i", 1) + wire.text("new") + struct.pack(">h", 41)
                         + wire.text(STOPPING)),
        "DeleteTopics": (wire.request(DELETE_TOPICS, 1, struct.pack(">i", 1) + name
                                      + struct.pack(">i", 30000)),
                         zero + struct.pack(">i", 1) + name + struct.pack(">h", 41)),
        "DescribeGroups": (wire.request(DESCRIBE_GROUPS, 0, struct.pack(">i", 1) + wire.text("g")),
                           struct.pack(">ih", 1, 16) + wire.text("g") + wire.text("") * 3 + zero),
        "ApiVersions": (wire.request(wire.API_VERSIONS, 0), None),
        "Metadata": (wire.request(wire.METADATA, 1, struct.pack(">i", 2) + name
                                  + wire.text("unmade")), None),
    }


def test_kafka_is_told_to_try_again(world):
    server = start(world)
    with server.connect() as connection:  # A group's topic is there, and t.
        connection.sendall(wire.request(wire.METADATA, 1, struct.pack(">i", 1) + wire.text("t")))
        wire.answer(connection)
        connection.sendall(wire.request(OFFSET_COMMIT, 2, wire.text("g") + struct.pack(">i", -1)
                                        + wire.text("") + struct.pack(">qi", -1, 1) + wire.text("t")
                                        + struct.pack(">iiq", 1, 0, 0) + wire.text("")))
        equal(wire.answer(connection)[1][-2:], b"\0\0", "OffsetCommit")
    cases = kafka_cases()
    waits = dict(zip(cases, halves(server, *(data for data, _ in cases.values()))))
    term(server)
    check(f"draining: {len(cases)} connections, 0 requests" in server.text, server.text)
    server.says(f"still draining: {len(cases)} connections, 0 requests")
    try:
        server.connect(5).close()
        raise AssertionError("a connection is taken while it drains")
    except ConnectionRefusedError:
        pass
    for name, (_, wanted) in cases.items():
        _, body = wire.answer(waits[name].rest())
        if wanted is not None:
            equal(body, wanted, name)
        elif name == "ApiVersions":
            equal(body[:2], b"\0\0", name)
        elif name == "DeleteRecords":
            equal(body[-2:], struct.pack(">h", 6), name)
        else:  # The topic that is there is told as ever; the other one is not made now.
            check(b"\0\0" + wire.text("t") + b"\0" in body, f"{body!r}")
            check(struct.pack(">h", 5) + wire.text("unmade") in body, f"{body!r}")
        waits[name].ends()
    equal(server.ends(), 0)
    check("drained: every request" in server.text, server.text)
    server.start()
    equal(consume(server, "t"), [])
    check("new" not in world.floe("topic", "list", "-b", server.address).stdout.decode().split(), "new")


def test_acks_0_is_told_by_a_close(world):
    server = start(world)
    make(server, "t")
    waits, = halves(server, wire.produce_request("t", wire.batch([b"no"]), acks=0))
    term(server)
    waits.rest()
    waits.ends()
    equal(server.ends(), 0)
    server.start()
    equal(consume(server, "t"), [])


def test_redis_and_walrus_are_told_to_try_again(world):
    server = start(world)
    answers = {
        resp("XADD", "s", "*", "f", "v"): f"-LOADING {STOPPING}\r\n",
        resp("XREAD", "BLOCK", "0", "STREAMS", "s", "$"): f"-LOADING {STOPPING}\r\n",
        resp("XGROUP", "CREATE", "s", "g", "$", "MKSTREAM"): f"-LOADING {STOPPING}\r\n",
        resp("PUT", "s", "v"): f"-LOADING {STOPPING}\r\n",
        b"XADD s * f v\r\n": f"-LOADING {STOPPING}\r\n",
        resp("PING"): "+PONG\r\n",
        resp("SELECT", "0"): "+OK\r\n",
    }
    waits = dict(zip(answers, halves(server, *answers)))
    walrus = halves(server, *(frame(text) for text in (b"REGISTER w", b"PUT w x", b"GET w", b"STATE w")))
    term(server)
    for data, wanted in answers.items():
        connection = waits[data].rest()
        equal(wire.read_exactly(connection, len(wanted)), wanted.encode(), f"{data!r}")
        waits[data].ends()
    for one in walrus:
        connection = one.rest()
        wanted = frame(b"ERR " + STOPPING.encode())
        equal(wire.read_exactly(connection, len(wanted)), wanted, f"{one.data!r}")
        one.ends()
    equal(server.ends(), 0)


def test_http_is_told_to_try_again(world):
    server = start(world)
    make(server, "t")
    host = f"Host: 127.0.0.1:{server.port}\r\n"
    body = "Content-Length: 1\r\nX-Floe: 1\r\nContent-Type: application/octet-stream\r\n"
    lines = [f"POST /v1/topics/t/records HTTP/1.1\r\n{host}{body}\r\nx",
             f"GET /v1/topics/t/records?wait=60000 HTTP/1.1\r\n{host}\r\n",
             f"GET /v1/topics/t/stream HTTP/1.1\r\n{host}\r\n",
             f"GET /v1/topics HTTP/1.1\r\n{host}\r\n", f"GET /nowhere HTTP/1.1\r\n{host}\r\n"]
    refused = halves(server, *(line.encode() for line in lines))
    wanted = {"/livez": 200, "/readyz": 503, "/metrics": 200}
    probes = dict(zip(wanted, halves(
        server, *(f"GET {path} HTTP/1.1\r\n{host}\r\n".encode() for path in wanted))))
    expects = server.connect()  # Its head is there, and it was told to send the body.
    expects.sendall(f"POST /v1/topics/t/records HTTP/1.1\r\n{host}Expect: 100-continue\r\n{body}\r\n"
                    .encode())
    stream = expects.makefile("rb")
    equal(read_answer(stream)[0], 100)
    term(server)
    expects.sendall(b"x")
    for line, file in [("expects", stream)] + [(one.data, one.rest().makefile("rb")) for one in refused]:
        status, headers, found = read_answer(file)
        equal((status, headers["Connection"], headers["Retry-After"]), (503, "close", "1"), f"{line}")
        equal(json.loads(found)["detail"], STOPPING)
        equal(file.read(), b"", f"behind {line}")
    for path, one in probes.items():
        file = one.rest().makefile("rb")
        status, headers, found = read_answer(file)
        equal((status, headers["Connection"]), (wanted[path], "close"), path)
        if path == "/readyz":
            check("is draining" in json.loads(found)["failing"][0], f"{found!r}")
        equal(file.read(), b"", f"behind {path}")
    equal(server.ends(), 0)


def parked(server, count):
    while sum(core["fetch_parked"] for core in counters(server)) < count:
        pass


def test_what_waits_is_answered_at_once(world):
    server = start(world, **{"group_initial_rebalance_delay_ms": "1h"})
    make(server, "t")
    host = f"Host: 127.0.0.1:{server.port}\r\n\r\n"
    connections = [server.connect() for _ in range(5)]
    fetch, read, poll, events, join = connections
    before, request = received(server), kafka_cases()["JoinGroup"][0]
    join.sendall(request)
    while received(server) < before + len(request):
        time.sleep(0.01)
    fetch.sendall(wire.fetch_request("t", 0, wait_ms=60000))
    read.sendall(resp("XREAD", "BLOCK", "0", "STREAMS", "t", "$"))
    poll.sendall(f"GET /v1/topics/t/records?wait=60000&from=end HTTP/1.1\r\n{host}".encode())
    events.sendall(f"GET /v1/topics/t/stream HTTP/1.1\r\n{host}".encode())
    head = b""
    while b"retry: 1000\n\n" not in head:
        head += events.recv(4096)
    parked(server, 4)
    term(server)
    equal(wire.fetched(wire.answer(fetch)[1], "t"), (0, 0, b""), "Fetch")
    equal(wire.read_exactly(read, 5), b"*-1\r\n", "XREAD")
    status, headers, body = read_answer(poll.makefile("rb"))
    equal((status, headers["Connection"], json.loads(body)["records"]), (200, "close", []), "long poll")
    equal(struct.unpack(">ih", wire.answer(join)[1][:6]), (0, 15), "JoinGroup")
    rest = b""
    while part := events.recv(4096):
        rest += part
    check(rest == b"" or rest.endswith(b"\n\n"), f"the stream ends in {rest!r}")
    for connection in connections:
        check(wire.is_closed(connection), "closed")
        connection.close()
    equal(server.ends(), 0)
    check("drained: every request" in server.text, server.text)


def test_what_was_sent_before_the_signal_is_answered_and_kept(world):
    server = start(world)
    make(server, "t")
    count = 300
    for round_ in range(3):
        records = [f"{round_}-{n}-{'x' * 500}".encode() for n in range(count)]
        with server.connect() as connection:
            connection.sendall(wire.request(wire.API_VERSIONS, 0))  # It is accepted.
            wire.answer(connection)
            for n, record in enumerate(records):
                connection.sendall(wire.produce_request("t", wire.batch([record]), correlation=n))
            server.process.send_signal(signal.SIGTERM)
            codes = []
            for n in range(count):
                correlation, body = wire.answer(connection)
                equal(correlation, n)
                codes.append(wire.produced(body, "t")[0])
            check(wire.is_closed(connection), "closed")
        stored = codes.count(0)
        equal(codes, [0] * stored + [6] * (count - stored), "codes")
        equal(server.ends(), 0)
        server.settings["io.engine"] = "posix" if round_ == 0 else "auto"
        server.start()
        kept = [line for line in consume(server, "t") if line.startswith(f"{round_}-")]
        equal(kept, [record.decode() for record in records[:stored]])


def test_an_idempotent_producer_goes_on_over_restarts(world):
    confluent = need_module("confluent_kafka")
    server = world.server(port=free_port())
    failed = []
    producer = confluent.Producer({"bootstrap.servers": server.address, "enable.idempotence": True,
                                   "reconnect.backoff.max.ms": 200, "linger.ms": 1,
                                   "batch.num.messages": 20, "broker.address.family": "v4"})
    goes, sent = threading.Event(), []

    def write():
        while not goes.is_set() or len(sent) < 2000:
            value = f"record-{len(sent)}"
            producer.produce("t", value, partition=0,
                             on_delivery=lambda err, _: failed.append(err) if err else None)
            sent.append(value)
            producer.poll(0)
            time.sleep(0.0002)

    thread = threading.Thread(target=write)
    thread.start()
    for restart in range(3):
        goal = (restart + 1) * 500
        while len(sent) < goal:
            time.sleep(0.01)
        equal(server.stop(), 0)
        server.start()
    goes.set()
    thread.join()
    equal(producer.flush(120), 0, "not delivered")
    equal(failed, [])
    equal(consume(server, "t"), sent)


def test_a_client_of_redis_goes_on_over_restarts(world):
    redis = need_module("redis")
    from redis.backoff import ConstantBackoff
    from redis.retry import Retry
    server = world.server(port=free_port(), protocol="any")
    errors = redis.exceptions
    client = redis.Redis(port=server.port, retry=Retry(ConstantBackoff(0.05), 1000),
                         retry_on_error=[errors.BusyLoadingError, errors.ConnectionError, OSError])
    added, over = [], threading.Event()

    def write():
        while not over.is_set():
            client.xadd("s", {"n": len(added)})
            added.append(len(added))

    thread = threading.Thread(target=write)
    thread.start()
    for restart in range(3):
        while len(added) < (restart + 1) * 200:
            check(thread.is_alive(), "the writer failed")
            time.sleep(0.01)
        equal(server.stop(), 0)
        server.start()
    goal = len(added) + 200
    while len(added) < goal:
        check(thread.is_alive(), "the writer failed")
        time.sleep(0.01)
    over.set()
    thread.join()
    equal([int(fields[b"n"]) for _, fields in client.xrange("s")], added)


def test_a_drain_ends_at_its_timeout(world):
    for timeout in ("0ms", "300ms"):
        server = start(world, drain_timeout_ms=timeout)
        waits, = halves(server, wire.produce_request("t", wire.batch([b"no"])))
        server.process.send_signal(signal.SIGTERM)
        waits.ends()
        equal(server.ends(), 0)
        check("drain is over: 1 connections were cut off" in server.text, server.text)


def test_a_second_signal_ends_the_drain(world):
    for number in (signal.SIGTERM, signal.SIGINT):
        server = start(world, drain_timeout_ms="1h")
        waits, = halves(server, wire.produce_request("t", wire.batch([b"no"])))
        term(server)
        if number == signal.SIGTERM:  # The same one within a second is the echo of the first.
            server.says("still draining: 1 connections")
            server.says("still draining: 1 connections, 0 requests")
        server.process.send_signal(number)
        waits.ends()
        equal(server.ends(), 0)
        check(re.search("the drain ends at once .*one more signal", server.text), server.text)
        check("drain is over: 1 connections were cut off" in server.text, server.text)


def test_a_timeout_that_is_none_is_refused(world):
    for value in ("soon", "-1", "2h"):
        done = world.floe("config", "check", "--set", f"drain.timeout.ms={value}")
        equal(done.returncode, 2, done.stderr.decode())
        check(b"drain.timeout.ms" in done.stderr, done.stderr.decode())
