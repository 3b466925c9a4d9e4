"""The Walrus protocol, by a client of its own, beside the other protocols on one port."""
import json
import os
import socket
import struct
import time

import wire
from fixture import READY, check, consume, equal, lines, need_module, produce
from walrus import Walrus, frame


def start(world, **settings):
    """A server whose port takes all protocols."""
    server = world.server("--listen", "any://127.0.0.1:0", settings={
        key.replace("_", "."): value for key, value in settings.items()})
    check("any://" in READY.search(server.text)["listen"], "the last --listen counts")
    return server


def test_verbs(world):
    server = start(world)
    with Walrus(server.port) as client:
        equal(client.ask(b"REGISTER logs"), b"OK")
        equal(client.ask(b"REGISTER logs"), b"OK", "once more")
        equal(client.ask(b"REGISTER logs and more words"), b"OK")
        equal(client.get(b"logs"), None)
        equal(client.put(b"logs", b"hello  inner spaces"), b"OK")
        equal(client.put(b"logs", b"second"), b"OK")
        equal(client.get(b"logs"), b"hello  inner spaces")
        state = json.loads(client.ask(b"STATE logs"))
        equal([state[key] for key in ("current_segment", "leader_node", "last_sealed_entry_offset",
                                      "sealed_segments", "segment_leaders", "end_offset")],
              [1, 1, 0, {}, {"1": 1}, 2])
        metrics = client.ask(b"METRICS")
        check(metrics.startswith(b"{\n  "), f"not pretty: {metrics[:20]!r}")
        metrics = json.loads(metrics)
        equal(metrics["current_leader"], 1)
        equal(metrics["membership_config"]["membership"]["configs"], [[1]])
        check("addr" in metrics["membership_config"]["membership"]["nodes"]["1"], "no address")
        check("1" in metrics["replication"] and metrics["last_log_index"] > 0, f"{metrics}")
        equal(client.get(b"logs"), b"second")
        equal(client.get(b"logs"), None)


def test_errors(world):
    server = start(world)
    with Walrus(server.port) as client:
        client.ask(b"REGISTER logs")
        for text, answer in (
                (b"PUT nix x", b"ERR unknown topic nix"), (b"GET nix", b"ERR unknown topic nix"),
                (b"STATE nix", b"ERR unknown topic nix"), (b"GET logs/1", b"ERR unknown topic logs/1"),
                (b"PUT", b"ERR PUT requires a topic"), (b"PUT logs", b"ERR PUT requires a payload"),
                (b"PUT logs ", b"ERR PUT requires a payload"), (b"GET", b"ERR GET requires a topic"),
                (b"STATE", b"ERR STATE requires a topic"),
                (b"REGISTER", b"ERR REGISTER requires a topic"), (b"get logs", b"ERR unknown command"),
                (b" GET logs", b"ERR unknown command"), (b"\xff\xfe", b"ERR unknown command")):
            equal(client.ask(text), answer, repr(text))
        check(client.ask(b"REGISTER a:b").startswith(b"ERR a topic cannot be named so"), "a:b")
        equal(client.put(b"logs", b"still in step"), b"OK")
        equal(client.ask(b"GET logs\r\n"), b"OK still in step", "a line typed by hand")


def test_payloads_are_any_bytes(world):
    server = start(world)
    payloads = [bytes(range(256)), b"\0", b" lead and trail \r\n ", b"\xc3\x28 no utf-8", b"x" * 65000,
                b"y" * (65536 - len("PUT logs ")), b" "]
    with Walrus(server.port) as client:
        client.ask(b"REGISTER logs")
        for payload in payloads:
            equal(client.put(b"logs", payload), b"OK")
        equal(client.get_all(b"logs"), payloads)


def test_pipelined_and_byte_by_byte(world):
    server = start(world)
    payloads = [b"record %d" % n for n in range(300)]
    requests = [b"REGISTER logs"] + [b"PUT logs " + payload for payload in payloads]
    requests += [b"GET logs"] * 301 + [b"PUT logs late", b"GET logs"]
    with Walrus(server.port) as client:
        client.socket.sendall(b"".join(map(frame, requests)))
        equal([client.receive() for _ in range(301)], [b"OK"] * 301)
        equal([client.receive() for _ in range(301)],
              [b"OK " + payload for payload in payloads] + [b"EMPTY"])
        equal([client.receive() for _ in range(2)], [b"OK", b"OK late"])
    with Walrus(server.port) as client:
        for byte in frame(b"PUT logs slowly") + frame(b"GET logs"):
            client.socket.sendall(bytes([byte]))
        equal([client.receive(), client.receive()], [b"OK", b"OK slowly"])


def test_bad_frames_are_answered_and_closed(world):
    server = start(world)
    with Walrus(server.port) as client:
        client.ask(b"REGISTER logs")
        client.send(b"PUT logs before")
        client.socket.sendall(struct.pack("<I", 65537) + b"PUT logs never" * 100)
        equal([client.receive() for _ in range(3)], [b"OK", b"ERR invalid frame length", None])
    with Walrus(server.port) as client:
        equal(client.ask(b"STATE logs")[:1], b"{")
        client.socket.sendall(struct.pack("<I", 0))
        equal([client.receive() for _ in range(2)], [b"ERR invalid frame length", None])
    for data in (frame(b"PUT logs cut")[:9], struct.pack("<I", 0xFFFFFFFF)):
        with Walrus(server.port) as client:
            client.socket.sendall(data)
            client.socket.shutdown(socket.SHUT_WR)
            check(wire.is_closed(client.socket), f"not closed after {data!r}")
    with Walrus(server.port) as client:
        equal(client.get_all(b"logs"), [b"before"])
        equal(client.put(b"logs", b"after"), b"OK")


def test_readers_share_one_cursor(world):
    server = start(world, cpu_cores="2")
    wanted = [b"%d" % n for n in range(200)]
    clients = [Walrus(server.port) for _ in range(8)]
    clients[0].ask(b"REGISTER shared")
    clients[0].socket.sendall(b"".join(frame(b"PUT shared " + n) for n in wanted))
    equal([clients[0].receive() for _ in wanted], [b"OK"] * len(wanted))
    found = []
    for _ in range(25):
        for client in clients:
            client.send(b"GET shared")
        found += [client.receive()[3:] for client in clients]
    equal(sorted(found), sorted(wanted), "each once")
    equal(clients[3].get(b"shared"), None)
    for client in clients:
        client.socket.close()
    equal(server.stop(), 0, "exit code")


def test_kcat_and_walrus_share_a_log(world):
    server = start(world)
    with Walrus(server.port) as client:
        client.ask(b"REGISTER logs")
        for n in range(10):
            client.put(b"logs", b"walrus %d" % n)
        equal(consume(server, "logs"), [f"walrus {n}" for n in range(10)])
        client.get_all(b"logs")
        records = lines(50)
        produce(server, "logs", records)
        produce(server, "logs", records, "-z", "lz4")
        equal(client.get_all(b"logs"), [record.encode() for record in records + records])
        produce(server, "logs", records, "-z", "gzip")
        produce(server, "logs", records, "-z", "snappy")
        equal(client.get_all(b"logs"), [record.encode() for record in records + records])


def test_a_record_larger_than_a_frame_stays(world):
    server = start(world)
    with Walrus(server.port) as client:
        client.ask(b"REGISTER logs")
        produce(server, "logs", ["x" * 65533, "y" * 65534, "z"])
        equal(len(client.get(b"logs")), 65533)
        for _ in range(2):
            answer = client.ask(b"GET logs")
            check(answer.startswith(b"ERR record of 65534 bytes at offset 1 "), f"{answer!r}")
        with server.connect() as connection:
            connection.sendall(wire.delete_records_request("logs", 2))
            wire.answer(connection)
        equal(client.get_all(b"logs"), [b"z"])


def test_topics_of_several_partitions(world):
    server = start(world)
    equal(world.floe("topic", "create", "wide", "-p", "3", "-b", server.address).returncode, 0)
    with Walrus(server.port) as client:
        hint = b"ERR topic 'wide' has 3 partitions; use 'wide/0'..'wide/2'"
        for text in (b"PUT wide x", b"GET wide", b"STATE wide"):
            equal(client.ask(text), hint)
        equal(client.put(b"wide/2", b"two"), b"OK")
        equal(client.get(b"wide/1"), None)
        equal(consume(server, "wide", partition="2"), ["two"])
        equal(client.get(b"wide/2"), b"two")
        equal(client.ask(b"GET wide/3"), b"ERR unknown topic wide/3")


def test_strangers_on_the_port(world):
    server = start(world)
    with Walrus(server.port) as client:
        client.ask(b"REGISTER logs")
        for data in (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc", b"\xff" * 64, bytes(range(256)),
                     os.urandom(1) + b"\xff" * 40):
            with server.connect(5) as connection:
                connection.sendall(data)
                connection.shutdown(socket.SHUT_WR)
                check(wire.is_closed(connection), f"not closed after {data[:20]!r}")
        # Lengths that look like other protocols' first bytes: letters, "*0", "GE".
        for size in (ord("A"), ord("z"), 0x302A, 0x4547):
            with Walrus(server.port) as other:
                payload = b"p" * (size - len("PUT logs "))
                equal(other.put(b"logs", payload), b"OK", f"a first frame of {size} bytes")
                equal(client.get(b"logs"), payload)
    equal(server.stop(), 0, "exit code")


def test_a_port_for_walrus_alone(world):
    server = world.server("--listen", "walrus://127.0.0.1:0")
    check("listen=walrus://" in server.text, server.text)
    with Walrus(server.port) as client:
        equal(client.ask(b"x" * 65536), b"ERR unknown command", "as its first frame, too")
        equal(client.ask(b"REGISTER logs"), b"OK")
    with server.connect(5) as connection:
        connection.sendall(wire.request(wire.API_VERSIONS, 0))
        check(b"ERR invalid frame length" in connection.recv(100), "Kafka on a port for Walrus")


def test_the_cursor_survives_a_kill(world):
    server = start(world)
    with Walrus(server.port) as client:
        for topic in (b"one", b"two"):
            client.ask(b"REGISTER " + topic)
            for n in range(20):
                client.put(topic, b"%d" % n)
        equal([client.get(b"one") for _ in range(7)], [b"%d" % n for n in range(7)])
        equal(client.get(b"two"), b"0")
    for count in (7, 12):
        server.kill()
        server.start()
        with Walrus(server.port) as client:
            equal([client.get(b"one") for _ in range(5)], [b"%d" % n for n in range(count, count + 5)])
    equal(server.stop(), 0, "exit code")
    server.start()
    with Walrus(server.port) as client:
        equal(client.get_all(b"one"), [b"17", b"18", b"19"])
        equal(client.get_all(b"two"), [b"%d" % n for n in range(1, 20)])
        equal(client.put(b"one", b"late"), b"OK")
        equal(client.get(b"one"), b"late")


def test_a_kill_under_load_gives_no_record_twice(world):
    """What a GET answered is passed by; of what it was about to answer one record may be missing."""
    server = start(world)
    with Walrus(server.port) as client:
        client.ask(b"REGISTER logs")
        client.socket.sendall(b"".join(frame(b"PUT logs %d" % n) for n in range(400)))
        equal([client.receive() for _ in range(400)], [b"OK"] * 400)
    got, kills = [], 0
    while not got or got[-1] != 399:
        client = Walrus(server.port)
        client.socket.sendall(frame(b"GET logs") * 60)
        for _ in range(50):  # The other answers are on their way when it dies.
            answer = client.receive()
            if answer == b"EMPTY":
                break
            got.append(int(answer[3:]))
        server.kill()
        kills += 1
        rest = b""
        try:
            while more := client.socket.recv(65536):
                rest += more
        except OSError:
            pass
        got += [int(text) for text in whole_payloads(rest)]
        client.socket.close()
        if got[-1] == 399 or kills > 20:
            break
        server.start()
    equal(got, sorted(set(got)), "in order, each once")
    missing = 400 - len(got)
    check(missing <= kills, f"{missing} of 400 are missing after {kills} kills")


def whole_payloads(data):
    found = []
    while len(data) >= 4 and len(data) >= 4 + struct.unpack("<I", data[:4])[0]:
        size = struct.unpack("<I", data[:4])[0]
        if data[4:7] == b"OK ":
            found.append(data[7:4 + size])
        data = data[4 + size:]
    return found


def test_a_topic_of_the_same_name_begins_anew(world):
    server = start(world)
    for _ in range(2):
        with Walrus(server.port) as client:
            client.ask(b"REGISTER logs")
            client.put(b"logs", b"first")
            equal(client.get_all(b"logs"), [b"first"])
        equal(world.floe("topic", "delete", "logs", "-b", server.address).returncode, 0)


def test_the_servers_own_topic_is_not_written(world):
    server = start(world)
    with Walrus(server.port) as client:
        for text in (b"REGISTER __consumer_offsets", b"PUT __consumer_offsets x",
                     b"PUT __consumer_offsets/0 x"):
            check(client.ask(text).startswith(b"ERR __consumer_offsets is the server's own"), text)
        client.ask(b"REGISTER logs")
        client.put(b"logs", b"x")
        client.get(b"logs")  # Now it is there.
        check(client.ask(b"PUT __consumer_offsets/0 x").startswith(b"ERR __consumer"), "when it is")


def test_the_cursor_outlives_the_retention_of_offsets(world):
    confluent = need_module("confluent_kafka")
    server = start(world, offsets_retention_ms="1s")
    with Walrus(server.port) as client:
        client.ask(b"REGISTER logs")
        for n in range(5):
            client.put(b"logs", b"%d" % n)
        equal([client.get(b"logs") for _ in range(3)], [b"0", b"1", b"2"])
    other = confluent.Consumer({"bootstrap.servers": server.address, "group.id": "other",
                                "broker.address.family": "v4"})
    at = confluent.TopicPartition("logs", 0, 4)
    other.commit(offsets=[at], asynchronous=False)
    equal(other.committed([at], 30)[0].offset, 4)
    deadline = time.monotonic() + 60
    while other.committed([at], 30)[0].offset == 4:
        check(time.monotonic() < deadline, "another group's offset does not go")
        time.sleep(0.1)
    server.kill()
    server.start()
    with Walrus(server.port) as client:
        equal(client.get_all(b"logs"), [b"3", b"4"])
