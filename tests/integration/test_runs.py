"""XADDs and PUTs in a row, which are one batch: each has its own answer, its own ID, its own error."""
import os
import signal
import threading
import time

from fixture import check, consume, counters, equal, need_module
from test_directory import SMALL, fill, small_disk
from test_resp import client, raw, start
from wire import resp


def key_of(id):
    return tuple(map(int, id.split(b"-")))


def answers(data):
    """The lines of simple answers; of a bulk string what is in it."""
    found, lines = [], data.split(b"\r\n")[:-1]
    while lines:
        line = lines.pop(0)
        found.append(lines.pop(0) if line[:1] == b"$" and line != b"$-1" else line)
    return found


def send(server, *commands):
    """All at once; their answers."""
    return answers(raw(server, b"".join(resp(*words) for words in commands) + resp("QUIT"), b"+OK\r\n"))[:-1]


def appends(server):
    cores = counters(server)
    return [sum(core[name] for core in cores) for name in ("requests", "appends", "append_records")]


def test_a_run_is_one_batch_of_many_entries(world):
    server = start(world)
    client(server).xadd("s", {"n": "first"}, id="5-1")
    before = appends(server)
    ids = send(server, *[("XADD", "s", "*", "n", n) for n in range(300)])
    equal(ids, sorted(set(ids), key=key_of), "IDs rise")
    equal(len(ids), 300)
    after = appends(server)
    equal(after[2] - before[2], 300, "records")
    check(after[1] - before[1] <= 100, f"{after[1] - before[1]} appends")
    check(after[0] - before[0] >= 301, "each command is a request")
    equal(client(server).xrange("s", "(5-1"), [(id, {b"n": b"%d" % n}) for n, id in enumerate(ids)])
    for at in (0, 1, 150, 299):  # Each is found by its ID, in the middle of a batch, too.
        equal(client(server).xrange("s", ids[at], ids[at]), [(ids[at], {b"n": b"%d" % at})])
    offsets = send(server, *[("PUT", "s", f"value {n}") for n in range(40)])
    equal(offsets, [b":%d" % (301 + n) for n in range(40)])
    equal(consume(server, "s")[-40:], [f"value {n}" for n in range(40)])
    equal(server.stop(), 0, "exit code")


def test_runs_of_several_keys_keep_their_order(world):
    server = start(world)
    pipe = client(server).pipeline(transaction=False)
    wanted = {f"k{key}": [] for key in range(3)}
    for n in range(3000):
        key = f"k{n // 7 % 3 if n % 2000 < 1000 else n % 3}"
        fields = {"n": str(n), "pad": "x" * (n % 300)} | ({"more": "1"} if n % 5 == 0 else {})
        wanted[key].append((n, fields))
        pipe.xadd(key, fields)
    ids = pipe.execute()
    for key, entries in wanted.items():
        found = client(server).xrange(key)
        equal([id for id, _ in found], [ids[n] for n, _ in entries], f"IDs of {key}")
        equal([fields for _, fields in found],
              [{name.encode(): value.encode() for name, value in fields.items()} for _, fields in entries])
        equal([id for id, _ in found], sorted({id for id, _ in found}, key=key_of))
    equal(server.stop(), 0, "exit code")


def test_options_hold_for_a_run_and_others_look_between(world):
    server = start(world)
    found = send(server, *[("XADD", "none", "NOMKSTREAM", "*", "f", "v")] * 3, ("EXISTS", "none"))
    equal(found, [b"$-1"] * 3 + [b":0"])
    add, capped = ("XADD", "s", "*", "f", "v"), ("XADD", "s", "MAXLEN", "=", "5", "*", "f", "v")
    found = send(server, add, add, add, ("XLEN", "s"), add, add, ("XLEN", "s"), *[capped] * 4, ("XLEN", "s"),
                 *[("XADD", "s", "MAXLEN", "0", "*", "f", "v")] * 2, ("XLEN", "s"), add, ("XLEN", "s"))
    equal([line for line in found if b"-" not in line], [b":3", b":5", b":5", b":0", b":1"])
    equal(len([line for line in found if b"-" in line]), 12)
    newest = send(server, add, add, ("XADD", "s", "99999999999999-*", "f", "v"), ("XADD", "s", "99999999999999-*", "f", "v"),
                  add, add, ("XADD", "s", "5-1", "*", "v"), ("XADD", "s", "5-1", "*", "v"))
    equal(newest[2:6], [b"99999999999999-%d" % seq for seq in range(4)])
    check(all(line.startswith(b"-ERR The ID specified in XADD is equal or smaller") for line in newest[6:]), newest)
    least = newest[3]
    found = send(server, *[("XADD", "s", "MINID", least, "*", "f", "v")] * 3, ("XLEN", "s"))
    equal(found[3], b":6")
    equal(client(server).xrange("s")[0][0], least)
    wrong = send(server, *[("XADD", "s", "*", "f")] * 3, *[("XADD", "s", "MAXLEN", "*", "*", "f", "v")] * 2)
    check(all(line.startswith(b"-ERR wrong number of arguments") for line in wrong[:3]), wrong)
    equal(wrong[3:], [b"-ERR value is not an integer or out of range"] * 2)
    equal(server.stop(), 0, "exit code")


def test_replies_that_nobody_wants(world):
    server = start(world)
    add = resp("XADD", "s", "*", "f", "v")
    client(server).xadd("s", {"f": "v"})
    got = raw(server, resp("CLIENT", "REPLY", "SKIP") + add * 3 + resp("XLEN", "s") + resp("QUIT"), b"+OK\r\n")
    found = answers(got)
    equal([len(found), found[2:]], [4, [b":4", b"+OK"]])
    equal(found[:2], [id for id, _ in client(server).xrange("s")][2:])
    got = raw(server, resp("CLIENT", "REPLY", "OFF") + add * 3 + resp("CLIENT", "REPLY", "ON") +
              resp("XLEN", "s") + resp("QUIT"), b":7\r\n+OK\r\n")
    equal(answers(got), [b"+OK", b":7", b"+OK"])
    got = raw(server, resp("CLIENT", "REPLY", "SKIP") + resp("PUT", "s", "a") * 2 + resp("QUIT"), b"+OK\r\n")
    equal(answers(got), [b":8", b"+OK"])
    equal(server.stop(), 0, "exit code")


def test_an_entry_that_is_refused_is_refused_alone(world):
    server = start(world)
    for topic, setting in (("small", "max.message.bytes=1500"), ("keyed", "cleanup.policy=compact")):
        world.floe("topic", "create", topic, "-p", "1", "--config", setting, "-b", server.address)
    sizes = [(n * 37) % 700 if n % 10 else 3000 for n in range(100)]
    found = send(server, *[("XADD", "small", "*", "value", "x" * size) for size in sizes])
    for size, line in zip(sizes, found):
        check(line.startswith(b"-ERR the entry is larger than max.message.bytes") == (size == 3000), (size, line))
    equal([len(value) for value in consume(server, "small")], [size for size in sizes if size != 3000])
    names = ["key" if n % 3 else "other" for n in range(60)]
    found = send(server, *[("XADD", "keyed", "*", name, n) for n, name in enumerate(names)])
    for name, line in zip(names, found):
        check(line.startswith(b"-ERR a record without a key") == (name == "other"), (name, line))
    equal(client(server).xlen("keyed"), 40)
    equal(server.stop(), 0, "exit code")


def test_a_topic_that_goes_in_between(world):
    server = start(world)
    add = ("XADD", "s", "*", "f", "v")
    found = send(server, *[add] * 5, ("DEL", "s"), *[add] * 5, ("XLEN", "s"))
    equal([found[5], found[11]], [b":1", b":5"])
    equal(len([line for line in found if b"-" in line]), 10)
    stop = threading.Event()

    def delete():
        while not stop.wait(0.005):
            client(server).delete("gone")
    deleter = threading.Thread(target=delete)
    deleter.start()
    rounds = taken = refused = 0
    while rounds < 8 or (rounds < 1000 and not (taken and refused)):
        rounds += 1
        found = send(server, *[("XADD", "gone", "*", "f", "v")] * 50)
        equal(len(found), 50)
        taken += len([line for line in found if line[:1] != b"-"])
        refused += len([line for line in found if line[:1] == b"-"])
    stop.set()
    deleter.join(60)
    check(taken > 0 and refused > 0 and taken + refused == 50 * rounds, (rounds, taken, refused))
    equal(len(set(send(server, *[("XADD", "gone", "*", "f", "v")] * 5))), 5)
    equal(server.stop(), 0, "exit code")


def test_a_full_disk_refuses_each_entry_of_a_run(world):
    with small_disk(world) as place:
        ballast = os.path.join(place, "ballast")
        server = world.server("--listen", "any://127.0.0.1:0", data=os.path.join(place, "data"), settings=SMALL)
        ids = send(server, *[("XADD", "s", "*", "n", n) for n in range(20)])
        fill(ballast)
        entry = "x" * 500
        acked, refused = list(ids), []
        for _ in range(2000):
            found = send(server, *[("XADD", "s", "*", "pad", entry)] * 40)
            equal(len(found), 40)
            acked += [line for line in found if line[:1] != b"-"]
            refused = [line for line in found if line[:1] == b"-"]
            if len(refused) == 40:
                break
        equal(len(refused), 40, "the disk does not get full")
        check(all(line.startswith((b"-MISCONF", b"-ERR outcome unknown")) for line in refused), refused)
        check({id for id, _ in client(server).xrange("s")} >= set(acked), "an acked entry is missing")
        os.unlink(ballast)
        more = send(server, *[("XADD", "s", "*", "pad", entry)] * 40)
        equal([line for line in more if line[:1] == b"-"], [], "with space again")
        server.kill()
        server.start()
        found = [id for id, _ in client(server).xrange("s")]
        check(set(found) >= set(acked + more), "an acked entry is missing after a restart")
        equal(found, sorted(set(found), key=key_of))
        equal(server.stop(), 0)


def test_no_acked_entry_of_a_run_is_lost_by_a_kill(world):
    server = start(world)
    for turn in range(3):
        acked, threads, begun = [{} for _ in range(4)], [], threading.Event()

        def write(mine, name):
            redis = need_module("redis")
            n = 0
            try:
                r = client(server)
                while True:
                    pipe = r.pipeline(transaction=False)
                    values = [f"{name}-{n + i}" for i in range(50)]
                    for value in values:
                        pipe.xadd("s", {"v": value})
                    mine.update(zip(pipe.execute(), values))
                    n += 50
                    begun.set()
            except redis.exceptions.RedisError:
                return
        for at, mine in enumerate(acked):
            threads.append(threading.Thread(target=write, args=(mine, f"{turn}-{at}")))
            threads[-1].start()
        check(begun.wait(30), "nothing is acked")
        time.sleep(0.3)
        os.kill(server.process.pid, signal.SIGKILL)
        server.kill()
        for thread in threads:
            thread.join(30)
        server.start()
        found = client(server).xrange("s")
        kept = {id: fields[b"v"].decode() for id, fields in found}
        for mine in acked:
            for id, value in mine.items():
                equal(kept.get(id), value, id)
        equal([id for id, _ in found], sorted(kept, key=key_of))
    equal(server.stop(), 0, "exit code")
