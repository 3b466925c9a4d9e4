"""What home-made brokers do to real clients, one by one: no answer here may be of that kind.

README.md has the list, and which other tests hold what is not shown here. The numbers are its own.
"""
import struct

import wire
from fixture import check, equal, lines, produce

FETCH_CODES = {0, 1, 2, 3, 6, 9, 29, 56, 74, 75, 78, 100, 103}  # Java stops at any other.
CREATE_TOPICS, DELETE_TOPICS, FIND_COORDINATOR = 19, 20, 10


def ask(connection, data):
    connection.sendall(data)
    return wire.answer(connection)[1]


class Reader:
    """The fields of an answer, one after the other."""

    def __init__(self, body):
        self.body, self.at = body, 0

    def take(self, form):
        form = ">" + form
        found = struct.unpack_from(form, self.body, self.at)
        self.at += struct.calcsize(form)
        return found[0] if len(found) == 1 else found

    def text(self):
        size = self.take("h")
        if size < 0:
            return None
        self.at += size
        return self.body[self.at - size:self.at].decode()

    def array(self, read):
        count = self.take("i")
        check(count >= 0, "an array is null")
        return [read() for _ in range(count)]

    def done(self):
        equal(self.at, len(self.body), "what is left of an answer")


def fetch_7(topic, offsets, session=(0, -1), wait_ms=0, bytes_max=1 << 20):
    """Of partitions {number: offset}."""
    body = struct.pack(">iiiibii", -1, wait_ms, 1, bytes_max, 0, *session)
    body += struct.pack(">i", 1) + wire.text(topic) + struct.pack(">i", len(offsets))
    for partition, offset in offsets.items():
        body += struct.pack(">iqqi", partition, offset, -1, bytes_max)
    return wire.request(wire.FETCH, 7, body + struct.pack(">i", 0))


def fetched_7(body):
    """Error, session, {(topic, partition): (error, high watermark, records or None)}."""
    reader = Reader(body)
    _, error, session = reader.take("ihi")
    found = {}

    def partition(topic):
        number, code, high, _, _, aborted = reader.take("ihqqqi")
        check(aborted <= 0, "somebody aborted a transaction")
        size = reader.take("i")
        records = None if size < 0 else reader.body[reader.at:reader.at + size]
        reader.at += max(size, 0)
        found[topic, number] = (code, high, records)

    def one():
        topic = reader.text()
        reader.array(lambda: partition(topic))
    reader.array(one)
    reader.done()
    return error, session, found


def metadata_7(connection, topic):
    """Brokers, controller, {partition: (error, leader, epoch)}."""
    reader = Reader(ask(connection, wire.request(wire.METADATA, 7, struct.pack(">i", 1) + wire.text(topic) + b"\1")))
    reader.take("i")
    brokers = reader.array(lambda: (reader.take("i"), reader.text(), reader.take("i"), reader.text()))
    reader.text()
    controller, partitions = reader.take("i"), {}

    def partition():
        code, number, leader, epoch = reader.take("hiii")
        for _ in range(3):  # Replicas, in sync, offline: never null.
            reader.array(lambda: reader.take("i"))
        partitions[number] = (code, leader, epoch)

    def one():
        equal((reader.take("h"), reader.text(), reader.take("b")), (0, topic, 0))
        reader.array(partition)
    reader.array(one)
    reader.done()
    return brokers, controller, partitions


def create_topics(names, partitions):
    body = struct.pack(">i", len(names))
    for name in names:
        body += wire.text(name) + struct.pack(">ihii", partitions, 1, 0, 0)
    return wire.request(CREATE_TOPICS, 2, body + struct.pack(">ib", 30000, 0))


def created(body):
    reader = Reader(body)
    reader.take("i")
    return reader.array(lambda: (reader.text(), reader.take("h"), reader.text())[:2])


def versions(connection):
    reader = Reader(ask(connection, wire.request(wire.API_VERSIONS, 0)))
    equal(reader.take("h"), 0)
    return {key: (least, most) for key, least, most in reader.array(lambda: reader.take("hhh"))}


def test_1_no_records_are_an_empty_field(world):
    server = world.server()
    produce(server, "w", lines(10))
    with server.connect() as connection:
        for offset, code in ((10, 0), (99, 1)):  # At the end; outside.
            _, _, found = fetched_7(ask(connection, fetch_7("w", {0: offset})))
            equal(found["w", 0], (code, 10, b"") if code == 0 else (code, found["w", 0][1], b""))
        equal(fetched_7(ask(connection, fetch_7("nobody", {0: 0})))[2]["nobody", 0][2], b"", "of an unknown topic")
        # The compact form of it, too: 1, not 0. A session, then one topic with one partition, no tags.
        body = b"\0" + struct.pack(">iiiibii", -1, 0, 1, 1 << 20, 0, 0, -1) + b"\2\2w\2"
        body += struct.pack(">iiqiqi", 0, -1, 10, -1, -1, 1 << 20) + b"\0\0\1\1\0"
        answer = ask(connection, wire.request(wire.FETCH, 12, body))
        check(answer.endswith(b"\1\0\0\0"), answer)  # Records, tags of partition, topic and answer.


def test_2_old_librdkafka_finds_what_it_compresses_for(world):
    """A missing key or a version above 0 turns compression off without a word; see test_codecs.py."""
    server = world.server()
    with server.connect() as connection:
        told = versions(connection)
    for key in (wire.PRODUCE, FIND_COORDINATOR, 11, 12, 13, 14, wire.INIT_PRODUCER_ID):
        equal(told[key][0], 0, f"the least version of key {key}")
    check(told[wire.PRODUCE][1] >= 7 and told[wire.FETCH][1] >= 10, "zstd")
    check(told[wire.FETCH][1] >= 12, "librdkafka 2.5 sends 12 whatever it is told")
    check(told[wire.LIST_OFFSETS][0] <= 1 and told[9][0] <= 1 and told[8][0] <= 2, told)


def test_3_newer_api_versions_are_answered_in_version_0(world):
    server = world.server()
    with server.connect() as connection:
        wanted = versions(connection)
        for version in (5, 6, 99, 32767):
            reader = Reader(ask(connection, wire.request(wire.API_VERSIONS, version, b"\0\1\1\0")))
            equal(reader.take("h"), 35)
            keys = dict(reader.array(lambda: (reader.take("h"), reader.take("hh"))))
            reader.done()
            equal(keys[wire.API_VERSIONS], wanted[wire.API_VERSIONS], version)


def test_4_only_api_versions_has_no_tags_in_its_header(world):
    server = world.server()
    with server.connect() as connection:
        answer = ask(connection, wire.request(wire.API_VERSIONS, 3, b"\0\2w\2" + b"1\0"))
        equal(answer[:2], b"\0\0", "an error, no tags before it")
        check(answer[2] > 1, "a compact array of keys")
        # Metadata 9: tags, then throttle time; the client id is no compact string.
        answer = ask(connection, wire.request(wire.METADATA, 9, b"\0\1\0\0\0\0"))
        equal(answer[:6], b"\0" + b"\0\0\0\0" + b"\2", "tags, throttle time, one broker")


def test_5_a_fetch_fails_in_ways_that_consumers_know(world):
    server = world.server()
    produce(server, "w", lines(3))
    with server.connect() as connection, server.connect() as other:
        codes = {code for offsets in ({0: 9}, {0: -1}, {7: 0}, {-1: 0})
                 for code, _, _ in fetched_7(ask(connection, fetch_7("w", offsets)))[2].values()}
        equal(codes, {1, 3})
        connection.sendall(fetch_7("w", {0: 3}, wait_ms=60000))
        ask(other, wire.request(DELETE_TOPICS, 1, struct.pack(">i", 1) + wire.text("w") + struct.pack(">i", 30000)))
        code, _, records = fetched_7(wire.answer(connection)[1])[2]["w", 0]
        check(code in FETCH_CODES - {0}, f"code {code} for a topic that goes while it is waited for")
        equal(records, b"")


def test_6_a_fetch_waits_for_what_it_asks_for_only(world):
    """What it costs to wait is counted in test_idle.py."""
    server = world.server()
    produce(server, "w", lines(3))
    with server.connect() as connection:
        for request in (fetch_7("w", {0: 3}), fetch_7("w", {0: 0}, wait_ms=60000), fetch_7("w", {0: 9}, wait_ms=60000)):
            ask(connection, request)  # Nothing to wait for: no time, records, an error.
        connection.sendall(fetch_7("w", {0: 3}, wait_ms=60000))
        connection.settimeout(1)
        check(not wire.is_closed(connection), "answered, though nothing happened")
        connection.settimeout(30)
        produce(server, "w", ["now"])
        check(b"now" in fetched_7(wire.answer(connection)[1])[2]["w", 0][2], "the record that was waited for")


def test_7_retries_are_told_their_first_offset_after_a_kill(world):
    server = world.server()
    with server.connect() as connection:
        equal(created(ask(connection, create_topics(["w"], 1))), [("w", 0)])
        error, number, epoch = wire.producer_id(ask(connection, wire.producer_id_request()))
        equal(error, 0)

        def send(connection, sequence):
            data = wire.batch([b"%d" % sequence], producer=(number, epoch, sequence))
            return wire.produced(ask(connection, wire.produce_request("w", data)), "w")
        for n in range(8):
            equal(send(connection, n), (0, n))
        equal(send(connection, 9)[0], 45, "a gap")
    server.kill()
    server.start()
    with server.connect() as connection:
        for n in range(3, 8):  # The window: five batches.
            equal(send(connection, n), (0, n), "a retry")
        equal(send(connection, 2)[0], 45, "older than the window")
        equal(send(connection, 8), (0, 8))
        other = wire.producer_id(ask(connection, wire.producer_id_request()))[1]
        check(other != number, "a producer id was given twice")


def test_8_leader_epochs_never_go_back(world):
    server = world.server(settings={"segment.records": "4"})
    last = -1
    for n in range(4):
        produce(server, "w", lines(10), "-X", "batch.num.messages=2", "-X", "linger.ms=60000")
        with server.connect() as connection:
            code, _, epoch = metadata_7(connection, "w")[2][0]
            equal(code, 0)
            check(epoch >= last, f"leader epoch {epoch} after {last}")
            last = epoch
        if n % 2:
            equal(server.stop(), 0)
        else:
            server.kill()
        server.start()
    check(last > 0, "no segment has rolled")


def test_9_sessions_are_declined_and_answers_are_whole(world):
    server = world.server()
    with server.connect() as connection:
        ask(connection, create_topics(["w"], 500))
        asked = {n: 0 for n in range(500)}
        error, session, found = fetched_7(ask(connection, fetch_7("w", asked, session=(0, 0))))
        equal((error, session), (0, 0))
        equal(sorted(found), [("w", n) for n in range(500)], "the partitions that were asked for")
        equal({code for code, _, _ in found.values()}, {0})
        equal(fetched_7(ask(connection, fetch_7("w", {0: 0}, session=(77, 1))))[:2], (70, 0))
        # Version 11: records, and no other replica to read them from.
        ask(connection, wire.produce_request("w", wire.batch([b"x"])))
        body = struct.pack(">iiiibiii", -1, 0, 1, 1 << 20, 0, 0, -1, 1) + wire.text("w")
        body += struct.pack(">iiiqqi", 1, 0, -1, 0, -1, 1 << 20) + struct.pack(">i", 0) + wire.text("")
        reader = Reader(ask(connection, wire.request(wire.FETCH, 11, body)))
        equal((reader.take("ihii"), reader.text(), reader.take("iih")), ((0, 0, 0, 1), "w", (1, 0, 0)))
        high, _, _, aborted, preferred, size = reader.take("qqqiii")
        equal((high, aborted <= 0, preferred), (1, True, -1))
        check(size > 0, "no records")


def test_12_who_is_told_is_who_can_be_reached(world):
    server = world.server()
    with server.connect() as connection:
        equal(created(ask(connection, create_topics(["w"], 2))), [("w", 0)])
        brokers, controller, partitions = metadata_7(connection, "w")
    equal([(host, port) for _, host, port, _ in brokers], [("127.0.0.1", server.port)])
    numbers = {number for number, _, _, _ in brokers}
    check(controller in numbers, f"controller {controller} of {numbers}")
    check({leader for _, leader, _ in partitions.values()} <= numbers, partitions)


def test_13_what_was_created_is_whole_at_once(world):
    server = world.server(settings={"partitions.default": "20"})
    with server.connect() as connection, server.connect() as other:
        names = [f"w{n}" for n in range(10)]
        equal(created(ask(connection, create_topics(names, 20))), [(name, 0) for name in names])
        for name in names:  # On a connection of its own, to every core's partitions.
            other.sendall(b"".join(wire.produce_request(name, wire.batch([b"x"]), n, correlation=n) for n in range(20)))
            for n in range(20):
                correlation, body = wire.answer(other)
                equal((correlation, wire.produced(body, name)), (n, (0, 0)), name)
        partitions = metadata_7(connection, "made")[2]  # Named, hence made, and told whole.
        equal(sorted(partitions), list(range(20)))
        equal({code for code, _, _ in partitions.values()}, {0})


def test_14_a_log_that_starts_later_says_so(world):
    server = world.server()
    produce(server, "w", lines(10), "-X", "batch.num.messages=5", "-X", "linger.ms=60000")
    with server.connect() as connection:
        ask(connection, wire.delete_records_request("w", 7))
        ends = {}
        for time in (-2, -1, 0, 1 << 60):
            body = struct.pack(">ii", -1, 1) + wire.text("w") + struct.pack(">iiq", 1, 0, time)
            reader = Reader(ask(connection, wire.request(wire.LIST_OFFSETS, 1, body)))
            reader.take("i")
            reader.text()
            ends[time] = reader.take("iihqq")[2:]
        equal(ends[-2], (0, -1, 7), "the earliest")
        equal(ends[-1], (0, -1, 10), "the latest")
        equal(ends[0][::2], (0, 7), "the first that is at least so old")
        equal(ends[1 << 60], (0, -1, -1), "none is so young: no error")
        code, high, records = fetched_7(ask(connection, fetch_7("w", {0: 7})))[2]["w", 0]
        equal((code, high, struct.unpack_from(">q", records)[0]), (0, 10, 5), "the batch that holds it, whole")
        equal(fetched_7(ask(connection, fetch_7("w", {0: 6})))[2]["w", 0][0], 1)


def test_a_batch_above_every_limit_is_returned_whole(world):
    server = world.server()
    data = wire.batch([b"x" * 100000])
    with server.connect() as connection:
        ask(connection, create_topics(["w"], 1))
        for n in range(2):
            equal(wire.produced(ask(connection, wire.produce_request("w", data)), "w"), (0, n))
        records = fetched_7(ask(connection, fetch_7("w", {0: 0}, bytes_max=1)))[2]["w", 0][2]
        equal(records[21:], data[21:], "the first batch, and nothing of the second")
