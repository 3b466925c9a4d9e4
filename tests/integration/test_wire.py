"""Peers that do not behave: none of them harms the server or another client."""
import os
import socket
import struct

import wire
from fixture import check, consume, equal, lines, produce


def start(world):
    server = world.server()
    produce(server, "w", lines(10))
    return server


def still_serves(server, records=None):
    check(server.alive(), f"the server died:\n{server.text}")
    equal(consume(server, "w"), records or lines(10))
    equal(server.stop(), 0, "exit code")


def closes(server, data):
    with server.connect() as connection:
        connection.sendall(data)
        check(wire.is_closed(connection), f"not closed after {data[:40]!r}")


def test_garbage_is_closed(world):
    server = start(world)
    for data in (b"\xff" * 64, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\x00",
                 bytes(range(256))):
        # All of these claim a frame above 100 MiB, or are no request.
        with server.connect(5) as connection:
            connection.sendall(data)
            connection.shutdown(socket.SHUT_WR)
            check(wire.is_closed(connection), f"not closed after {data[:20]!r}")
    still_serves(server)


def test_random_bytes_do_no_harm(world):
    server = start(world)
    for seed in range(50):
        with server.connect(5) as connection:
            body = os.urandom(64 + seed)
            try:
                connection.sendall(struct.pack(">i", len(body)) + body)
                connection.shutdown(socket.SHUT_WR)
                wire.is_closed(connection)
            except OSError:
                pass  # Closed before all was sent: just as well.
    still_serves(server)


def test_impossible_lengths_are_closed(world):
    server = start(world)
    for size in (-1, -2**31, 2**31 - 1, 100 * 2**20 + 1, 0, 1):
        closes(server, struct.pack(">i", size) + b"\0\x12\0\0\0\0\0\1\0\0")
    still_serves(server)


def test_a_promise_that_is_not_kept(world):
    server = start(world)
    with server.connect() as connection:
        connection.sendall(struct.pack(">i", 1000) + b"\0\x03\0\0\0\0\0\1")
        connection.shutdown(socket.SHUT_WR)
        check(wire.is_closed(connection), "a half request kept its connection")
    still_serves(server)


def test_counts_inside_a_body_lie(world):
    server = start(world)
    for count in (2**31 - 1, 10**6, -2):
        closes(server, wire.request(wire.METADATA, 1, struct.pack(">i", count)))
        closes(server, wire.request(wire.FETCH, 4, struct.pack(">iiiibi", -1, 0, 1, 1, 0, count)))
        closes(server, wire.request(wire.PRODUCE, 7, struct.pack(">hhii", -1, -1, 1000, count)))
    closes(server, wire.request(wire.METADATA, 1, struct.pack(">ih", 1, 32767) + b"short"))
    still_serves(server)


def test_unknown_keys_and_versions_are_closed(world):
    server = start(world)
    for key, version in ((999, 0), (-1, 0), (wire.PRODUCE, 99), (wire.FETCH, -1), (wire.METADATA, 77)):
        closes(server, wire.request(key, version))
    still_serves(server)


def test_too_new_api_versions_is_answered(world):
    server = start(world)
    with server.connect() as connection:
        connection.sendall(wire.request(wire.API_VERSIONS, 99, correlation=7))
        correlation, body = wire.answer(connection)
        equal(correlation, 7)
        error, count = struct.unpack(">hi", body[:6])
        equal(error, 35)
        keys = [struct.unpack(">hhh", body[6 + 6 * n:12 + 6 * n]) for n in range(count)]
        check(any(key == wire.API_VERSIONS for key, _, _ in keys), keys)
        connection.sendall(wire.request(wire.API_VERSIONS, 0, correlation=8))
        equal(wire.answer(connection)[0], 8, "the connection stays usable")
    still_serves(server)


def test_byte_at_a_time(world):
    server = start(world)
    with server.connect() as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        data = wire.request(wire.API_VERSIONS, 0, correlation=5)
        data += wire.produce_request("w", wire.batch([b"slow"]), correlation=6)
        for byte in data:
            connection.sendall(bytes([byte]))
        equal(wire.answer(connection)[0], 5)
        correlation, body = wire.answer(connection)
        equal(correlation, 6)
        equal(wire.produced(body, "w"), (0, 10))
    still_serves(server, lines(10) + ["slow"])


def test_half_open_gets_its_answers(world):
    server = start(world)
    with server.connect() as connection:
        connection.sendall(wire.request(wire.API_VERSIONS, 0, correlation=1)
                           + wire.produce_request("w", wire.batch([b"last"]), correlation=2))
        connection.shutdown(socket.SHUT_WR)
        equal(wire.answer(connection)[0], 1)
        correlation, body = wire.answer(connection)
        equal((correlation, wire.produced(body, "w")), (2, (0, 10)))
        check(wire.is_closed(connection), "a connection without a peer stays")
    still_serves(server, lines(10) + ["last"])


def test_silent_connections_are_no_burden(world):
    server = start(world)
    idle = [server.connect() for _ in range(100)]
    for connection in idle[::2]:
        connection.sendall(b"\0\0")
    produce(server, "w", ["through"])
    for connection in idle:
        connection.close()
    still_serves(server, lines(10) + ["through"])


def test_a_client_that_vanishes(world):
    server = start(world)
    for _ in range(20):
        connection = server.connect()
        connection.sendall(wire.fetch_request("w", 10, wait_ms=30000))
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.close()  # A reset, with a fetch parked.
    produce(server, "w", ["on"])
    still_serves(server, lines(10) + ["on"])


def test_damaged_batches_are_refused(world):
    server = start(world)
    good = wire.batch([b"one", b"two"])
    flipped = good[:-1] + bytes([good[-1] ^ 1])
    trailing = good + b"\0"
    old = good[:16] + b"\1" + good[17:]
    with server.connect() as connection:
        for data, wanted in ((flipped, {2}), (trailing, {87, 2}), (old, {87, 2, 76}), (b"", {87, 2}),
                             (good[:40], {87, 2})):
            connection.sendall(wire.produce_request("w", data))
            error, _ = wire.produced(wire.answer(connection)[1], "w")
            check(error in wanted, f"error {error}, wanted one of {wanted}")
        connection.sendall(wire.produce_request("w", good))
        equal(wire.produced(wire.answer(connection)[1], "w"), (0, 10))
    still_serves(server, lines(10) + ["one", "two"])


def test_a_waiting_fetch_is_answered_by_the_next_append(world):
    server = start(world)
    with server.connect(25) as waiting, server.connect() as writing:
        # Were it not for the append, the answer would be empty and come after the socket's timeout.
        waiting.sendall(wire.fetch_request("w", 10, wait_ms=60000, correlation=3))
        writing.sendall(wire.produce_request("w", wire.batch([b"awaited"])))
        equal(wire.produced(wire.answer(writing)[1], "w"), (0, 10))
        correlation, body = wire.answer(waiting)
        equal(correlation, 3)
        error, high, records = wire.fetched(body, "w")
        equal((error, high), (0, 11))
        check(b"awaited" in records, records)
    still_serves(server, lines(10) + ["awaited"])


def test_a_waiting_fetch_ends_when_its_time_is_up(world):
    server = start(world)
    with server.connect() as connection:
        connection.sendall(wire.fetch_request("w", 10, wait_ms=300))
        error, high, records = wire.fetched(wire.answer(connection)[1], "w")
        equal((error, high, records), (0, 10, b""))
    still_serves(server)


def test_answers_come_in_the_order_of_requests(world):
    server = start(world)
    with server.connect() as connection:
        data = b""
        for n in range(0, 90, 3):
            data += wire.produce_request("w", wire.batch([b"p%d" % n]), correlation=n)
            data += wire.request(wire.API_VERSIONS, 0, correlation=n + 1)
            data += wire.fetch_request("w", 0, correlation=n + 2)
        connection.sendall(data)
        equal([wire.answer(connection)[0] for _ in range(90)], list(range(90)))
    still_serves(server, lines(10) + [f"p{n}" for n in range(0, 90, 3)])


def test_fetch_outside_the_log(world):
    server = start(world)
    with server.connect() as connection:
        for offset in (11, 10**12, -1):
            connection.sendall(wire.fetch_request("w", offset))
            error, _, records = wire.fetched(wire.answer(connection)[1], "w")
            equal((error, records), (1, b""), f"offset {offset}")
    still_serves(server)
