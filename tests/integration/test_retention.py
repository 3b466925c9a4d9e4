"""The end of a segment's life: DeleteRecords, retention, and restarts in between."""
import ctypes
import glob
import json
import os
import time

from fixture import Skip, check, consume, equal, kcat, lines, produce, until

WAIT_SECONDS = 60


class Partition(ctypes.Structure):
    """rd_kafka_topic_partition_t"""
    _fields_ = [("topic", ctypes.c_char_p), ("partition", ctypes.c_int32),
                ("offset", ctypes.c_int64), ("metadata", ctypes.c_void_p),
                ("metadata_size", ctypes.c_size_t), ("opaque", ctypes.c_void_p),
                ("err", ctypes.c_int), ("private", ctypes.c_void_p)]


class Partitions(ctypes.Structure):
    """rd_kafka_topic_partition_list_t"""
    _fields_ = [("count", ctypes.c_int), ("size", ctypes.c_int),
                ("elements", ctypes.POINTER(Partition))]


def librdkafka():
    try:
        library = ctypes.CDLL("librdkafka.so.1")
    except OSError as error:
        raise Skip(f"librdkafka: {error}") from error
    for name in ("conf_new", "new", "DeleteRecords_new", "queue_new", "queue_poll",
                 "event_DeleteRecords_result", "topic_partition_list_new"):
        getattr(library, f"rd_kafka_{name}").restype = ctypes.c_void_p
    library.rd_kafka_DeleteRecords_result_offsets.restype = ctypes.POINTER(Partitions)
    return library


def delete_records(server, topic, offset):
    """As an admin client does: the new start of partition 0, and the error."""
    library, why, pointer = librdkafka(), ctypes.create_string_buffer(512), ctypes.c_void_p
    conf = pointer(library.rd_kafka_conf_new())
    for key, value in (("bootstrap.servers", server.address), ("broker.address.family", "v4")):
        equal(library.rd_kafka_conf_set(conf, key.encode(), value.encode(), why, 512), 0)
    client = pointer(library.rd_kafka_new(0, conf, why, ctypes.c_size_t(512)))
    wanted = pointer(library.rd_kafka_topic_partition_list_new(1))
    library.rd_kafka_topic_partition_list_add(wanted, topic.encode(), 0)
    library.rd_kafka_topic_partition_list_set_offset(wanted, topic.encode(), 0,
                                                     ctypes.c_int64(offset))
    wish = pointer(library.rd_kafka_DeleteRecords_new(wanted))
    queue = pointer(library.rd_kafka_queue_new(client))
    library.rd_kafka_DeleteRecords(client, ctypes.byref(wish), ctypes.c_size_t(1), None, queue)
    event = pointer(library.rd_kafka_queue_poll(queue, WAIT_SECONDS * 1000))
    check(event.value is not None, "no answer to DeleteRecords")
    equal(library.rd_kafka_event_error(event), 0, "the request as a whole")
    result = pointer(library.rd_kafka_event_DeleteRecords_result(event))
    answer = library.rd_kafka_DeleteRecords_result_offsets(result).contents.elements[0]
    found = (answer.offset, answer.err)
    library.rd_kafka_event_destroy(event)
    library.rd_kafka_queue_destroy(queue)
    library.rd_kafka_DeleteRecords_destroy(wish)
    library.rd_kafka_topic_partition_list_destroy(wanted)
    library.rd_kafka_destroy(client)
    return found


def files(world):
    return glob.glob(os.path.join(world.data, "topics", "*", "*", "*.seg"))


def first_offset(server, topic):
    out = kcat("-Q", "-b", server.address, "-t", f"{topic}:0:-2").decode()
    return int(out.split("offset")[1])


def create(world, server, topic, **configs):
    words = [word for key, value in configs.items()
             for word in ("--config", f"{key.replace('_', '.')}={value}")]
    equal(world.floe("topic", "create", topic, *words, "-b", server.address).returncode, 0)


def produce_slowly(server, topic, records, step=50):
    """A request for each few records: segments end between batches."""
    for start in range(0, len(records), step):
        produce(server, topic, records[start:start + step])


def test_delete_records(world):
    server = world.server()
    create(world, server, "cut", segment_records=100)
    records = lines(1050)
    produce_slowly(server, "cut", records)
    equal(delete_records(server, "cut", 505), (505, 0))
    equal(consume(server, "cut"), records[505:])
    equal(delete_records(server, "cut", 10), (505, 0), "a lower offset changes nothing")
    equal(delete_records(server, "cut", 1051)[1], 1, "above the end: out of range")
    until(lambda: len(files(world)) == 6, "segments that were cut away are gone")
    server.kill()
    server.start()
    equal(first_offset(server, "cut"), 505)
    equal(consume(server, "cut"), records[505:])
    # Nothing is open now: the map remembers.
    equal(delete_records(server, "cut", 610), (610, 0))
    server.kill()
    server.start()
    equal(consume(server, "cut"), records[610:])
    equal(delete_records(server, "cut", -1), (1050, 0), "-1 is the end")
    equal(consume(server, "cut"), [])
    equal(server.stop(), 0)
    server.start()
    equal(consume(server, "cut"), [])
    more = lines(10, "more")
    produce(server, "cut", more)
    out = kcat("-C", "-b", server.address, "-t", "cut", "-p", "0", "-o", "beginning", "-e", "-f",
               "%o %s\n").decode().splitlines()
    equal(out, [f"{1050 + n} {record}" for n, record in enumerate(more)])
    checked = world.floe("log", "verify", world.data)
    equal(checked.returncode, 0, checked.stdout.decode() + checked.stderr.decode())


def test_inspect_shows_where_a_log_starts(world):
    server = world.server()
    produce(server, "shown", lines(20))
    equal(delete_records(server, "shown", 7), (7, 0))
    produce(server, "shown", ["behind"])
    equal(server.stop(), 0)
    out = world.floe("log", "inspect", world.data, "-o", "json")
    row, = json.loads(out.stdout)["rows"]
    equal((row["first"], row["end"], row["start"], row["state"]), (0, 21, 7, "sealed"))
    out = world.floe("log", "inspect", files(world)[0], "-o", "json")
    rows = json.loads(out.stdout)["rows"]
    control, = [row for row in rows if row["codec"] == "control"]
    equal((control["offset"], control["records"], control["start"]), (20, 0, 7))
    equal(sum(row["records"] for row in rows), 21)
    equal([row["start"] for row in rows if row["offset"] < 20], [0] * (len(rows) - 2))
    equal(world.floe("log", "verify", world.data).returncode, 0)


def test_retention_by_size(world):
    server = world.server(settings={"retention.check.ms": "50ms"})
    create(world, server, "sized", segment_records=50, retention_bytes=200_000)
    create(world, server, "whole", segment_records=50)
    records = [f"{n}-{'x' * 1000}" for n in range(1000)]
    produce_slowly(server, "sized", records, 10)
    produce(server, "whole", records[:200])
    until(lambda: first_offset(server, "sized") > 600, "the oldest segments are gone")
    for _ in range(2):
        kept = consume(server, "sized")
        equal(kept, records[-len(kept):], "what is kept")
        check(100 <= len(kept) <= 250, f"{len(kept)} records of 1,000 bytes are kept")
        size = sum(os.stat(path).st_size for path in files(world))
        check(size >= 200_000, f"only {size} bytes are left")
        equal(first_offset(server, "sized"), len(records) - len(kept))
        equal(consume(server, "whole"), records[:200], "a topic without a bound")
        server.kill()
        server.start()


def test_retention_by_time(world):
    server = world.server(settings={"retention.check.ms": "50ms"})
    create(world, server, "timed", segment_records=100, retention_ms=1)
    create(world, server, "hour", segment_records=100, retention_ms=3600_000)
    records = lines(450)
    produce_slowly(server, "timed", records)
    produce_slowly(server, "hour", records)
    until(lambda: first_offset(server, "timed") == 450, "all of it is gone")
    equal(consume(server, "timed"), [])
    equal(consume(server, "hour"), records)
    for _ in range(2):  # An empty log knows where it goes on.
        server.kill()
        server.start()
        equal(first_offset(server, "timed"), 450)
    until(lambda: len(files(world)) <= 1 + 5, "files of removed segments are gone")
    produce(server, "timed", ["last"])
    until(lambda: first_offset(server, "timed") == 451, "the next one is gone, too")
    equal(consume(server, "hour"), records)


def test_node_default_and_idempotent_producer(world):
    server = world.server(settings={"retention.check.ms": "20ms", "retention.ms": "1ms",
                                    "segment.records": "100"})
    records = lines(2000)
    kcat("-P", "-b", server.address, "-t", "gone", "-p", "0", "-X", "enable.idempotence=true",
         "-X", "linger.ms=0", "-X", "batch.num.messages=20",
         input="".join(record + "\n" for record in records).encode())
    until(lambda: first_offset(server, "gone") == 2000, "all of it is gone")
    check(server.alive(), server.text)
    equal(server.stop(), 0)
