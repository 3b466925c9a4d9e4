"""floe topic trim and usage, and every form of consume's --from and --until."""
import json
import time

from fixture import check, equal, kcat


def rows(done, code=0):
    equal(done.returncode, code, str(done.stderr))
    return json.loads(done.stdout)["rows"]


def fill(world, server, topic, counts):
    """Partition i gets counts[i] records, "i:0" and on."""
    equal(world.floe("topic", "create", topic, "-p", str(len(counts)), "-b", server.address).returncode, 0)
    for partition, count in enumerate(counts):
        text = "".join(f"{partition}:{n}\n" for n in range(count)).encode()
        if count:
            equal(world.floe("produce", topic, "-p", str(partition), "-b", server.address,
                             input=text).returncode, 0)


def bounds(world, server, topic):
    return [(row["first"], row["next_offset"]) for row in
            rows(world.floe("topic", "describe", topic, "-o", "json", "-b", server.address))]


def trim(world, server, topic, *words, code=0):
    return [(row["partition"], row["to"], row["records"], row["result"]) for row in
            rows(world.floe("topic", "trim", topic, "-o", "json", "-b", server.address, *words), code)]


def test_trim_shows_first_and_deletes_with_yes(world):
    server = world.server()
    fill(world, server, "t", (10, 4, 0))
    plan = [(0, 6, 6, "would go"), (1, 4, 4, "would go"), (2, 0, 0, "nothing to do")]
    equal(trim(world, server, "t", "--to", "6"), plan)
    done = world.floe("topic", "trim", "t", "--to", "6", "-b", server.address)
    equal(done.returncode, 0)
    check(b"10 records would go" in done.stderr and b"--yes" in done.stderr, done.stderr)
    equal(bounds(world, server, "t"), [(0, 10), (0, 4), (0, 0)], "a dry run")
    equal(trim(world, server, "t", "--to", "6", "--yes"),
          [(0, 6, 6, "trimmed"), (1, 4, 4, "trimmed"), (2, 0, 0, "nothing to do")])
    equal(bounds(world, server, "t"), [(6, 10), (4, 4), (0, 0)])
    equal(world.floe("consume", "t", "--until", "end", "-p", "0", "-b", server.address).stdout,
          b"0:6\n0:7\n0:8\n0:9\n")
    equal(trim(world, server, "t", "--to", "6", "--yes")[0], (0, 6, 0, "nothing to do"))
    equal(trim(world, server, "t", "--to", "3", "--yes")[0], (0, 6, 0, "nothing to do"))


def test_trim_takes_every_place_and_one_partition(world):
    server = world.server()
    fill(world, server, "t", (10, 4))
    equal(trim(world, server, "t", "--to", "-3"), [(0, 7, 7, "would go"), (1, 1, 1, "would go")])
    equal(trim(world, server, "t", "--to", "-100"), [(n, 0, 0, "nothing to do") for n in (0, 1)])
    equal(trim(world, server, "t", "--to", "99"), [(0, 10, 10, "would go"), (1, 4, 4, "would go")])
    equal(trim(world, server, "t", "--to", "@0"), [(n, 0, 0, "nothing to do") for n in (0, 1)])
    equal(trim(world, server, "t", "--to", "@-0s"), [(0, 10, 10, "would go"), (1, 4, 4, "would go")])
    equal(trim(world, server, "t", "--to", "@-1h"), [(n, 0, 0, "nothing to do") for n in (0, 1)])
    equal(trim(world, server, "t", "--to", "end", "-p", "1", "--yes"), [(1, 4, 4, "trimmed")])
    equal(bounds(world, server, "t"), [(0, 10), (4, 4)])
    server.stop()
    server.start()
    equal(bounds(world, server, "t"), [(0, 10), (4, 4)], "after a restart")


def test_trim_refuses_what_it_does_not_understand(world):
    server = world.server(settings={"topic.auto.create": "false"})
    at = ("-b", server.address)
    fill(world, server, "t", (1,))
    for words, code, hint in ((("t",), 2, b"--to is missing"), (("t", "--to", "start"), 2, b"first offset"),
                              (("t", "--to", "soon"), 2, b"soon"), (("t", "--to", "@2026-02-30"), 2, b"@TIME"),
                              (("t", "--to", "end", "-p", "7"), 3, b"no partition 7"),
                              (("t", "--to", "end", "-p", "x"), 2, b"whole number"),
                              (("nope", "--to", "end", "--yes"), 3, b"floe topic create nope"),
                              ((), 2, b"NAME is missing")):
        done = world.floe("topic", "trim", *words, *at)
        equal(done.returncode, code, done)
        check(hint in done.stderr, done.stderr)
    equal(bounds(world, server, "t"), [(0, 1)])


def test_usage_counts_records_and_times(world):
    server = world.server()
    before = int(time.time() * 1000) - 1000
    fill(world, server, "t", (3, 0))
    fill(world, server, "u", (2,))
    kcat("-P", "-b", server.address, "-t", "old", "-p", "0", input=b"x\n")
    found = rows(world.floe("topic", "usage", "-o", "json", "-b", server.address))
    equal(sorted((r["topic"], r["partition"], r["records"]) for r in found),
          [("old", 0, 1), ("t", 0, 3), ("t", 1, 0), ("u", 0, 2)])
    for row in found:
        times = (row["oldest"], row["newest"])
        if row["records"] == 0:
            equal(times, (None, None))
            check(row["bytes"] is not None and row["bytes"] >= 0, row)
        else:
            check(row["bytes"] > row["records"], row)
            check(before <= times[0] <= times[1] <= time.time() * 1000 + 1000, row)
    only = rows(world.floe("topic", "usage", "u", "-o", "json", "-b", server.address))
    equal([(row["topic"], row["first"], row["next_offset"]) for row in only], [("u", 0, 2)])
    table = world.floe("topic", "usage", "u", "-b", server.address).stdout.decode().splitlines()
    equal(table[0].split("\t"), ["topic", "partition", "first", "next_offset", "records", "oldest", "newest", "bytes"])
    cells = table[1].split("\t")
    check("T" in cells[5] and cells[6].endswith("Z") and int(cells[7]) > 0, table)
    trim(world, server, "t", "--to", "2", "--yes")
    row = rows(world.floe("topic", "usage", "t", "-o", "json", "-b", server.address))[0]
    equal((row["first"], row["records"], row["oldest"] == row["newest"]), (2, 1, True))
    equal(world.floe("topic", "usage", "nope", "-b", server.address).returncode, 3)
    equal(world.floe("group", "seek", "g", "--to", "end", "-t", "u", "--yes", "-b", server.address).returncode, 0)
    own = "__consumer_offsets"
    check(own.encode() not in world.floe("topic", "usage", "-b", server.address).stdout, "the server's own is shown")
    equal(len(rows(world.floe("topic", "usage", own, "-o", "json", "-b", server.address))), 16)


def test_consume_begins_and_ends_where_it_is_told(world):
    server = world.server(settings={"topic.auto.create": "false"})
    at = ("-b", server.address)
    fill(world, server, "t", (10,))
    trim(world, server, "t", "--to", "2", "--yes")
    stamps = [json.loads(line)["timestamp"] for line in
              world.floe("consume", "t", "--until", "end", "-o", "jsonl", *at).stdout.splitlines()]

    def consume(*words, code=0):
        done = world.floe("consume", "t", *words, *at)
        equal(done.returncode, code, str(done.stderr))
        return [int(line.split(b":")[1]) for line in done.stdout.splitlines()]

    whole = list(range(2, 10))
    equal(consume("--until", "end"), whole)
    equal(consume("--from", "start", "--until", "end"), whole)
    equal(consume("--from", "end", "--until", "end"), [])
    equal(consume("--from", "5", "--until", "end"), [5, 6, 7, 8, 9])
    equal(consume("--from", "10", "--until", "end"), [])
    equal(consume("--from", "-3", "--until", "end"), [7, 8, 9])
    equal(consume("--from", "-0", "--until", "end"), [])
    equal(consume("--from", "-9223372036854775807", "--until", "end"), whole)
    equal(consume("--from", "3", "--until", "5"), [3, 4])
    equal(consume("--until", "5"), [2, 3, 4])
    equal(consume("--from", "5", "--until", "5"), [])
    equal(consume("--from", "start", "-n", "2"), [2, 3])
    equal(consume("--from", f"@{stamps[0]}", "--until", "end"), whole)
    equal(consume("--from", f"@{stamps[-1] + 1}", "--until", "end"), [])
    equal(consume("--from", "@2020-01-01", "--until", "end"), whole)
    equal(consume("--from", "@2020-01-01T00:00:00.5+02:00", "--until", "end"), whole)
    equal(consume("--from", "@-1h", "--until", "end"), whole)
    equal(consume("--from", "1", "--until", "5", code=1), [])  # Was trimmed.
    check(b"there is no offset 1;" in world.floe("consume", "t", "--from", "1", *at).stderr, "no offset")
    equal(consume("--from", "11", "--until", "20", code=1), [])  # Was never written.
    for words in (("--from", "later"), ("--from", "@noon"), ("--from", "@2026-02-30"), ("--until", "-1"),
                  ("--until", "@-1h"), ("--until", "start"), ("-n", "0"), ("-n", "-1"), ("-p", "-1")):
        equal(consume(*words, code=2), [], str(words))
