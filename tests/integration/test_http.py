"""HTTP on the port of all protocols: records in and out, long polls, streams, and peers that would
smuggle."""
import base64
import json
import os
import socket
import struct
import subprocess
import time

import wire
from fixture import check, consume, equal, kcat, need, produce
from http_client import Events, ask, exchange, get, make, post, read_answer

BODY_MAX = 8 << 20
JSON_MAX = 1 << 20


def curl(*words, input=None):
    need("curl")
    done = subprocess.run(["curl", "-sS", "-m", "60", *words], input=input, capture_output=True,
                          timeout=90, check=False)
    equal(done.returncode, 0, f"curl {words}: {done.stderr.decode()}")
    return done.stdout


def test_a_file_goes_in_and_out_byte_for_byte(world):
    server = world.server(protocol="any")
    path, back = os.path.join(world.dir, "in"), os.path.join(world.dir, "out")
    data = os.urandom(700_000) + bytes(range(256))
    with open(path, "wb") as file:
        file.write(data)
    url = f"http://localhost:{server.port}/v1/topics/files/records"
    answer = json.loads(curl("-H", "X-Floe: 1", "--data-binary", f"@{path}", url))
    equal(answer, {"topic": "files", "offsets": [{"partition": 0, "offset": 0}]})
    curl("-H", "Accept: application/octet-stream", "-o", back, url + "?from=0")
    with open(back, "rb") as file:
        check(file.read() == data, "the file came back as another")
    equal(kcat("-C", "-b", server.address, "-t", "files", "-e", "-D", "", "-o", "beginning"), data)
    equal(server.stop(), 0, "exit code")


def test_kcat_reads_what_json_wrote(world):
    server = world.server(protocol="any")
    records = [{"key": "k", "value": "text", "timestamp": 1700000000000,
                "headers": {"h": "v", "none": None}},
               {"value": None, "key": "gone"},
               {"key_base64": base64.b64encode(b"\0\xff").decode(),
                "value_base64": base64.b64encode(b"\xfe\0").decode(),
                "headers": [{"name": "x", "value_base64": "gA=="}, {"name": "x", "value": "y"}]},
               {"value": ""}]
    answer = post(server, "/v1/topics/j/records", {"records": records})
    equal(answer["offsets"], [{"partition": 0, "offset": n} for n in range(4)])
    out = kcat("-C", "-b", server.address, "-t", "j", "-e", "-o", "beginning", "-f",
               "%o %T %K %k %S %s %h|")
    rows = out.split(b"|")[:-1]
    equal(rows[0], b"0 1700000000000 1 k 4 text h=v,none=NULL")
    equal(rows[1].split(b" ")[2:], [b"4", b"gone", b"-1", b"", b""])
    equal(rows[2].split(b" ")[2:], [b"2", b"\0\xff", b"2", b"\xfe\0", b"x=\x80,x=y"])
    equal(rows[3].split(b" ")[2:], [b"-1", b"", b"0", b"", b""])
    found = get(server, "/v1/topics/j/records")
    equal([found[name] for name in ("partition", "start", "end", "next")], [0, 0, 4, 4])
    equal(found["records"][0], {"offset": 0, "timestamp": 1700000000000, "key": "k",
                                "value": "text", "headers": [{"name": "h", "value": "v"},
                                                             {"name": "none", "value": None}]})
    equal([found["records"][2][name] for name in ("key_base64", "value_base64")], ["AP8=", "/gA="])
    equal([row["value"] for row in found["records"] if "value" in row], ["text", None, ""])


def test_records_that_kafka_clients_pack(world):
    server = world.server(protocol="any")
    lines = [f"line {n} {'x' * 300}" for n in range(500)]
    for codec in ("gzip", "snappy", "lz4", "zstd"):
        produce(server, codec, lines, "-z", codec)
        found = get(server, f"/v1/topics/{codec}/records?n=1000")
        equal([row["value"] for row in found["records"]], lines, codec)
        middle = get(server, f"/v1/topics/{codec}/records?from=250&n=3")
        equal([row["offset"] for row in middle["records"]], [250, 251, 252], codec)


def test_a_reader_says_where_it_begins(world):
    server = world.server(protocol="any")
    rows = [{"value": str(n), "timestamp": 1000 + 10 * n} for n in range(10)]
    post(server, "/v1/topics/w/records", {"records": rows})
    for where, first in (("start", 0), ("0", 0), ("7", 7), ("-3", 7), ("-100", 0), ("@1050", 5),
                         ("@1051", 6), ("@0", 0)):
        found = get(server, f"/v1/topics/w/records?from={where}")["records"]
        equal([row["offset"] for row in found], list(range(first, 10)), where)
    for where in ("end", "-0", "10", "@99999"):
        equal(get(server, f"/v1/topics/w/records?from={where}")["records"], [], where)
    get(server, "/v1/topics/w/records?from=11", 416)
    for where in ("", "-", "@", "x", "1x", "--1", "1.5", "@-5", "-1-", "%2B5"):
        get(server, f"/v1/topics/w/records?from={where}", 400)
    for query in ("n=0", "n=10001", "n=x", "wait=-1", "wait=60001", "partition=1", "nope=1", "n=1&n=1"):
        get(server, f"/v1/topics/w/records?{query}", 400)
    get(server, "/v1/topics/nowhere/records", 404)
    get(server, "/v1/topics/a%2Fb/records", 404)


def test_keys_go_where_every_client_puts_them(world):
    server = world.server(protocol="any")
    make(server, "k", 8)
    make(server, "r", 8)
    keys = [f"key-{n}" for n in range(60)]
    answer = post(server, "/v1/topics/k/records", {"records": [{"key": key, "value": key} for key in keys]})
    kcat("-P", "-b", server.address, "-t", "r", "-K", ":", "-X", "topic.partitioner=murmur2_random",
         input="".join(f"{key}:{key}\n" for key in keys).encode())
    places = {}
    for partition in range(8):
        for key in consume(server, "r", partition=str(partition)):
            places[key] = partition
    equal([row["partition"] for row in answer["offsets"]], [places[key] for key in keys])
    for key, row in zip(keys, answer["offsets"]):
        found = get(server, f"/v1/topics/k/records?partition={row['partition']}&from={row['offset']}&n=1")
        equal(found["records"][0]["value"], key)
    one = post(server, "/v1/topics/k/records?partition=5", b"there")["offsets"]
    equal(one[0]["partition"], 5)
    equal(post(server, f"/v1/topics/k/records?key={keys[3]}", b"x")["offsets"][0]["partition"],
          places[keys[3]])
    spread = {post(server, "/v1/topics/k/records", b"x")["offsets"][0]["partition"] for _ in range(40)}
    check(len(spread) > 1, f"records without a key all went to {spread}")
    get(server, "/v1/topics/k/records", 400)  # Which partition?


def test_a_long_poll_is_answered_by_a_kafka_produce(world):
    server = world.server(protocol="any")
    produce(server, "p", ["before"])
    with socket.create_connection(("127.0.0.1", server.port), 60) as waiting:
        waiting.sendall(b"GET /v1/topics/p/records?from=end&wait=50000 HTTP/1.1\r\nHost: localhost\r\n\r\n")
        # Served behind it, so that it waits by now or soon.
        get(server, "/v1/topics/p")
        with server.connect() as writing:
            writing.sendall(wire.produce_request("p", wire.batch([b"awaited"])))
            equal(wire.produced(wire.answer(writing)[1], "p"), (0, 1))
        with waiting.makefile("rb") as stream:
            status, _, body = read_answer(stream)
        equal((status, [row["value"] for row in json.loads(body)["records"]]), (200, ["awaited"]))
    equal(get(server, "/v1/topics/p/records?from=end&wait=50")["records"], [], "nothing came")
    status, _, body = ask(server, "GET", "/v1/topics/p/records?from=end&wait=50",
                          headers={"Accept": "application/octet-stream"})
    equal((status, body), (204, b""))
    equal(server.stop(), 0, "exit code")


def test_a_stop_ends_what_waits(world):
    server = world.server(protocol="any")
    produce(server, "p", ["one"])
    events = Events(server, "/v1/topics/p/stream?from=start")
    equal(events.next()["id"], "0")
    with socket.create_connection(("127.0.0.1", server.port), 60) as waiting:
        waiting.sendall(b"GET /v1/topics/p/records?from=end&wait=60000 HTTP/1.1\r\nHost: localhost\r\n\r\n")
        get(server, "/v1/topics/p")
        equal(server.stop(), 0, "exit code")
        with waiting.makefile("rb") as stream:
            equal(read_answer(stream)[0], 200)
    equal(events.next(), None)
    events.close()


def test_a_stream_goes_on_where_it_was(world):
    server = world.server(protocol="any")
    produce(server, "s", ["0", "1", "2"])
    events = Events(server, "/v1/topics/s/stream?from=start")
    equal([events.next()["id"] for _ in range(3)], ["0", "1", "2"])
    produce(server, "s", ["3"])
    event = events.next()
    equal((event["id"], event["data"]["value"]), ("3", "3"))
    events.close()
    produce(server, "s", ["4", "5"])
    server.kill()
    server.start()
    events = Events(server, "/v1/topics/s/stream", last_id=3)
    equal([events.next()["data"]["value"] for _ in range(2)], ["4", "5"])
    post(server, "/v1/topics/s/records", b"6")
    equal(events.next()["data"]["offset"], 6)
    equal(ask(server, "DELETE", "/v1/topics/s", headers={"X-Floe": "1"})[0], 204)
    equal(events.next()["event"], "error")
    equal(events.next(), None)
    events.close()
    equal(server.stop(), 0, "exit code")


def test_a_stream_tells_of_a_gap(world):
    server = world.server(protocol="any")
    produce(server, "g", ["0", "1", "2"])
    with server.connect() as connection:
        body = struct.pack(">i", 1) + wire.text("g") + struct.pack(">iiqi", 1, 0, 2, 1000)
        connection.sendall(wire.request(21, 0, body))
        wire.answer(connection)
    events = Events(server, "/v1/topics/g/stream?from=0")
    event = events.next()
    equal((event.get("event"), event["data"]), ("gap", {"from": 0, "to": 2}))
    equal(events.next()["id"], "2")
    events.close()


def test_what_was_acked_is_there_after_a_kill(world):
    server = world.server(protocol="any")
    acked = []
    for n in range(50):
        answer = post(server, "/v1/topics/d/records", b"record %d" % n)
        equal(answer["offsets"][0]["offset"], n)
        acked.append(f"record {n}")
    server.kill()
    server.start()
    found = get(server, "/v1/topics/d/records")
    equal([row["value"] for row in found["records"]], acked)


def test_bodies_at_the_limit_and_over_it(world):
    server = world.server(protocol="any")
    make(server, "big", max_message_bytes=2 * BODY_MAX)
    data = os.urandom(BODY_MAX)
    equal(post(server, "/v1/topics/big/records", data)["offsets"][0]["offset"], 0)
    status, headers, body = ask(server, "GET", "/v1/topics/big/records",
                                headers={"Accept": "application/octet-stream"})
    equal((status, headers["X-Floe-Offset"]), (200, "0"))
    check(body == data, "the body came back as another")
    # curl asks first (Expect: 100-continue); then it does not.
    path = os.path.join(world.dir, "big")
    with open(path, "wb") as file:
        file.write(data)
    url = f"http://localhost:{server.port}/v1/topics/big/records"
    for words in ((), ("-H", "Expect:")):
        curl("-H", "X-Floe: 1", *words, "--data-binary", f"@{path}", url)
        with open(path, "ab") as file:
            file.write(b"!")
        refused = json.loads(curl("-H", "X-Floe: 1", *words, "--data-binary", f"@{path}", url))
        equal(refused["status"], 413, refused)
        os.truncate(path, BODY_MAX)
    found = post(server, "/v1/topics/big/records", data + b"!", 413)
    check(str(BODY_MAX) in found["detail"], found)
    # Larger than the topic takes; and JSON has a limit of its own.
    post(server, "/v1/topics/small/records", data[:2 << 20], 413)
    row = {"value": "x" * (JSON_MAX - 200)}
    post(server, "/v1/topics/small/records", {"records": [row]})
    post(server, "/v1/topics/small/records", {"records": [row, row]}, 413)
    deep = b'{"records":' + b"[" * 5000
    post(server, "/v1/topics/small/records", deep, 400, {"Content-Type": "application/json"})
    many = b'{"records":[' + b",".join([b"{}"] * 300000) + b"]}"
    post(server, "/v1/topics/small/records", many, 413, {"Content-Type": "application/json"})
    equal(get(server, "/v1/topics/small")["partitions"][0]["end"], 1)
    equal(server.stop(), 0, "exit code")


def test_documents_that_are_wrong_are_told_why(world):
    server = world.server(protocol="any")
    make(server, "t", 2)
    json_type = {"Content-Type": "application/json"}
    for body, word in ((b"", "JSON"), (b"[]", "object"), (b"{", "JSON"), (b'{"records":[]}', "records"),
                       (b'{"records":[{"value":"a","value":"b"}]}', "duplicate"),
                       (b'{"records":[{"value":"a"}],"x":1}', "x"),
                       (b'{"records":[{"valve":"a"}]}', "valve"),
                       (b'{"records":[{"value":"a"},{"value":5}]}', "records[1]"),
                       (b'{"records":[{"value":"a","value_base64":"YQ=="}]}', "both"),
                       (b'{"records":[{"value_base64":"Y"}]}', "base64"),
                       (b'{"records":[{"value":"a","partition":2}]}', "partition"),
                       (b'{"records":[{"value":"a","partition":-1}]}', "partition"),
                       (b'{"records":[{"value":"a","timestamp":1.5}]}', "timestamp"),
                       (b'{"records":[{"value":"a","headers":5}]}', "headers"),
                       (b'{"records":[{"value":"a","headers":[{"value":"x"}]}]}', "name"),
                       (b'{"records":[{"value":"a\xff"}]}', "decode"),
                       (b'{"records":[{"value":"a"}]} x', "JSON")):
        found = post(server, "/v1/topics/t/records", body, 400, json_type)
        check(word in found["detail"], f"{body!r}: {found}")
    post(server, "/v1/topics/t/records?key=k", {"records": [{"value": "a"}]}, 400)
    for body, status in (({"name": "a/b"}, 422), ({"name": "."}, 422), ({}, 422), ({"name": 5}, 400),
                         ({"name": "n", "partitions": 0}, 400), ({"name": "n", "replication": 3}, 400),
                         ({"name": "n", "configs": {"retention.ms": "x"}}, 422),
                         ({"name": "n", "configs": {"nope": "1"}}, 422),
                         ({"name": "t"}, 409)):
        found = post(server, "/v1/topics", body, status)
        check(len(found["detail"]) > 10, found)
    equal([row["name"] for row in get(server, "/v1/topics")["topics"]], ["t"])
    equal([row["end"] for row in get(server, "/v1/topics/t")["partitions"]], [0, 0])


HEAD = b"POST /v1/topics/t/records HTTP/1.1\r\nHost: localhost\r\nX-Floe: 1\r\n"
INNER = b"POST /v1/topics/smuggled/records HTTP/1.1\r\nHost: localhost\r\nX-Floe: 1\r\nContent-Length: 1\r\n\r\nx"


def test_nothing_is_smuggled(world):
    server = world.server(protocol="any")
    cases = [
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 411),
        (HEAD + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
        (HEAD + b"Transfer-Encoding : chunked\r\nContent-Length: 4\r\n\r\n1\r\nx", 400),
        (HEAD + b"Transfer-Encoding: xchunked\r\n\r\n", 411),
        (HEAD + b"Content-Length: 3\r\nContent-Length: 4\r\n\r\nabc", 400),
        (HEAD + b"Content-Length: 3, 3\r\n\r\nabc", 400),
        (HEAD + b"Content-Length: +3\r\n\r\nabc", 400),
        (HEAD + b"Content-Length: 0x3\r\n\r\nabc", 400),
        (HEAD + b"Content-Length: 99999999999999999999\r\n\r\nabc", 400),
        (HEAD + b"Content-Length: 99999999\r\n\r\n", 413),
        (HEAD + b"Content-Length:\r\n 3\r\n\r\nabc", 400),
        (HEAD + b"Content-Length: 3\n\r\nabc", 400),
        (HEAD + b"X: a\rContent-Length: 3\r\n\r\nabc", 400),
        (HEAD + b"X: a\0b\r\n\r\n", 400),
        (b"POST http://localhost/v1/topics/t/records HTTP/1.1\r\nHost: localhost\r\n\r\n", 400),
        (b"GET //localhost/ HTTP/1.1\r\nHost: localhost\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: localhost\r\nHost: x\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (b"GET /" + b"a" * 5000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n", 414),
        (b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"a" * 20000 + b"\r\n\r\n", 431),
        (b"GET / HTTP/1.1\r\nHost: localhost\r\n" + b"X: y\r\n" * 100 + b"\r\n", 431),
        (b"BREW / HTTP/1.1\r\nHost: localhost\r\n\r\n", 501),
    ]
    for data, status in cases:
        found, headers, body = exchange(server, data + INNER, ends=True)[0]
        equal(found, status, f"{data[:120]!r}: {body!r}")
        equal(headers["Connection"], "close", f"{data[:120]!r}")
        equal(headers["Content-Type"], "application/problem+json")
        check(len(json.loads(body)["detail"]) > 10, body)
    equal(get(server, "/v1/topics")["topics"], [], "what was smuggled")
    equal(server.stop(), 0, "exit code")


def test_a_foreign_page_is_not_served(world):
    server = world.server(protocol="any")
    url = "/v1/topics/t/records"
    cases = [
        ({}, 403), ({"Content-Type": "text/plain"}, 403), ({"X-Floe": "1"}, 200),
        ({"X-Floe": "1", "Origin": "http://evil.example"}, 403),
        ({"X-Floe": "1", "Origin": "null"}, 403),
        ({"X-Floe": "1", "Host": "evil.example"}, 421),
        ({"X-Floe": "1", "Host": f"localhost:{server.port}", "Origin": f"http://localhost:{server.port}"}, 200),
    ]
    for headers, status in cases:
        found, answered, body = ask(server, "POST", url, b"x", headers)
        equal(found, status, f"{headers}: {body!r}")
        check("Access-Control-Allow-Origin" not in answered, f"{headers}: {answered}")
    found, answered, _ = ask(server, "OPTIONS", url, headers={
        "Origin": f"http://127.0.0.1:{server.port}", "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "x-floe"})
    equal((found, answered["Allow"]), (204, "OPTIONS, GET, HEAD, POST"))
    check(not [name for name in answered if name.lower().startswith("access-control")], answered)
    found, answered, body = ask(server, "GET", "/metrics", headers={"Host": "queue.example"})
    equal(found, 421, body)
    check(b"http.hosts" in body, body)
    equal(server.stop(), 0, "exit code")
    server.settings["http.hosts"] = "queue.example"
    server.start()
    equal(ask(server, "GET", "/metrics", headers={"Host": "queue.example:80"})[0], 200)
    equal(ask(server, "GET", "/metrics", headers={"Host": "evil.example"})[0], 421)


def test_answers_come_in_the_order_of_requests(world):
    server = world.server(protocol="any")
    produce(server, "t", ["r"])
    data = b""
    for n in range(30):
        data += HEAD + b"Content-Length: 2\r\n\r\n%02d" % n
        data += b"GET /v1/topics/t/records?from=%d&n=1 HTTP/1.1\r\nHost: localhost\r\n\r\n" % (n + 1)
        data += b"GET /v1/topics HTTP/1.1\r\nHost: localhost\r\n\r\n"
    # One that waits for those ahead of it, and is the last.
    data += b"GET /v1/topics/t/records?from=30 HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n" + INNER
    answers = exchange(server, data, 91, ends=True)
    for n in range(30):
        equal(json.loads(answers[3 * n][2])["offsets"], [{"partition": 0, "offset": n + 1}])
        equal([row["value"] for row in json.loads(answers[3 * n + 1][2])["records"]], [f"{n:02d}"])
        equal(json.loads(answers[3 * n + 2][2])["topics"][0]["name"], "t")
    equal(answers[90][1]["Connection"], "close")
    equal([row["value"] for row in json.loads(answers[90][2])["records"]], ["29"])
    equal(len(get(server, "/v1/topics")["topics"]), 1, "what came behind a close was done")


def test_old_clients_keep_a_connection_if_they_ask(world):
    server = world.server(protocol="any")
    old = b"GET /livez HTTP/1.0\r\nHost: localhost\r\n"
    stays = old + b"Connection: Keep-Alive\r\n\r\n"
    answers = exchange(server, stays + stays + old + b"\r\n", 3)
    equal([headers["Connection"] for _, headers, _ in answers], ["keep-alive", "keep-alive", "close"])
    with server.connect() as connection, connection.makefile("rb") as stream:
        connection.sendall(old + b"\r\n")
        equal(read_answer(stream)[0], 200)
        equal(stream.read(), b"", "the server closes")


def test_a_connection_too_many_is_told_so(world):
    server = world.server(protocol="any", settings={"connections.max": "2", "cpu.cores": "1"})
    inside = [server.connect() for _ in range(2)]
    for connection in inside:
        connection.sendall(b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n")
        with connection.makefile("rb") as stream:
            equal(read_answer(stream)[0], 200)
    status, headers, body = ask(server, "GET", "/livez")
    equal((status, headers["Connection"]), (503, "close"))
    check("connections.max" in json.loads(body)["detail"], body)
    for connection in inside:
        connection.close()


def test_head_is_get_without_a_body(world):
    server = world.server(protocol="any")
    post(server, "/v1/topics/t/records", b"value")
    paths = ["/", "/livez", "/readyz", "/v1/openapi.json", "/v1/topics", "/v1/topics/t",
             "/v1/topics/t/records", "/nowhere", "/v1/topics/nowhere"]
    data = b"".join(f"HEAD {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode() for path in paths)
    with socket.create_connection(("127.0.0.1", server.port), 30) as connection:
        connection.sendall(data)
        with connection.makefile("rb") as stream:
            for path in paths:
                status, headers, _ = read_answer(stream, head=True)
                found, _, body = ask(server, "GET", path)
                equal((status, int(headers["Content-Length"])), (found, len(body)), path)
    status, headers, _ = ask(server, "PUT", "/v1/topics/t", b"", {"X-Floe": "1"})
    equal((status, headers["Allow"]), (405, "OPTIONS, GET, HEAD, DELETE"))


def test_a_request_may_come_byte_by_byte(world):
    server = world.server(protocol="any")
    with server.connect() as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in HEAD + b"Content-Length: 5\r\n\r\nslow!" + b"GET /v1/topics HTTP/1.1\r\nHost: [::1]\r\n\r\n":
            connection.sendall(bytes([byte]))
        with connection.makefile("rb") as stream:
            equal(json.loads(read_answer(stream)[2])["offsets"], [{"partition": 0, "offset": 0}])
            equal(read_answer(stream)[0], 200)
    equal(get(server, "/v1/topics/t/records")["records"][0]["value"], "slow!")


def test_who_expects_to_be_asked_is_asked(world):
    server = world.server(protocol="any")
    expecting = HEAD + b"Expect: 100-continue\r\nContent-Length: 4\r\n\r\n"
    with server.connect() as connection, connection.makefile("rb") as stream:
        for n in range(3):
            connection.sendall(expecting)
            equal(read_answer(stream)[0], 100)
            connection.sendall(b"bo")
            connection.sendall(b"dy")
            status, _, body = read_answer(stream)
            equal((status, json.loads(body)["offsets"][0]["offset"]), (200, n))
        # With its body at hand nobody is asked.
        connection.sendall(expecting + b"body")
        equal(read_answer(stream)[0], 200)
    with server.connect() as connection, connection.makefile("rb") as stream:
        connection.sendall(expecting.replace(b"X-Floe: 1\r\n", b""))
        status, headers, _ = read_answer(stream)
        equal((status, headers["Connection"]), (403, "close"))
        connection.sendall(b"body" + INNER)
        connection.shutdown(socket.SHUT_WR)
        equal(stream.read(), b"")
    equal([row["name"] for row in get(server, "/v1/topics")["topics"]], ["t"])
    equal(get(server, "/v1/topics/t")["partitions"][0]["end"], 4)


def test_slow_and_lost_clients_are_no_burden(world):
    server = world.server(protocol="any")
    make(server, "t", max_message_bytes=2 * BODY_MAX)
    post(server, "/v1/topics/t/records", os.urandom(4 << 20))
    idle = [server.connect() for _ in range(20)]
    for n, connection in enumerate(idle):
        connection.sendall([b"GET / HT", HEAD, HEAD + b"Content-Length: 1000000\r\n\r\nabc",
                            b"GET /v1/topics/t/stream?from=start HTTP/1.1\r\nHost: localhost\r\n\r\n",
                            b"GET /v1/topics/t/records HTTP/1.1\r\nHost: localhost\r\n\r\n"
                            b"GET /v1/topics/t/records HTTP/1.1\r\nHost: localhost\r\n\r\n"][n % 5])
    for n in range(20):
        equal(post(server, "/v1/topics/u/records", b"through")["offsets"][0]["offset"], n)
    for n, connection in enumerate(idle):
        if n % 2:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.close()
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        text = ask(server, "GET", "/metrics")[2].decode()
        rows = [line for line in text.splitlines() if line.startswith("floe_connections{")]
        if sum(int(row.split(" ")[1]) for row in rows) == 1:
            break
        time.sleep(0.05)
    else:
        raise AssertionError(f"connections stayed: {rows}")
    equal(server.stop(), 0, "exit code")


def test_the_description_is_the_table_of_routes(world):
    server = world.server(protocol="any")
    make(server, "x")
    paths = get(server, "/v1/openapi.json")["paths"]
    equal(sorted(paths), sorted(get(server, "/")["paths"]))
    for path, methods in paths.items():
        real = path.replace("{topic}", "x").replace("{group}", "none")
        allowed = ask(server, "OPTIONS", real)[1]["Allow"].split(", ")
        wanted = {method.upper() for method in methods} | {"OPTIONS"}
        equal(set(allowed), wanted | ({"HEAD"} if "GET" in wanted else set()), path)
        for method, what in methods.items():
            check(what["summary"] and what["responses"], path)
            names = [one["name"] for one in what["parameters"] if one["in"] == "query"]
            query = "&".join(f"{name}=" for name in names)
            if method == "get" and names:
                found = get(server, f"{real}?{query}", 400)["detail"]
                check("not known" not in found, found)
            elif method == "get":
                equal(ask(server, "GET", real)[0], 404 if "{group}" in path else 200, path)


def test_a_listener_for_http_takes_nothing_else(world):
    server = world.server(protocol="http")
    check(server.ready["listen"].startswith("http://"), server.ready["listen"])
    equal(ask(server, "GET", "/livez")[0], 200)
    found = exchange(server, wire.request(wire.API_VERSIONS, 0, correlation=1), ends=True)[0]
    equal(found[0], 400)
    found = exchange(server, b"*1\r\n$4\r\nPING\r\n\r\n", ends=True)[0]
    equal(found[0], 400)
