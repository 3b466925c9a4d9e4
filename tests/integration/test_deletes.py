"""XDEL and XSETID: what is deleted is gone through every door, also after a kill; streams count as Redis does."""
import random

from fixture import check, consume, equal, need_module, produce
from http_client import get
from test_doors import read_get, read_http, read_kafka, read_resp, read_walrus
from test_resp import cli, client, start



def read_confluent(server, topic):
    library = need_module("confluent_kafka")
    consumer = library.Consumer({"bootstrap.servers": server.address, "group.id": "g", "enable.partition.eof": True})
    consumer.assign([library.TopicPartition(topic, 0, library.OFFSET_BEGINNING)])
    found = []
    while True:
        message = consumer.poll(30)
        check(message is not None, "the end is not reached")
        if message.error():
            equal(message.error().code(), library.KafkaError._PARTITION_EOF)
            consumer.close()
            return found
        found.append(message.value().decode())


def values(server, topic):
    """What each door finds, as values."""
    return {"kafka-python": [value.decode() for _, _, value, _ in read_kafka(server, topic)],
            "kcat": consume(server, topic),
            "confluent": read_confluent(server, topic),
            "http": [value.decode() for _, _, value, _ in read_http(server, topic)],
            "resp": [dict(fields)[b"value"].decode() for fields in read_resp(server, topic)]}


def test_a_deleted_entry_is_gone_through_every_door(world):
    """Single entries, one within a compressed batch of Kafka's, a whole batch, the first and the last one."""
    server = start(world)
    redis = client(server)
    for n in range(3):
        redis.xadd("d", {"value": f"r{n}"})
    produce(server, "d", [f"k{n}" for n in range(6)], "-z", "gzip")
    produce(server, "d", [f"b{n}" for n in range(4)])
    redis.xadd("d", {"value": "last"})
    entries = redis.xrange("d")
    names = {fields[b"value"].decode(): entry for entry, fields in entries}
    equal(len(entries), 14)
    for gone in (["r1"], ["k2", "k3"], ["b0", "b1", "b2", "b3"], ["r0", "last"]):
        equal(redis.xdel("d", *[names[name] for name in gone]), len(gone), gone)
        equal(redis.xdel("d", *[names[name] for name in gone]), 0, "again")
        names = {name: entry for name, entry in names.items() if name not in gone}
        for door, found in values(server, "d").items():
            equal(found, list(names), f"{door}, without {gone}")
    server.kill()
    server.start()
    redis = client(server)
    for door, found in values(server, "d").items():
        equal(found, list(names), f"{door}, after a kill")
    equal(redis.xlen("d"), 5)
    info = redis.xinfo_stream("d")
    equal((info["length"], info["first-entry"][0], info["last-entry"][0]),
          (5, names["r2"], names["k5"]))
    # Offsets and IDs of others stay; the next ones are above all that ever were.
    check(redis.xadd("d", {"value": "next"}) > entries[-1][0], "IDs go back")
    page = get(server, "/v1/topics/d/records?from=0&n=100")
    equal([record["offset"] for record in page["records"]], [2, 3, 4, 7, 8, 14])
    equal(page["next"], 15)
    equal(read_get(server, "d"), [name.encode() for name in [*names, "next"]])
    equal(server.stop(), 0, "exit code")


def test_readers_that_meet_nothing_but_deleted_entries(world):
    """Nobody waits forever, and nobody turns in a circle, where a log ends by entries that are gone."""
    server = start(world)
    redis = client(server)
    ids = [redis.xadd("e", {"value": f"{n}"}) for n in range(300)]
    equal(redis.xdel("e", *ids), 300)
    equal(redis.xlen("e"), 0)
    # kafka-python 2.0.2 alone stumbles over a fetch of batches without records, as compaction leaves them, too.
    equal([read(server, "e") for read in (consume, read_confluent, read_http, read_resp, read_walrus, read_get)], [[]] * 6)
    page = get(server, "/v1/topics/e/records?from=0&n=10")
    equal((page["records"], page["next"], page["end"]), ([], 300, 300))
    equal(redis.xread({"e": "0"}), [])
    equal(redis.execute_command("XREAD", "STREAMS", "e", "+"), [])
    equal(redis.xrevrange("e", count=5), [])
    redis.xgroup_create("e", "g", 0)
    equal(redis.xreadgroup("g", "c", {"e": ">"}), [])
    redis.xadd("e", {"value": "new"})
    equal(read_get(server, "e"), [b"new"])
    equal([fields for _, fields in redis.xreadgroup("g", "c", {"e": ">"})[0][1]], [{b"value": b"new"}])
    server.kill()
    server.start()
    redis = client(server)
    equal(redis.xlen("e"), 1)
    equal(read_confluent(server, "e"), ["new"])
    equal(server.stop(), 0, "exit code")


def test_groups_and_deleted_entries(world):
    server = start(world)
    redis = client(server)
    for n in range(1, 6):
        redis.xadd("x", {"n": n}, id=f"{n}-0")
    redis.xgroup_create("x", "g", 0)
    equal(len(redis.xreadgroup("g", "a", {"x": ">"})[0][1]), 5)
    equal(redis.xdel("x", "2-0", "4-0", "5-0"), 3)
    found = redis.execute_command("XREADGROUP", "GROUP", "g", "a", "STREAMS", "x", "0")
    equal([(entry, fields if fields else None) for entry, fields in found[0][1]],
          [(b"1-0", {b"n": b"1"}), (b"2-0", None), (b"3-0", {b"n": b"3"}), (b"4-0", None), (b"5-0", None)])
    equal(redis.xpending("x", "g")["pending"], 5)
    equal([entry for entry, _ in redis.xclaim("x", "g", "b", 0, ["1-0", "2-0"])], [b"1-0"])
    equal(redis.xpending("x", "g")["pending"], 4)
    found = redis.execute_command("XAUTOCLAIM", "x", "g", "b", "0", "0-0")
    equal([found[0], [entry for entry, _ in found[1]], found[2]], [b"0-0", [b"1-0", b"3-0"], [b"4-0", b"5-0"]])
    equal(redis.xpending("x", "g")["pending"], 2)
    server.kill()
    server.start()
    equal(client(server).xpending("x", "g")["pending"], 2)
    equal(server.stop(), 0, "exit code")


def test_set_ids_survive_a_kill(world):
    server = start(world)
    redis = client(server)
    redis.xadd("s", {"f": "v"}, id="5-1")
    redis.xadd("s", {"f": "v"}, id="5-2")
    redis.xdel("s", "5-1")
    equal(redis.execute_command("XSETID", "s", "9-7", "ENTRIESADDED", "100", "MAXDELETEDID", "7-7"), b"OK")
    for bad, told in ((("9-6",), "smaller than the target stream top item"),
                      (("7-6",), "smaller than current max_deleted_entry_id"),
                      (("9-8", "ENTRIESADDED", "0"), "smaller than the target stream length"),
                      (("9-8", "MAXDELETEDID", "9-9"), "smaller than the provided max_deleted_entry_id"),
                      (("9-8", "ENTRIESADDED", "-1"), "entries_added must be positive"), (("9-8", "5"), "syntax error")):
        check(told in cli(server, "XSETID", "s", *bad), f"{bad}: {cli(server, 'XSETID', 's', *bad)}")
    equal(cli(server, "XSETID", "none", "1-1").strip(), "ERR no such key")
    for _ in range(2):
        info = client(server).xinfo_stream("s")
        equal([info[key] for key in ("length", "last-generated-id")], [1, b"9-7"])
        full = client(server).execute_command("XINFO", "STREAM", "s", "FULL")
        full = full if isinstance(full, dict) else dict(zip(full[::2], full[1::2]))
        equal([full[key] for key in (b"entries-added", b"max-deleted-entry-id", b"recorded-first-entry-id")],
              [100, b"7-7", b"5-2"])
        server.kill()
        server.start()
    equal(client(server).xadd("s", {"f": "v"}, id="9-*"), b"9-8")
    check("equal or smaller" in cli(server, "XADD", "s", "9-7", "f", "v"), "an ID below the one that was set")
    equal(cli(server, "XLEN", "s"), "2")
    equal(server.stop(), 0, "exit code")


class Model:
    """A stream as Redis has it."""

    def __init__(self):
        self.entries, self.last, self.added = [], 0, 0

    def add(self, count):
        for _ in range(count):
            self.last += 1
            self.entries.append(f"{self.last}-0".encode())
            self.added += 1

    def delete(self, ids):
        gone = [entry for entry in self.entries if entry in ids]
        self.entries = [entry for entry in self.entries if entry not in ids]
        return len(gone)

    def trim(self, keep):
        gone = max(0, len(self.entries) - keep)
        self.entries = self.entries[gone:]
        return gone

    def from_id(self, ms):
        return [entry for entry in self.entries if int(entry.split(b"-")[0]) >= ms]


def test_a_stream_with_holes_counts_as_redis_does(world):
    server = start(world)
    redis = client(server)
    choose = random.Random(2024)
    model = Model()
    for turn in range(400):
        what = choose.randrange(10)
        if what < 3 or not model.last:
            before, count = model.last, choose.randrange(1, 12)
            model.add(count)
            for n in range(before + 1, model.last + 1):
                redis.xadd("h", {"n": n}, id=f"{n}-0")
        elif what < 6:
            first = choose.randrange(1, model.last + 1)
            ids = [b"%d-0" % n for n in range(first, first + choose.randrange(1, 9))]
            ids += [b"%d-0" % choose.randrange(1, model.last + 5)]
            equal(redis.xdel("h", *ids), model.delete(ids), f"turn {turn}: XDEL {ids}")
        elif what == 6:
            keep = choose.randrange(0, len(model.entries) + 5) if choose.random() < 0.3 else len(model.entries) - 2
            if keep >= 0:
                equal(redis.xtrim("h", maxlen=keep, approximate=False), model.trim(keep), f"turn {turn}: MAXLEN {keep}")
        elif what == 7:
            ms = choose.randrange(1, 1 + max(1, model.last // 2))
            gone = len(model.entries) - len(model.from_id(ms))
            equal(redis.xtrim("h", minid=f"{ms}-0", approximate=False), gone, f"turn {turn}: MINID {ms}")
            model.entries = model.from_id(ms)
        ms, count = choose.randrange(0, model.last + 2), choose.randrange(1, 20)
        equal(redis.xlen("h"), len(model.entries), f"turn {turn}: XLEN")
        equal([entry for entry, _ in redis.xrange("h", f"{ms}-0", "+", count)], model.from_id(ms)[:count], f"turn {turn}")
        equal([entry for entry, _ in redis.xrevrange("h", "+", f"{ms}-0", count)], model.from_id(ms)[::-1][:count],
              f"turn {turn}: XREVRANGE {ms} COUNT {count}")
        found = redis.xread({"h": f"{ms}-0"}, count=count)
        equal([entry for entry, _ in found[0][1]] if found else [], model.from_id(ms + 1)[:count], f"turn {turn}: XREAD")
        if turn % 100 == 99:
            server.kill()
            server.start()
            redis = client(server)
    info = redis.xinfo_stream("h")
    equal([info["length"], info["last-generated-id"]], [len(model.entries), b"%d-0" % model.last])
    redis.xadd("h", {"n": 0}, id=f"{model.last + 1}-0", maxlen=3, approximate=False)
    equal([entry for entry, _ in redis.xrange("h")], model.entries[-2:] + [b"%d-0" % (model.last + 1)])
    equal(server.stop(), 0, "exit code")
