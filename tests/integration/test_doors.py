"""One log through every door: what is written by Kafka, RESP, Walrus or HTTP is read by all of them."""
import base64
import os
import time

from fixture import check, counters, equal, need_module
from http_client import ask, get, make, post
from test_walrus import start
from walrus import Walrus

DOORS = ("kafka", "resp", "walrus", "http")
BINARY = b"\0\r\n\xff\xfe\xc3(\x80 $5\r\n*1\r\n" + bytes(range(256))


def write_kafka(server, topic, value, key=None, headers=(), timestamp=None):
    producer = need_module("kafka").KafkaProducer(bootstrap_servers=server.address)
    producer.send(topic, value, key=key, headers=list(headers), partition=0, timestamp_ms=timestamp).get(30)
    producer.close()


def write_resp(server, topic, value, key=None, headers=(), timestamp=None):
    fields = ({b"key": key} if key is not None else {}) | dict(headers) | {b"value": value}
    need_module("redis").Redis(port=server.port).xadd(topic, fields, id=f"{timestamp}-7" if timestamp else "*")


def write_walrus(server, topic, value, key=None, headers=(), timestamp=None):
    with Walrus(server.port) as client:
        equal(client.put(topic.encode(), value), b"OK")


def write_http(server, topic, value, key=None, headers=(), timestamp=None):
    record = {"value_base64": base64.b64encode(value).decode()}
    if key is not None:
        record["key_base64"] = base64.b64encode(key).decode()
    record["headers"] = [{"name": name, "value_base64": base64.b64encode(text).decode()} for name, text in headers]
    if timestamp is not None:
        record["timestamp"] = timestamp
    post(server, f"/v1/topics/{topic}/records", {"records": [record]})


def read_kafka(server, topic):
    """Key, headers, value and timestamp of each record, in order."""
    kafka = need_module("kafka")
    consumer = kafka.KafkaConsumer(bootstrap_servers=server.address, enable_auto_commit=False)
    partition = kafka.TopicPartition(topic, 0)
    consumer.assign([partition])
    consumer.seek_to_beginning(partition)
    end = consumer.end_offsets([partition])[partition]
    found = []
    while consumer.position(partition) < end:
        for records in consumer.poll(1000).values():
            found += [(r.key, r.headers, r.value, r.timestamp) for r in records]
    consumer.close()
    return found


def read_resp(server, topic):
    """The fields of each entry, in order."""
    return [list(fields.items()) for _, fields in need_module("redis").Redis(port=server.port).xrange(topic)]


def read_walrus(server, topic):
    with Walrus(server.port) as client:
        return client.get_all(topic.encode())


def read_get(server, topic):
    """GET of RESP, by the cursor that Walrus's readers have, too."""
    client = need_module("redis").Redis(port=server.port)
    found = []
    while (value := client.get(topic)) is not None:
        found.append(value)
    return found


def unpack(record, name):
    if f"{name}_base64" in record:
        return base64.b64decode(record[f"{name}_base64"])
    return None if record.get(name) is None else record[name].encode()


def read_http(server, topic):
    found = get(server, f"/v1/topics/{topic}/records?from=start&n=1000")["records"]
    return [(unpack(r, "key"), [(h["name"], unpack(h, "value")) for h in r.get("headers", [])],
             unpack(r, "value"), r["timestamp"]) for r in found]


def read_raw(server, topic, offset):
    status, _, body = ask(server, "GET", f"/v1/topics/{topic}/records?from={offset}&n=1",
                          headers={"Accept": "application/octet-stream"})
    equal(status, 200)
    return body


def test_what_one_writes_all_read(world):
    server = start(world)
    key, headers, now = b"k\0\xff", [("h", b"\x80\r\n"), ("empty", b"")], int(time.time() * 1000)
    for door in DOORS:
        make(server, door)
        globals()[f"write_{door}"](server, door, BINARY, key, headers, now)
        carries = door != "walrus"  # It has values only.
        wanted_key, wanted_headers = (key, headers) if carries else (None, [])
        for name, found in (("kafka", read_kafka(server, door)), ("http", read_http(server, door))):
            equal([record[:3] for record in found], [(wanted_key, wanted_headers, BINARY)], f"{door} -> {name}")
            if door in ("kafka", "http"):
                equal(found[0][3], now, f"{door} -> {name}: the timestamp")
            else:  # The server's clock.
                check(abs(found[0][3] - now) < 600000, f"{door} -> {name}: {found[0][3]}")
        fields = ([(b"key", key)] if carries else []) + [(n.encode(), v) for n, v in wanted_headers]
        equal(read_resp(server, door), [fields + [(b"value", BINARY)]], f"{door} -> resp")
        equal(read_walrus(server, door), [BINARY], f"{door} -> walrus")
        equal(read_raw(server, door, 0), BINARY, f"{door} -> http, raw")
        globals()[f"write_{door}"](server, door, b"more")
        equal(read_get(server, door), [b"more"], f"{door} -> GET, behind what Walrus has read")
    equal(server.stop(), 0, "exit code")


def test_entries_that_went_as_one_batch_are_read_by_all(world):
    """A pipeline of XADDs: keys, headers and values of each its own."""
    server = start(world)
    make(server, "logs")
    pipe = need_module("redis").Redis(port=server.port).pipeline(transaction=False)
    wanted = []
    for n in range(40):
        key, headers, value = b"k%d" % n + BINARY[:n], [("h", b"\x80%d" % n)], BINARY[n:]
        if n % 8 >= 4:
            key, headers = None, []
        pipe.xadd("logs", ({b"key": key} if key is not None else {}) | dict(headers) | {b"value": value})
        wanted.append((key, headers, value))
    ids = pipe.execute()
    equal(len(set(ids)), 40)
    check(sum(core["appends"] for core in counters(server)) < 40, "each went alone")
    for name, found in (("kafka", read_kafka(server, "logs")), ("http", read_http(server, "logs"))):
        equal([record[:3] for record in found], wanted, name)
    equal(read_resp(server, "logs"),
          [([(b"key", key)] if key is not None else []) + [(n.encode(), v) for n, v in headers] + [(b"value", value)]
           for key, headers, value in wanted])
    for n in (0, 17, 39):
        equal(read_raw(server, "logs", n), wanted[n][2], f"http, raw, offset {n}")
    equal(read_walrus(server, "logs"), [value for _, _, value in wanted])
    equal(server.stop(), 0, "exit code")


def test_files_come_out_as_they_went_in(world):
    """By lines the text, by pieces the binary one: NULs, CR LF, no UTF-8."""
    server = start(world)
    text = "".join(f"line {n}: grüße, 世界 \t\n" for n in range(50)).encode()
    binary = BINARY + os.urandom(20000) + b"\r\n\0"
    for door in DOORS:
        for name, pieces in (("text", text.splitlines(True)),
                             ("binary", [binary[at:at + 4096] for at in range(0, len(binary), 4096)])):
            topic = f"{door}-{name}"
            make(server, topic)
            for piece in pieces:
                globals()[f"write_{door}"](server, topic, piece)
            whole = b"".join(pieces)
            for reader, got in (("kafka", [r[2] for r in read_kafka(server, topic)]),
                                ("resp", [dict(fields)[b"value"] for fields in read_resp(server, topic)]),
                                ("http", [r[2] for r in read_http(server, topic)]),
                                ("http, raw", [read_raw(server, topic, n) for n in range(len(pieces))]),
                                ("walrus" if name == "text" else "GET",
                                 (read_walrus if name == "text" else read_get)(server, topic))):
                equal(b"".join(got), whole, f"{topic} -> {reader}")
    equal(server.stop(), 0, "exit code")


def test_the_cursor_of_get_survives_a_kill(world):
    server = start(world)
    make(server, "c")
    client = need_module("redis").Redis(port=server.port)
    for n in range(5):
        client.execute_command("PUT", "c", f"{n}")
    equal([client.get("c") for _ in range(3)], [b"0", b"1", b"2"])
    server.kill()
    server.start()
    with Walrus(server.port) as other:
        equal(other.get(b"c"), b"3")
    client = need_module("redis").Redis(port=server.port)
    equal([client.get("c"), client.get("c")], [b"4", None])
    error = need_module("redis").ResponseError
    try:
        client.get("nix")
        check(False, "an unknown topic was read")
    except error as told:
        equal(str(told), "unknown topic nix")
    equal(server.stop(), 0, "exit code")
