"""Real Kafka clients, unchanged."""
from fixture import check, consume, equal, kcat, lines, need_module, produce


def kcat_round_trip(world, *words, count=500):
    server = world.server()
    records = lines(count)
    produce(server, "round", records, *words)
    equal(consume(server, "round"), records, "what kcat wrote")
    equal(server.stop(), 0, "exit code")


def test_kcat_uncompressed(world):
    kcat_round_trip(world, "-z", "none")


def test_kcat_gzip(world):
    kcat_round_trip(world, "-z", "gzip")


def test_kcat_snappy(world):
    kcat_round_trip(world, "-z", "snappy")


def test_kcat_lz4(world):
    kcat_round_trip(world, "-z", "lz4")


def test_kcat_zstd(world):
    kcat_round_trip(world, "-z", "zstd")


def test_kcat_idempotent(world):
    kcat_round_trip(world, "-X", "enable.idempotence=true", count=2000)


def test_kcat_acks_one_and_zero(world):
    server = world.server()
    for acks in ("1", "0"):
        records = lines(200, f"acks{acks}")
        produce(server, f"acks{acks}", records, "-X", f"acks={acks}")
        if acks == "1":
            equal(consume(server, "acks1"), records)
    check(server.alive(), "the server died of acks=0")


def test_kcat_keys_headers_and_binary(world):
    server = world.server()
    kcat("-P", "-b", server.address, "-t", "keyed", "-p", "0", "-K", ":", "-H", "source=test",
         input=b"k1:one\nk2:two\n\xff\x01:\xfe\x02\n")
    out = kcat("-C", "-b", server.address, "-t", "keyed", "-o", "beginning", "-e", "-f",
               "%o|%k|%s|%h\n")
    equal(out, b"0|k1|one|source=test\n1|k2|two|source=test\n2|\xff\x01|\xfe\x02|source=test\n")


def test_kcat_lists_the_topics(world):
    server = world.server()
    equal(world.floe("topic", "create", "listed", "-p", "3", "-b", server.address).returncode, 0)
    out = kcat("-L", "-b", server.address).decode()
    check('topic "listed" with 3 partitions' in out, out)


def test_kcat_asks_by_time(world):
    server = world.server()
    produce(server, "timed", lines(10))
    out = kcat("-Q", "-b", server.address, "-t", "timed:0:1000").decode()
    check("offset 0" in out, out)


def test_kcat_large_records(world):
    server = world.server()
    records = [chr(97 + n) * 700_000 for n in range(6)]
    produce(server, "large", records)
    equal([len(r) for r in consume(server, "large")], [700_000] * 6)
    equal(consume(server, "large"), records)


def test_python_kafka(world):
    need_module("kafka")
    from kafka import KafkaConsumer, KafkaProducer, TopicPartition
    server = world.server()
    producer = KafkaProducer(bootstrap_servers=server.address, acks="all", retries=3)
    futures = [producer.send("pk", value=b"v%d" % n, key=b"k%d" % n, partition=0) for n in range(300)]
    equal([f.get(30).offset for f in futures], list(range(300)), "acked offsets")
    producer.close(10)
    consumer = KafkaConsumer(bootstrap_servers=server.address, group_id=None,
                             auto_offset_reset="earliest", consumer_timeout_ms=20000)
    part = TopicPartition("pk", 0)
    consumer.assign([part])
    consumer.seek(part, 100)
    found = []
    for message in consumer:
        found.append((message.offset, message.key, message.value))
        if len(found) == 200:
            break
    equal(found, [(n, b"k%d" % n, b"v%d" % n) for n in range(100, 300)])
    equal(consumer.end_offsets([part])[part], 300)
    consumer.close()


def test_python_kafka_admin(world):
    need_module("kafka")
    from kafka.admin import KafkaAdminClient, NewTopic
    from kafka.errors import TopicAlreadyExistsError
    server = world.server()
    admin = KafkaAdminClient(bootstrap_servers=server.address)
    admin.create_topics([NewTopic("made", 4, 1)])
    check("made" in admin.list_topics(), "the topic is not listed")
    try:
        admin.create_topics([NewTopic("made", 4, 1)])
        raise AssertionError("made twice")
    except TopicAlreadyExistsError:
        pass
    admin.delete_topics(["made"])
    check("made" not in admin.list_topics(), "the topic is still listed")
    admin.close()


def test_confluent_kafka(world):
    need_module("confluent_kafka")
    from confluent_kafka import Consumer, Producer, TopicPartition
    server = world.server()
    acked, failed = [], []

    def delivered(error, message):
        (failed if error else acked).append(message.offset() if not error else str(error))
    producer = Producer({"bootstrap.servers": server.address, "enable.idempotence": True})
    for n in range(1000):
        producer.produce("ck", b"v%d" % n, b"k", 0, delivered, headers=[("h", b"%d" % n)])
    equal(producer.flush(60), 0, "records left unsent")
    equal(failed, [])
    equal(sorted(acked), list(range(1000)))
    consumer = Consumer({"bootstrap.servers": server.address, "group.id": "unused",
                         "enable.auto.commit": False, "auto.offset.reset": "error"})
    consumer.assign([TopicPartition("ck", 0, 0)])
    found = []
    for _ in range(3000):
        message = consumer.poll(0.1)
        if message is None or message.error():
            continue
        found.append((message.offset(), message.value(), message.headers()))
        if len(found) == 1000:
            break
    consumer.close()
    equal(found, [(n, b"v%d" % n, [("h", b"%d" % n)]) for n in range(1000)])


def test_many_partitions_spread_over_cores(world):
    server = world.server(settings={"cpu.cores": "2"})
    equal(world.floe("topic", "create", "wide", "-p", "16", "-b", server.address).returncode, 0)
    records = lines(1600)
    kcat("-P", "-b", server.address, "-t", "wide", "-K", "|",
         input="".join(f"key{n}|{r}\n" for n, r in enumerate(records)).encode())
    out = kcat("-C", "-b", server.address, "-t", "wide", "-o", "beginning", "-e").decode()
    equal(sorted(out.splitlines()), sorted(records))
