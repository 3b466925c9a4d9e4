"""confluent-kafka (librdkafka) as a command; see README.md for what each action prints."""
import signal
import sys
import zlib

from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewPartitions, NewTopic

ACTION, ADDRESS, TOPIC, *REST = sys.argv[1:]
BASE = {"bootstrap.servers": ADDRESS, "broker.address.family": "v4"}
TIME_BASE = 1700000000000


def value(n):
    return (b"%d:" % n * 150)[:100 + n % 50]


def show(record):
    print(record.partition(), record.offset(), record.key().decode(), zlib.crc32(record.value()), flush=True)


def produce(codec, idempotent, first, count):
    offsets = []

    def delivered(error, message):
        if error is not None:
            raise KafkaException(error)
        offsets.append(message.offset())
    producer = Producer({**BASE, "compression.type": codec, "enable.idempotence": idempotent == "1",
                         "acks": "all", "linger.ms": 5})
    for n in range(int(first), int(first) + int(count)):
        producer.produce(TOPIC, value(n), b"k%d" % n, 0, on_delivery=delivered, timestamp=TIME_BASE + n,
                         headers=[("n", b"%d" % n)])
        producer.poll(0)
    if producer.flush(30) != 0:
        raise TimeoutError("not all was delivered within 30 s")
    for offset in offsets:
        print(offset)


def taken(consumer, count):
    while count > 0:
        record = consumer.poll(30)
        if record is None:
            raise TimeoutError(f"{count} records are missing after 30 s")
        if record.error():
            raise KafkaException(record.error())
        show(record)
        count -= 1


def assign(count):
    consumer = Consumer({**BASE, "group.id": "none", "enable.auto.commit": False})
    consumer.assign([TopicPartition(TOPIC, 0, 0)])
    taken(consumer, int(count))
    consumer.close()


def subscribed(group, **callbacks):
    consumer = Consumer({**BASE, "group.id": group, "enable.auto.commit": False,
                         "auto.offset.reset": "earliest", "session.timeout.ms": 6000,
                         "heartbeat.interval.ms": 500})
    consumer.subscribe([TOPIC], **callbacks)
    return consumer


def group(name, count):
    consumer = subscribed(name)
    taken(consumer, int(count))
    consumer.commit(asynchronous=False)
    consumer.close()


def member(name):
    """Until SIGTERM: what it is given, and each record, which is committed at once."""
    def told(consumer, partitions):
        del consumer
        print("assigned", ",".join(str(p.partition) for p in sorted(partitions, key=lambda p: p.partition)), flush=True)
    going = []
    signal.signal(signal.SIGTERM, lambda *_: going.append(1))
    consumer = subscribed(name, on_assign=told)
    while not going:
        record = consumer.poll(0.2)
        if record is not None and not record.error():
            show(record)
            consumer.commit(record, asynchronous=False)
    consumer.close()


def admin():
    client = AdminClient(BASE)
    for future in client.create_topics([NewTopic(TOPIC, 3, 1)]).values():
        future.result(30)
    print("created", len(client.list_topics(TOPIC, 30).topics[TOPIC].partitions))
    for future in client.create_partitions([NewPartitions(TOPIC, 5)]).values():
        future.result(30)
    print("grown", len(client.list_topics(TOPIC, 30).topics[TOPIC].partitions))
    for future in client.delete_topics([TOPIC]).values():
        future.result(30)
    print("deleted", TOPIC in client.list_topics(timeout=30).topics)


globals()[ACTION](*REST)
