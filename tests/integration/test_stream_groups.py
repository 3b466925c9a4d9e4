"""Groups of readers of streams with redis-cli and redis-py: delivered once, acknowledged for good, through kills."""
import random
import threading

from fixture import check, equal, need_module
from test_resp import cli, client, raw, start
from wire import resp


def ids(reply):
    return [entry[0] for entry in reply]


def fresh(reply):
    """The entries of the one stream of an XREADGROUP."""
    return reply[0][1] if reply else []


def test_redis_cli_reads_as_a_group(world):
    server = start(world)
    equal(cli(server, "XGROUP", "CREATE", "s", "g", "$", "MKSTREAM"), "OK")
    equal(cli(server, "XGROUP", "CREATE", "s", "g", "$").strip(), "BUSYGROUP Consumer Group name already exists")
    for n in range(1, 6):
        cli(server, "XADD", "s", f"1-{n}", "n", str(n))
    equal(cli(server, "XREADGROUP", "GROUP", "g", "a", "COUNT", "2", "STREAMS", "s", ">").split(),
          ["s", "1-1", "n", "1", "1-2", "n", "2"])
    equal(cli(server, "XREADGROUP", "GROUP", "g", "b", "STREAMS", "s", ">").split()[1::3], ["1-3", "1-4", "1-5"])
    equal(cli(server, "XREADGROUP", "GROUP", "g", "b", "BLOCK", "10", "STREAMS", "s", ">"), "")
    equal(cli(server, "XPENDING", "s", "g").split(), ["5", "1-1", "1-5", "a", "2", "b", "3"])
    equal(cli(server, "XACK", "s", "g", "1-1", "1-3", "9-9"), "2")
    equal(cli(server, "XREADGROUP", "GROUP", "g", "a", "STREAMS", "s", "0").split(), ["s", "1-2", "n", "2"])
    equal(cli(server, "XCLAIM", "s", "g", "c", "0", "1-2", "1-4").split()[0::3], ["1-2", "1-4"])
    equal(cli(server, "XAUTOCLAIM", "s", "g", "d", "0", "1-4", "COUNT", "1", "JUSTID").split(), ["1-5", "1-4"])
    equal(cli(server, "XGROUP", "DELCONSUMER", "s", "g", "c"), "1")
    equal(cli(server, "XPENDING", "s", "g").split(), ["2", "1-4", "1-5", "b", "1", "d", "1"])
    equal(cli(server, "XGROUP", "DESTROY", "s", "g"), "1")
    equal(cli(server, "XGROUP", "DESTROY", "s", "g"), "0")
    equal(server.stop(), 0, "exit code")


def test_what_groups_cannot_do_is_said(world):
    server = start(world)
    redis = client(server)
    long = "n" * 250
    redis.xadd("s", {"f": "v"}, id="5-1")
    redis.xgroup_create("s", "g", "0")
    for words, told in (
            (("XGROUP", "CREATE", "none", "g", "$"), "requires the key to exist"),
            (("XGROUP", "CREATE", "s", long, "$"), "1 to 249 bytes"),
            (("XGROUP", "CREATE", "s", "", "$"), "1 to 249 bytes"),
            (("XGROUP", "CREATE", "s", "h", "$", "ENTRIESREAD", "-3"), "must be positive or -1"),
            (("XGROUP", "CREATE", "s", "h", "x"), "Invalid stream ID"),
            (("XGROUP", "CREATE", "s", "h"), "wrong number of arguments for 'xgroup|CREATE'"),
            (("XGROUP", "WHAT", "s", "h"), "unknown subcommand"),
            (("XGROUP", "SETID", "s", "none", "0"), "NOGROUP"),
            (("XGROUP", "CREATECONSUMER", "s", "none", "a"), "NOGROUP"),
            (("XREADGROUP", "GROUP", "g", "a", "STREAMS", "s", "$"), "The $ ID is meaningless"),
            (("XREADGROUP", "GROUP", "g", "a", "STREAMS", "s", "+"), "The + ID is meaningless"),
            (("XREADGROUP", "GROUP", "g", "a", "STREAMS", "s", "5-x"), "Invalid stream ID"),
            (("XREADGROUP", "GROUP", "g", long, "STREAMS", "s", ">"), "1 to 249 bytes"),
            (("XREADGROUP", "GROUP", "none", "a", "STREAMS", "s", ">"), "NOGROUP No such key 's'"),
            (("XREADGROUP", "GROUP", "g", "a", "STREAMS", "none", ">"), "NOGROUP No such key 'none'"),
            (("XREADGROUP", "GROUP", "g", "a", "BLOCK", "-1", "STREAMS", "s", ">"), "timeout is negative"),
            (("XREADGROUP", "COUNT", "1", "NOACK", "NOACK", "STREAMS", "s", ">"), "Missing GROUP"),
            (("XACK", "s", "g", "5-1", "what"), "Invalid stream ID"),
            (("XPENDING", "s", "none"), "NOGROUP"),
            (("XPENDING", "s", "g", "-", "+"), "syntax error"),
            (("XPENDING", "s", "g", "-", "+", "many"), "not an integer"),
            (("XCLAIM", "s", "g", "a", "soon", "5-1"), "Invalid min-idle-time"),
            (("XCLAIM", "s", "g", "a", "0", "5-1", "WHAT"), "Unrecognized XCLAIM option 'WHAT'"),
            (("XCLAIM", "s", "none", "a", "0", "5-1"), "NOGROUP"),
            (("XAUTOCLAIM", "s", "g", "a", "0", "0", "COUNT", "0"), "COUNT must be > 0"),
            (("XAUTOCLAIM", "s", "none", "a", "0", "0"), "NOGROUP"),
            (("XINFO", "CONSUMERS", "s", "none"), "NOGROUP"),
            (("XINFO", "GROUPS", "none"), "no such key")):
        try:
            got = redis.execute_command(*words)
        except need_module("redis").ResponseError as error:
            got = str(error)
        check(told in str(got), f"{words}: {got}")
    equal(redis.xack("s", "none", "5-1"), 0)
    equal(redis.xack("none", "g", "5-1"), 0)
    equal(redis.xpending("s", "g")["pending"], 0, "nothing of that was done")
    equal(server.stop(), 0, "exit code")


def test_several_streams_and_no_ack(world):
    redis = client(start(world))
    for key in ("a", "b", "c"):
        redis.xgroup_create(key, "g", "$", mkstream=True)
        redis.xadd(key, {"key": key}, id="1-1")
    reply = redis.xreadgroup("g", "r", {"a": ">", "b": ">", "c": ">"}, count=10)
    equal([(key, ids(entries)) for key, entries in reply], [(key.encode(), [b"1-1"]) for key in ("a", "b", "c")])
    for key in ("a", "b", "c"):
        redis.xadd(key, {"key": key}, id="2-1")
    redis.xgroup_destroy("c", "g")
    try:
        redis.xreadgroup("g", "r", {"a": ">", "c": ">"})
        check(False, "a group that is gone was read")
    except need_module("redis").ResponseError as error:
        check("NOGROUP" in str(error) or "No such key" in str(error), error)
    equal(redis.xpending("a", "g")["pending"], 1, "of one that fails nothing is delivered")
    equal(ids(fresh(redis.xreadgroup("g", "r", {"a": ">"}, noack=True))), [b"2-1"])
    equal(redis.xpending("a", "g")["pending"], 1, "without NOACK")
    equal(redis.xinfo_groups("a")[0]["last-delivered-id"], b"2-1")


def test_resp3_has_its_shapes(world):
    server = start(world)
    redis = client(server)
    redis.xadd("s", {"f": "v"}, id="1-1")
    redis.xgroup_create("s", "g", "0")
    got = raw(server, resp("HELLO", 3) + resp("XREADGROUP", "GROUP", "g", "r", "STREAMS", "s", ">")
              + resp("XREADGROUP", "GROUP", "g", "r", "STREAMS", "s", ">") + resp("XPENDING", "s", "g")
              + resp("XINFO", "GROUPS", "s") + resp("XAUTOCLAIM", "s", "g", "r", 0, "-", "JUSTID")
              + resp("QUIT"), until=b"+OK\r\n")
    rest = got[got.index(b"modules"):]
    for part in (b"%1\r\n$1\r\ns\r\n*1\r\n*2\r\n$3\r\n1-1\r\n*2\r\n$1\r\nf\r\n$1\r\nv\r\n_\r\n",
                 b"*4\r\n:1\r\n$3\r\n1-1\r\n$3\r\n1-1\r\n*1\r\n*2\r\n$1\r\nr\r\n$1\r\n1\r\n",
                 b"*1\r\n%6\r\n$4\r\nname\r\n$1\r\ng\r\n", b"*3\r\n$3\r\n0-0\r\n*1\r\n$3\r\n1-1\r\n*0\r\n"):
        check(part in rest, f"{part} in {rest}")


def test_a_deleted_stream_takes_its_groups_along(world):
    server = start(world)
    redis = client(server)
    redis.xgroup_create("s", "g", "$", mkstream=True)
    redis.xadd("s", {"f": "v"})
    redis.xreadgroup("g", "r", {"s": ">"})
    with server.connect(30) as waiting:
        waiting.sendall(resp("XREADGROUP", "GROUP", "g", "r", "BLOCK", "0", "STREAMS", "s", ">"))
        while blocked(server) == 0:
            pass
        redis.delete("s")
        check(waiting.recv(1000).startswith(b"-NOGROUP"), "who waits hears of it")
    redis.xadd("s", {"f": "v"})
    equal(redis.xinfo_groups("s"), [], "groups of another stream with this name")
    redis.xgroup_create("s", "g", "0")
    equal(redis.xpending("s", "g")["pending"], 0)


def blocked(server):
    """INFO tells of the core of its connection: several ask."""
    total = 0
    for _ in range(4):
        text = raw(server, resp("INFO", "clients") + resp("QUIT"), until=b"+OK\r\n").decode()
        total += int(text.split("blocked_clients:")[1].split("\r")[0])
    return total


def test_who_waits_is_served_once_each(world):
    """Many wait for one group; every entry comes to one of them, and a destroyed group lets all go."""
    server = start(world)
    redis = client(server)
    redis.xgroup_create("s", "g", "$", mkstream=True)
    got, told, lock = [], [], threading.Lock()

    def wait(name):
        own = client(server)
        try:
            while True:
                entries = fresh(own.xreadgroup("g", name, {"s": ">"}, count=1, block=0))
                with lock:
                    got.extend(ids(entries))
        except need_module("redis").ResponseError as error:
            told.append(str(error))
    threads = [threading.Thread(target=wait, args=(f"r{n}",)) for n in range(8)]
    for thread in threads:
        thread.start()
    sent = [redis.xadd("s", {"n": n}) for n in range(200)]
    while True:
        with lock:
            if len(got) >= 200:
                break
    redis.xgroup_destroy("s", "g")
    for thread in threads:
        thread.join(60)
    equal(sorted(got), sorted(sent), "each once")
    equal(len(told), 8, "all were let go")
    check(all("No such key" in text or "NOGROUP" in text for text in told), told)


def test_pending_entries_survive_kills(world):
    """Nothing that was delivered is lost, nothing acknowledged comes back; over three kills, at any time."""
    server = start(world)
    draw = random.Random(5)
    redis = client(server)
    redis.xgroup_create("s", "g", "$", mkstream=True)
    added, pending, acked, unsure = [], {}, set(), set()
    for _ in range(3):
        redis = client(server)
        for n in range(25):
            added += [redis.xadd("s", {"n": n}) for _ in range(draw.randrange(1, 30))]
            reader = f"r{draw.randrange(3)}"
            for entry in ids(fresh(redis.xreadgroup("g", reader, {"s": ">"}, count=draw.randrange(1, 40)))):
                check(entry not in pending and entry not in acked, f"{entry} came twice")
                pending[entry] = reader.encode()
            some = draw.sample(sorted(pending), len(pending) // 2)
            if some:
                equal(redis.xack("s", "g", *some), len(some))
                acked |= set(some)
                for entry in some:
                    del pending[entry]
        # In the midst of it: what was asked and not answered may have been done, or not.
        with server.connect(30) as connection:
            connection.sendall(resp("XREADGROUP", "GROUP", "g", "rx", "COUNT", 5, "STREAMS", "s", ">"))
            server.kill()
        server.start()
        redis = client(server)
        there = {entry["message_id"]: entry["consumer"]
                 for entry in redis.xpending_range("s", "g", "-", "+", 100000)}
        unsure = {entry for entry in there if entry not in pending}
        check(all(there[entry] == b"rx" for entry in unsure), "only what was asked last")
        equal({entry: reader for entry, reader in there.items() if entry not in unsure}, pending)
        check(not acked & set(there), "what was acknowledged is gone")
        pending.update({entry: b"rx" for entry in unsure})
    rest = ids(fresh(redis.xreadgroup("g", "end", {"s": ">"}, count=100000)))
    equal(sorted(acked | set(pending) | set(rest)), sorted(added), "each entry was delivered, or is now")
    equal(len(acked) + len(pending) + len(rest), len(added), "and once")
    own = [entry for reader in (b"r0", b"r1", b"r2", b"rx")
           for entry in ids(fresh(redis.xreadgroup("g", reader, {"s": "0"}, count=100000)))]
    equal(sorted(own), sorted(pending), "and its reader gets it again")
    equal(server.stop(), 0, "exit code")


def test_many_pending_entries_are_kept(world):
    """More records of changes than a batch has; then all acknowledged, claimed and dropped in one go each."""
    server = start(world)
    redis = client(server)
    redis.xgroup_create("s", "g", "$", mkstream=True)
    pipe = redis.pipeline(transaction=False)
    for n in range(20000):
        pipe.xadd("s", {"n": n})
    added = pipe.execute()
    read = []
    while len(read) < len(added):
        read += ids(fresh(redis.xreadgroup("g", "r", {"s": ">"}, count=4000)))
    equal(read, added)
    equal(redis.xack("s", "g", *read[::2]), 10000)
    server.kill()
    server.start()
    redis = client(server)
    equal([entry["message_id"] for entry in redis.xpending_range("s", "g", "-", "+", 100000)], added[1::2])
    claimed = redis.xclaim("s", "g", "other", 0, added[1::2], justid=True)
    equal(claimed, added[1::2])
    equal(redis.xgroup_delconsumer("s", "g", "other"), 10000)
    server.kill()
    server.start()
    redis = client(server)
    equal(redis.xpending("s", "g")["pending"], 0)
    equal([c["name"] for c in redis.xinfo_consumers("s", "g")], [b"r"])
    equal(server.stop(), 0, "exit code")
