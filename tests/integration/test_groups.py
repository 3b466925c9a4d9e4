"""Consumer groups and their offsets with real clients: shared partitions, takeover, resuming, restarts."""
import struct
import subprocess
import time

from fixture import check, counters, equal, kcat, need, need_module
from wire import answer as receive, request, text

SECONDS = 60  # Of one wait: it only bounds a hang.


def quick(world, **settings):
    """Short sessions, so that a takeover does not take long."""
    return world.server(settings={"group.initial.rebalance.delay.ms": "100ms",
                                  "group.min.session.timeout.ms": "1s", **settings})


def make(world, server, topic, partitions):
    equal(world.floe("topic", "create", topic, "-p", str(partitions), "-b", server.address).returncode, 0)


def fill(server, topic, count, prefix="r"):
    kcat("-P", "-b", server.address, "-t", topic, "-K", "|",
         input="".join(f"{prefix}{n}|{prefix}{n}\n" for n in range(count)).encode())


def confluent(server, group, **extra):
    from confluent_kafka import Consumer
    return Consumer({"bootstrap.servers": server.address, "group.id": group,
                     "auto.offset.reset": "earliest", "session.timeout.ms": 3000,
                     "heartbeat.interval.ms": 300, "enable.auto.commit": False,
                     "broker.address.family": "v4", "log_level": 0, **extra})


def until(what, condition):
    deadline = time.monotonic() + SECONDS
    while not condition():
        check(time.monotonic() < deadline, f"waited in vain until {what}")


def read(consumer, count, found):
    """Polls until so many records are there; their values."""
    def enough():
        message = consumer.poll(0.2)
        if message is not None and not message.error():
            found.append(message.value().decode())
        return len(found) >= count
    until(f"{count} records are read", enough)
    return found


def test_kcat_groups_resume_where_they_were(world):
    server = quick(world)
    make(world, server, "resumed", 4)
    words = ("-b", server.address, "-X", "auto.offset.reset=earliest", "-G", "kc", "-e", "resumed")
    for n in range(3):
        fill(server, "resumed", 100, f"round{n}-")
        out = kcat(*words).decode().split()
        equal(sorted(out), sorted(f"round{n}-{k}" for k in range(100)), f"round {n}")
    equal(server.stop(), 0, "exit code")


def test_two_members_share_and_one_takes_over(world):
    need_module("confluent_kafka")
    server = quick(world)
    make(world, server, "shared", 4)
    first, second = confluent(server, "sharing"), confluent(server, "sharing")
    for consumer in (first, second):
        consumer.subscribe(["shared"])

    def parts(*consumers):
        for consumer in consumers:
            consumer.poll(0.1)
        return [sorted(p.partition for p in consumer.assignment()) for consumer in consumers]
    until("both have two", lambda: [len(p) for p in parts(first, second)] == [2, 2])
    equal(sorted(sum(parts(first, second), [])), [0, 1, 2, 3], "each partition once")
    second.close()
    until("the first has all", lambda: parts(first)[0] == [0, 1, 2, 3])
    # And one that dies without a word.
    child = subprocess.Popen(["kcat", "-q", "-b", server.address, "-G", "sharing", "-X",
                              "session.timeout.ms=3000", "-X", "heartbeat.interval.ms=300", "-X",
                              "broker.address.family=v4", "shared"],
                             stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        until("they share", lambda: len(parts(first)[0]) == 2)
        child.kill()
        child.wait(30)
        until("it was found dead", lambda: parts(first)[0] == [0, 1, 2, 3])
    finally:
        child.kill()
        child.wait(30)
    first.close()


def test_cooperative_members_share(world):
    need_module("confluent_kafka")
    server = quick(world)
    make(world, server, "coop", 6)
    consumers = []
    for n in range(3):
        consumers.append(confluent(server, "cooperative",
                                   **{"partition.assignment.strategy": "cooperative-sticky"}))
        consumers[-1].subscribe(["coop"])

        def even():
            for consumer in consumers:
                consumer.poll(0.1)
            return [len(c.assignment()) for c in consumers] == [6 // (n + 1)] * (n + 1)
        until(f"{n + 1} members share", even)
    for consumer in consumers:
        consumer.close()


def test_python_kafka_commits_and_resumes(world):
    need_module("kafka")
    from kafka import KafkaConsumer, OffsetAndMetadata, TopicPartition
    server = quick(world)
    make(world, server, "pk", 2)
    fill(server, "pk", 200)

    def consumer():
        return KafkaConsumer("pk", bootstrap_servers=server.address, group_id="pkg",
                             auto_offset_reset="earliest", enable_auto_commit=False,
                             session_timeout_ms=6000, heartbeat_interval_ms=500,
                             consumer_timeout_ms=20000)
    one = consumer()
    found = [next(one).value for _ in range(120)]
    one.commit()
    one.close()
    two = consumer()
    found += [next(two).value for _ in range(80)]
    two.commit()
    equal(sorted(found), sorted(b"r%d" % n for n in range(200)), "each record once")
    part = TopicPartition("pk", 0)
    two.commit({part: OffsetAndMetadata(7, "a note")})
    equal(two.committed(part), 7)
    two.close()


def test_simple_consumers_commit_without_members(world):
    need_module("kafka")
    from kafka import KafkaConsumer, OffsetAndMetadata, TopicPartition
    server = quick(world)
    make(world, server, "simple", 1)
    fill(server, "simple", 10)
    part = TopicPartition("simple", 0)
    for _ in range(2):
        one = KafkaConsumer(bootstrap_servers=server.address, group_id="alone",
                            enable_auto_commit=False, consumer_timeout_ms=10000,
                            auto_offset_reset="earliest")
        one.assign([part])
        before = one.committed(part) or 0
        equal(next(one).offset, before)
        one.commit({part: OffsetAndMetadata(before + 1, "")})
        one.close()
    equal(before, 1, "what the first one left")


def test_no_committed_offset_is_lost_by_a_kill(world):
    need_module("confluent_kafka")
    from confluent_kafka import TopicPartition
    server = quick(world)
    make(world, server, "kept", 3)
    fill(server, "kept", 60)
    committed = {}
    for cycle in range(20):
        one = confluent(server, "kept")
        parts = [TopicPartition("kept", p) for p in range(3)]
        for found in one.committed(parts, timeout=SECONDS):
            equal(max(found.offset, 0), committed.get(found.partition, 0), f"cycle {cycle}")
        for part in parts:
            part.offset = cycle * 3 + part.partition
            result = one.commit(offsets=[part], asynchronous=False)
            equal([r.error for r in result], [None])
            committed[part.partition] = part.offset
        server.kill()
        one.close()
        server.start()
    equal(committed, {0: 57, 1: 58, 2: 59})


def test_members_go_on_when_the_server_is_killed(world):
    need_module("confluent_kafka")
    server = quick(world, **{"group.initial.rebalance.delay.ms": "0"})
    server.kill()
    server.port_wanted = server.port  # Where the members look for it.
    server.start()
    make(world, server, "living", 2)
    changes = []
    one = confluent(server, "living", **{"session.timeout.ms": 30000})
    one.subscribe(["living"], on_assign=lambda c, p: changes.append(len(p)))
    fill(server, "living", 20)
    found = read(one, 20, [])
    one.commit(asynchronous=False)
    server.kill()
    server.start()
    fill(server, "living", 20, "s")
    found = read(one, 40, found)
    equal(len(set(found)), 40, "each record once")
    one.commit(asynchronous=False)
    equal(changes, [2], "its generation was kept: it did not join again")
    one.close()


def test_admin_lists_describes_and_deletes(world):
    need_module("kafka")
    from kafka import KafkaConsumer, TopicPartition
    from kafka.admin import KafkaAdminClient
    server = quick(world)
    make(world, server, "managed", 2)
    fill(server, "managed", 40)
    admin = KafkaAdminClient(bootstrap_servers=server.address)
    equal(admin.list_consumer_groups(), [], "before there is any")
    one = KafkaConsumer("managed", bootstrap_servers=server.address, group_id="m1",
                        client_id="me", auto_offset_reset="earliest", enable_auto_commit=False)
    next(one)
    one.commit()
    equal(admin.list_consumer_groups(), [("m1", "consumer")])
    described = admin.describe_consumer_groups(["m1", "none"])
    equal([(g.group, g.state, g.protocol_type) for g in described],
          [("m1", "Stable", "consumer"), ("none", "Dead", "")])
    equal([m.client_id for m in described[0].members], ["me"])
    equal([r[1].__name__ for r in admin.delete_consumer_groups(["m1"])], ["NonEmptyGroupError"])
    one.close()
    equal(admin.describe_consumer_groups(["m1"])[0].state, "Empty")
    offsets = admin.list_consumer_group_offsets("m1")
    check(all(o.offset >= 0 for o in offsets.values()) and offsets, str(offsets))
    equal([r[1].__name__ for r in admin.delete_consumer_groups(["m1", "none"])],
          ["NoError", "GroupIdNotFoundError"])
    equal(admin.list_consumer_groups(), [])
    equal(admin.list_consumer_group_offsets("m1", partitions=[TopicPartition("managed", 0)])
          [TopicPartition("managed", 0)].offset, -1)
    admin.close()


def test_a_deleted_topic_takes_its_offsets_along(world):
    need_module("confluent_kafka")
    from confluent_kafka import TopicPartition
    server = quick(world)
    for again in range(2):
        make(world, server, "gone", 1)
        one = confluent(server, "gone")
        part = TopicPartition("gone", 0, 5)
        equal(one.committed([part], timeout=SECONDS)[0].offset, -1001, f"at first, {again}")
        one.commit(offsets=[TopicPartition("gone", 0, 5)], asynchronous=False)
        equal(one.committed([part], timeout=SECONDS)[0].offset, 5)
        one.close()
        equal(world.floe("topic", "delete", "gone", "-b", server.address).returncode, 0)


def test_nobody_writes_to_the_topic_of_groups(world):
    need("kcat")
    server = quick(world)
    make(world, server, "any", 1)
    kcat("-b", server.address, "-G", "g", "-e", "-X", "auto.offset.reset=earliest", "any")
    out = kcat("-L", "-b", server.address).decode()
    check('topic "__consumer_offsets" with 16 partitions' in out, out)
    done = subprocess.run(["kcat", "-P", "-b", server.address, "-t", "__consumer_offsets", "-p", "0",
                           "-X", "message.timeout.ms=20000"], input=b"x\n", capture_output=True,
                          timeout=SECONDS, check=False)
    check(b"nvalid topic" in done.stderr, done.stderr.decode())
    check(server.alive(), "the server died")


def test_many_groups_at_once_from_the_first_request_on(world):
    """200 groups of 5 members: the first request of each makes the topic, or meets it being made."""
    server = quick(world, **{"group.initial.rebalance.delay.ms": "2s"})
    groups, each = 200, 5
    peers = [server.connect(SECONDS) for _ in range(groups)]

    def ask(key, body):
        """`body(group, member)` of every member, then all answers behind their correlation ids."""
        for group, peer in enumerate(peers):
            peer.sendall(b"".join(request(key, 3 if key != 11 else 5, body(group, member))
                                  for member in range(each)))
        return [[receive(peer)[1] for _ in range(each)] for peer in peers]

    def join(group, member):
        return (text(f"g{group}") + struct.pack(">ii", 30000, 60000) + text("") + text(f"i{member}")
                + text("consumer") + struct.pack(">i", 1) + text("r") + struct.pack(">i", 0))
    answers = ask(11, join)
    equal({answer[4:10] for row in answers for answer in row}, {struct.pack(">hi", 0, 1)},
          "codes and generations")

    def ids(answer):
        """Leader and member."""
        at, found = 10, []
        for _ in range(3):
            size, = struct.unpack(">h", answer[at:at + 2])
            found.append(answer[at + 2:at + 2 + size].decode())
            at += 2 + size
        return found[1:]
    rows = [[ids(answer) for answer in row] for row in answers]
    equal([len({leader for leader, _ in row}) for row in rows], [1] * groups, "one leader each")

    def head(group, member):
        return text(f"g{group}") + struct.pack(">i", 1) + text(rows[group][member][1]) + text(f"i{member}")

    def sync(group, member):
        leads = rows[group][member][0] == rows[group][member][1]
        given = [me for _, me in rows[group]] if leads else []
        return head(group, member) + struct.pack(">i", len(given)) + b"".join(
            text(me) + struct.pack(">i", 36) + f"{group:02d}{me}".encode()[:36].ljust(36) for me in given)
    for group, row in enumerate(ask(14, sync)):
        for member, answer in enumerate(row):
            wanted = f"{group:02d}{rows[group][member][1]}".encode()[:36].ljust(36)
            equal(answer, struct.pack(">ihi", 0, 0, 36) + wanted, f"assignment of {group}/{member}")
    before = sum(core["appends"] for core in counters(server))
    for _ in range(5):
        equal({answer for row in ask(12, head) for answer in row}, {struct.pack(">ih", 0, 0)})
    equal(sum(core["appends"] for core in counters(server)), before, "a heartbeat is not written down")
    for peer in peers:
        peer.close()
