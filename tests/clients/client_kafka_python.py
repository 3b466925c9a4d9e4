"""kafka-python (2.0.2 and 3.x) as a command; see README.md for what each action prints."""
import signal
import sys
import zlib

from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition, __version__
from kafka.admin import NewPartitions, NewTopic
from kafka.consumer.subscription_state import ConsumerRebalanceListener

ACTION, ADDRESS, TOPIC, *REST = sys.argv[1:]
OLD = __version__.startswith("2.0.")
TIME_BASE = 1700000000000


def value(n):
    return (b"%d:" % n * 150)[:100 + n % 50]


def show(record):
    print(record.partition, record.offset, record.key.decode(), zlib.crc32(record.value), flush=True)


def produce(codec, idempotent, first, count):
    settings = {} if OLD else {"enable_idempotence": idempotent == "1"}
    producer = KafkaProducer(bootstrap_servers=ADDRESS, acks="all", linger_ms=5,
                             compression_type=None if codec == "none" else codec, **settings)
    sent = [producer.send(TOPIC, value(n), b"k%d" % n, [("n", b"%d" % n)], 0, TIME_BASE + n)
            for n in range(int(first), int(first) + int(count))]
    for future in sent:
        print(future.get(30).offset)
    producer.close()


def taken(consumer, count):
    for record in consumer:
        show(record)
        count -= 1
        if count == 0:
            return
    raise TimeoutError(f"{count} records are missing after 30 s")


def assign(count):
    consumer = KafkaConsumer(bootstrap_servers=ADDRESS, consumer_timeout_ms=30000, enable_auto_commit=False)
    consumer.assign([TopicPartition(TOPIC, 0)])
    consumer.seek(TopicPartition(TOPIC, 0), 0)
    taken(consumer, int(count))
    consumer.close()


def subscribed(group, wait, listener=None):
    consumer = KafkaConsumer(bootstrap_servers=ADDRESS, group_id=group, enable_auto_commit=False,
                             auto_offset_reset="earliest", session_timeout_ms=6000,
                             heartbeat_interval_ms=500, consumer_timeout_ms=wait)
    consumer.subscribe([TOPIC], listener=listener)
    return consumer


def group(name, count):
    consumer = subscribed(name, 30000)
    taken(consumer, int(count))
    consumer.commit()
    consumer.close()


class Listener(ConsumerRebalanceListener):
    def on_partitions_assigned(self, assigned):
        print("assigned", ",".join(str(p.partition) for p in sorted(assigned)), flush=True)

    def on_partitions_revoked(self, revoked):
        pass


def member(name):
    """Until SIGTERM: what it is given, and each record, which is committed at once."""
    going = []
    signal.signal(signal.SIGTERM, lambda *_: going.append(1))
    consumer = subscribed(name, 200, Listener())
    while not going:
        for records in consumer.poll(200).values():
            for record in records:
                show(record)
            consumer.commit()
    consumer.close()


def admin():
    client = KafkaAdminClient(bootstrap_servers=ADDRESS)

    def partitions():
        return len(client.describe_topics([TOPIC])[0]["partitions"])
    client.create_topics([NewTopic(TOPIC, 3, 1)] if OLD else {TOPIC: {"num_partitions": 3, "replication_factor": 1}})
    print("created", partitions())
    client.create_partitions({TOPIC: NewPartitions(5)} if OLD else {TOPIC: 5})
    print("grown", partitions())
    client.delete_topics([TOPIC])
    print("deleted", TOPIC in client.list_topics())


globals()[ACTION](*REST)
