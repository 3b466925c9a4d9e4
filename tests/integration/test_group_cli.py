"""floe group list, describe, seek, delete: on groups of real clients, and on those that are none."""
import json

from fixture import check, equal, need_module
from test_groups import confluent, make, quick, read, until

COLUMNS = ["topic", "partition", "committed", "end", "lag", "lag_seconds", "member", "client", "host"]


def group(world, server, *words, code=0):
    """The rows, or what stands on stderr if it fails."""
    done = world.floe("group", *words, "-o", "json", "-b", server.address)
    equal(done.returncode, code, f"{words}: {done.stderr}")
    return json.loads(done.stdout)["rows"] if code == 0 else done.stderr.decode()


def fill(world, server, topic, counts):
    make(world, server, topic, len(counts))
    for partition, count in enumerate(counts):
        done = world.floe("produce", topic, "-p", str(partition), "-b", server.address,
                          input="".join(f"{partition}:{n}\n" for n in range(count)).encode())
        equal(done.returncode, 0, str(done.stderr))


def places(rows, *names):
    return [tuple(row[name] for name in names) for row in rows]


def test_describe_shows_members_and_lag_in_records_and_seconds(world):
    need_module("confluent_kafka")
    server = quick(world)
    fill(world, server, "orders", (10, 0, 5))
    equal(group(world, server, "list"), [])
    consumer = confluent(server, "billing", **{"client.id": "till-7"})
    consumer.subscribe(["orders"])
    read(consumer, 15, [])
    from confluent_kafka import TopicPartition
    consumer.commit(offsets=[TopicPartition("orders", 0, 4), TopicPartition("orders", 2, 5)], asynchronous=False)
    until("the group is stable", lambda: consumer.poll(0.1) is None and
          group(world, server, "list")[0]["state"] == "Stable")
    equal(group(world, server, "list"),
          [{"group": "billing", "state": "Stable", "protocol": "range", "members": 1}])
    rows = group(world, server, "describe", "billing")
    equal(list(rows[0]), COLUMNS)
    equal(places(rows, "topic", "partition", "committed", "end", "lag", "client", "host"),
          [("orders", 0, 4, 10, 6, "till-7", "127.0.0.1"), ("orders", 1, None, 0, None, "till-7", "127.0.0.1"),
           ("orders", 2, 5, 5, 0, "till-7", "127.0.0.1")])
    check(rows[0]["member"].startswith("till-7-"), rows)
    check(rows[0]["lag_seconds"] > 0 and rows[1]["lag_seconds"] is None and rows[2]["lag_seconds"] == 0, rows)
    for words in (("seek", "billing", "--to", "start", "--yes"), ("delete", "billing")):
        text = group(world, server, *words, code=1)
        check("has members" in text and "stop them" in text and "FLOE-1702" in text, text)
    equal(places(group(world, server, "describe", "billing"), "committed"), [(4,), (None,), (5,)])
    consumer.close()
    equal(places(group(world, server, "describe", "billing"), "partition", "lag", "member"),
          [(0, 6, None), (2, 0, None)])
    table = world.floe("group", "describe", "billing", "-b", server.address).stdout.decode()
    check("\n\ngroup\tstate\tprotocol\tmembers\nbilling\tEmpty\t\t0\n" in table, table)


def test_lag_in_seconds_is_the_age_of_the_next_record(world):
    server = quick(world)
    make(world, server, "old", 1)
    done = world.floe("produce", "old", "-b", server.address, "-f", "%T %v\\n",
                      input=b"1000000 a\n2000000 b\n")
    equal(done.returncode, 0, str(done.stderr))
    group(world, server, "seek", "g", "--to", "1", "-t", "old", "--yes")
    import time
    age = group(world, server, "describe", "g")[0]["lag_seconds"]
    check(0 <= time.time() - 2000 - age < 600, age)
    equal(world.floe("topic", "trim", "old", "--to", "end", "--yes", "-b", server.address).returncode, 0)
    equal(places(group(world, server, "describe", "g"), "committed", "end", "lag", "lag_seconds"),
          [(1, 2, 0, 0)])


def test_seek_shows_first_and_moves_with_yes(world):
    server = quick(world)
    fill(world, server, "a", (10, 4))
    fill(world, server, "b", (3,))
    words = ("seek", "g", "--topic", "a", "--topic", "b")
    names = ("topic", "partition", "committed", "to", "result")
    equal(places(group(world, server, *words, "--to", "start"), *names),
          [("a", 0, None, 0, "would move"), ("a", 1, None, 0, "would move"), ("b", 0, None, 0, "would move")])
    equal(group(world, server, "list"), [], "a dry run")
    equal(places(group(world, server, *words, "--to", "2", "--yes"), *names),
          [("a", 0, None, 2, "moved"), ("a", 1, None, 2, "moved"), ("b", 0, None, 2, "moved")])
    equal(places(group(world, server, "list"), "group", "state", "members"), [("g", "Empty", 0)])
    done = world.floe("group", "seek", "g", "--to", "end", "-b", server.address, "--dry-run")
    check(b"3 partitions would move" in done.stderr and b"--yes" in done.stderr, done.stderr)
    for to, wanted in (("-1", (9, 3, 2)), ("99", (10, 4, 3)), ("@-1h", (0, 0, 0)), ("@-0s", (10, 4, 3)),
                       ("earliest", (0, 0, 0)), ("latest", (10, 4, 3)), ("end", (10, 4, 3)), ("2", (2, 2, 2))):
        rows = group(world, server, "seek", "g", "--to", to)
        equal([row["to"] for row in rows], list(wanted), to)
        equal([row["result"] for row in rows],
              ["as it is" if n == 2 else "would move" for n in wanted], to)
    rows = group(world, server, "seek", "g", "--to", "end", "-t", "a", "-p", "1", "--yes")
    equal(places(rows, *names), [("a", 1, 2, 4, "moved")])
    equal(places(group(world, server, "describe", "g"), "topic", "partition", "committed", "lag"),
          [("a", 0, 2, 8), ("a", 1, 4, 0), ("b", 0, 2, 1)])
    server.kill()
    server.start()
    equal(places(group(world, server, "describe", "g"), "committed"), [(2,), (4,), (2,)], "after kill -9")
    equal(group(world, server, "delete", "g"), [{"group": "g", "result": "deleted"}])
    equal(group(world, server, "list"), [])


def test_a_moved_group_reads_from_there(world):
    need_module("confluent_kafka")
    server = quick(world)
    fill(world, server, "t", (10,))
    group(world, server, "seek", "g", "--to", "-3", "-t", "t", "--yes")
    consumer = confluent(server, "g")
    consumer.subscribe(["t"])
    equal(read(consumer, 3, []), ["0:7", "0:8", "0:9"])
    consumer.close()


def test_what_is_wrong_is_said_with_a_remedy(world):
    server = quick(world)
    fill(world, server, "t", (1,))
    group(world, server, "seek", "g", "--to", "start", "-t", "t", "--yes")
    for words, code, *parts in (
            (("describe", "nope"), 3, '"nope" does not exist', "floe group list", "FLOE-1701"),
            (("delete", "nope"), 3, '"nope" does not exist', "FLOE-1701"),
            (("seek", "nope", "--to", "start"), 3, '"nope" does not exist', "FLOE-1701"),
            (("seek", "g", "--to", "end", "-t", "nope"), 3, '"nope" does not exist', "FLOE-1401"),
            (("seek", "g", "--to", "end", "-p", "7"), 3, "no partition 7", "--topic", "FLOE-1402"),
            (("seek", "g", "--to", "end", "-p", "7", "-t", "t"), 3, "partition 7", "FLOE-1402"),
            (("seek", "g"), 2, "--to is missing", "FLOE-1002"),
            (("seek", "g", "--to", "soon"), 2, "--to soon", "@-10m", "FLOE-1003"),
            (("seek", "g", "--to", "end", "-p", "x"), 2, "--partition", "FLOE-1003"),
            (("seek", "g", "--to", "end", "--yes", "--dry-run"), 2, "give one of them"),
            (("describe",), 2, "GROUP is missing", "FLOE-1004"),
            (("delete", ""), 2, "GROUP is empty", "FLOE-1004"),
            (("describe", "g", "h"), 2, '"h" is one word too many'),
            (("descrbe", "g"), 2, 'did you mean "group describe"')):
        text = group(world, server, *words, code=code)
        for part in parts:
            check(part in text, f"{words}: {text}")
    offered = world.floe("__complete", "group", "describe", "-b", server.address, "").stdout
    equal(offered, b"g\t\n")
    equal(server.stop(), 0)
    text = group(world, server, "list", code=5)
    check("cannot reach" in text and "Is floe serve running" in text, text)
