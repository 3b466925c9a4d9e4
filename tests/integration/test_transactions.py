"""MULTI, EXEC, DISCARD, WATCH: what is put aside, what is refused, what others see of it."""
import random
import threading
import time

from fixture import check, counters, equal
from test_resp import cli, client, raw, start
from wire import resp

SHARDS = ("ERR EXEC keys are owned by different shards; use one topic per transaction, or a pipeline "
          "without MULTI")


def send(server, *commands, until=None):
    return raw(server, b"".join(resp(*words) for words in commands) + resp("QUIT"), until)


def test_commands_are_put_aside_and_run(world):
    server = start(world)
    equal(send(server, ("MULTI",), ("XADD", "s", "1-1", "f", "v"), ("XLEN", "s"), ("PING",), ("EXEC",)),
          b"+OK\r\n+QUEUED\r\n+QUEUED\r\n+QUEUED\r\n*3\r\n$3\r\n1-1\r\n:1\r\n+PONG\r\n+OK\r\n")
    equal(send(server, ("MULTI",), ("XADD", "s", "1-2", "f", "v"), ("DISCARD",), ("XLEN", "s")),
          b"+OK\r\n+QUEUED\r\n+OK\r\n:1\r\n+OK\r\n")
    equal(send(server, ("MULTI",), ("EXEC",)), b"+OK\r\n*0\r\n+OK\r\n")
    # An error at run time is one element; what is behind it runs.
    equal(send(server, ("MULTI",), ("XADD", "s", "1-1", "f", "v"), ("XADD", "s", "1-2", "f", "v"), ("EXEC",)),
          b"+OK\r\n+QUEUED\r\n+QUEUED\r\n*2\r\n"
          b"-ERR The ID specified in XADD is equal or smaller than the target stream top item\r\n"
          b"$3\r\n1-2\r\n+OK\r\n")
    equal(send(server, ("XGROUP", "CREATE", "s", "g", "0"), ("MULTI",), ("XACK", "s", "g", "no-id"), ("EXEC",)),
          b"+OK\r\n+OK\r\n+QUEUED\r\n*1\r\n-ERR Invalid stream ID specified as stream command argument\r\n+OK\r\n")
    # Nothing waits within, and a map is one in RESP3.
    equal(send(server, ("MULTI",), ("XREAD", "BLOCK", "0", "STREAMS", "s", "$"), ("HELLO", "3"),
               ("XREAD", "STREAMS", "s", "1-1"), ("EXEC",)).split(b"\r\n")[4:6], [b"*3", b"*-1"])
    equal(server.stop(), 0, "exit code")


def test_what_spoils_a_transaction(world):
    server = start(world)
    abort = b"-EXECABORT Transaction discarded because of previous errors.\r\n"
    for bad, told in [(("NOSUCH",), b"-ERR unknown command 'NOSUCH', with args beginning with: \r\n"),
                      (("XADD", "s"), b"-ERR wrong number of arguments for 'xadd' command\r\n"),
                      (("SET", "s", "v"), b"-ERR 'SET' is not supported: floe stores streams only, use XADD\r\n")]:
        equal(send(server, ("MULTI",), ("XADD", "s", "1-1", "f", "v"), bad, ("XLEN", "s"), ("EXEC",), ("EXISTS", "s")),
              b"+OK\r\n+QUEUED\r\n" + told + b"+QUEUED\r\n" + abort + b":0\r\n+OK\r\n", str(bad))
    for words, told in [(("EXEC",), b"-ERR EXEC without MULTI\r\n"),
                        (("DISCARD",), b"-ERR DISCARD without MULTI\r\n"),
                        (("UNWATCH",), b"+OK\r\n"),
                        (("WATCH", "a", "b"), SHARDS.replace("EXEC", "WATCH").join("-\n").replace("\n", "\r\n").encode())]:
        equal(send(server, words), told + b"+OK\r\n", str(words))
    equal(send(server, ("MULTI",), ("MULTI",), ("WATCH", "s"), ("PING",), ("EXEC",)),
          b"+OK\r\n-ERR MULTI calls can not be nested\r\n-ERR WATCH inside MULTI is not allowed\r\n"
          b"+QUEUED\r\n*1\r\n+PONG\r\n+OK\r\n")
    equal(send(server, ("MULTI",), ("XADD", "a", "*", "f", "v"), ("XADD", "b", "*", "f", "v"), ("EXEC",), ("KEYS", "*")),
          b"+OK\r\n+QUEUED\r\n+QUEUED\r\n-" + SHARDS.encode() + b"\r\n*0\r\n+OK\r\n")
    equal(send(server, ("MULTI",), ("PING",), ("RESET",), ("PING",)), b"+OK\r\n+QUEUED\r\n+RESET\r\n+PONG\r\n+OK\r\n")
    equal(server.stop(), 0, "exit code")


def test_too_much_is_refused_and_given_back(world):
    server = start(world)
    adds = [("XADD", "s", "*", "f", "v")] * 16001
    got = send(server, ("MULTI",), *adds, ("EXEC",)).split(b"\r\n")
    equal(got[-4:], [b"-ERR a transaction has at most 16000 commands and 4 MiB",
                     b"-EXECABORT Transaction discarded because of previous errors.", b"+OK", b""])
    big = [("XADD", "s", "*", "f", "v" * 900_000)] * 5
    got = send(server, ("MULTI",), *big, ("EXEC",)).split(b"\r\n")
    equal([line[:12] for line in got], [b"+OK"] + [b"+QUEUED"] * 4 +
          [b"-ERR a trans", b"-EXECABORT T", b"+OK", b""])
    # Many that never say EXEC are told that there is no more, and it all comes back when they go.
    idle = [server.connect() for _ in range(64)]
    for connection in idle:
        connection.sendall(resp("MULTI") + resp("XADD", "s", "*", "f", "v" * 900_000) * 4)
    told = b""
    for connection in idle:
        got = b""
        while got.count(b"\r\n") < 5:
            got += connection.recv(65536)
        told += got
    check(b"-TRYAGAIN there is no memory for more commands of transactions\r\n" in told, told[:200])
    equal(cli(server, "XADD", "s", "1-1", "f", "v"), "1-1")
    # A MULTI that is refused: what comes behind it does not run.
    for _ in range(700):
        idle.append(server.connect())
        idle[-1].sendall(resp("MULTI"))
        got = idle[-1].recv(4096)
        if got != b"+OK\r\n":
            break
    equal(got, b"-TRYAGAIN there is no memory for more commands of transactions\r\n")
    idle[-1].sendall(resp("XADD", "s", "1-2", "f", "v") + resp("EXEC") + resp("XLEN", "s") + resp("QUIT"))
    got = b""
    while not got.endswith(b":1\r\n+OK\r\n"):
        part = idle[-1].recv(4096)
        check(part, got)
        got += part
    equal(got, b"+QUEUED\r\n-EXECABORT Transaction discarded because of previous errors.\r\n:1\r\n+OK\r\n")
    for connection in idle:
        connection.close()
    equal(send(server, ("MULTI",), *big[:4], ("EXEC",)).count(b"$15\r\n") > 0, True)
    equal(server.stop(), 0, "exit code")


def test_entries_of_a_transaction_are_one_batch(world):
    """Nobody's entries come between them, not even those of Kafka's producers; a reader that waits gets
    all of them."""
    server = start(world)
    redis = client(server)
    redis.xadd("s", {"n": "first"})
    over = threading.Event()

    def write():
        other = client(server)
        while not over.is_set():
            other.xadd("s", {"other": "x"})

    threads = [threading.Thread(target=write) for _ in range(3)]
    for thread in threads:
        thread.start()
    for turn in range(40):
        pipe = redis.pipeline()
        for i in range(50):
            pipe.xadd("s", {"turn": turn, "i": i})
        ids = pipe.execute()
        equal(len(set(ids)), 50)
    over.set()
    for thread in threads:
        thread.join()
    entries = [fields for _, fields in redis.xrange("s")]
    check(any(b"other" in fields for fields in entries), "nobody else wrote")
    turns = [i for i, fields in enumerate(entries) if fields.get(b"i") == b"0"]
    equal(len(turns), 40)
    for at in turns:
        equal([fields.get(b"i") for fields in entries[at:at + 50]], [b"%d" % i for i in range(50)])
    equal(server.stop(), 0, "exit code")


def test_entries_of_all_shapes_are_one_batch(world):
    """However many fields they have, and wherever `key` and `value` stand."""
    server = start(world)
    entries = []
    for n in range(1, 60):
        fields = [(f"f{i}", "x" * (i * n % 150)) for i in range(n % 17)] + [("value", f"v{n}")] * (n % 2)
        at = n % (len(fields) + 1)
        entries.append([word for pair in fields[:at] + [("key", f"k{n}")] + fields[at:] for word in pair])
    send(server, ("MULTI",), *[("XADD", "s", "*", *words) for words in entries], ("EXEC",))
    found = client(server).xrange("s")
    equal([[word.decode() for pair in fields.items() for word in pair] for _, fields in found], entries)
    ids = [[int(part) for part in entry.split(b"-")] for entry, _ in found]
    equal(ids, [[ids[0][0], ids[0][1] + i] for i in range(len(entries))])
    equal(server.stop(), 0, "exit code")


def test_watch(world):
    server = start(world)
    redis = client(server)
    import redis as library
    for key in ("new", "old"):
        if key == "old":
            redis.xadd(key, {"f": "v"})
        for change in (None, lambda: redis.xadd(key, {"f": "v"}), lambda: redis.xdel(key, redis.xrange(key)[0][0]),
                       lambda: redis.xtrim(key, maxlen=0, approximate=False), lambda: redis.delete(key)):
            with redis.pipeline() as pipe:
                pipe.watch(key)
                changes = change is not None
                if changes:
                    change()
                pipe.multi()
                pipe.xadd(key, {"f": "v"})
                try:
                    equal(len(pipe.execute()), 1)
                    check(not changes, f"{key}: a change was not seen")
                except library.WatchError:
                    check(changes, f"{key}: a change was seen where there was none")
    # UNWATCH forgets, and so does EXEC.
    got = send(server, ("WATCH", "w"), ("XADD", "w", "1-1", "f", "v"), ("UNWATCH",), ("MULTI",), ("XLEN", "w"), ("EXEC",),
               ("WATCH", "w"), ("XADD", "w", "1-2", "f", "v"), ("MULTI",), ("XLEN", "w"), ("EXEC",),
               ("MULTI",), ("XLEN", "w"), ("EXEC",))
    equal(got, b"+OK\r\n$3\r\n1-1\r\n+OK\r\n+OK\r\n+QUEUED\r\n*1\r\n:1\r\n"
               b"+OK\r\n$3\r\n1-2\r\n+OK\r\n+QUEUED\r\n*-1\r\n+OK\r\n+QUEUED\r\n*1\r\n:2\r\n+OK\r\n")
    equal(server.stop(), 0, "exit code")


def test_watched_counters_lose_no_step(world):
    """Several count by WATCH and EXEC, with as many tries as it takes: nobody's step is over another's."""
    server = start(world)
    import redis as library

    def count(steps):
        mine = client(server)
        while steps:
            with mine.pipeline() as pipe:
                pipe.watch("n")
                last = pipe.xrevrange("n", count=1)
                pipe.multi()
                pipe.xadd("n", {"n": int(last[0][1][b"n"]) + 1 if last else 1})
                try:
                    pipe.execute()
                    steps -= 1
                except library.WatchError:
                    pass

    threads = [threading.Thread(target=count, args=(40,)) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    equal([int(fields[b"n"]) for _, fields in client(server).xrange("n")], list(range(1, 201)))
    equal(server.stop(), 0, "exit code")


def test_a_reply_without_room_is_told(world):
    """Every command has its answer, also where their replies are larger than a transaction's may be."""
    server = start(world)
    redis = client(server)
    for _ in range(4):
        redis.xadd("s", {"f": "x" * 900_000})
    pipe = redis.pipeline()
    for _ in range(10):
        pipe.xadd("s", {"f": "v"})
        pipe.xrange("s", count=4)
    got = pipe.execute(raise_on_error=False)
    equal(len(got), 20)
    lists = [entries for entries in got[1::2] if isinstance(entries, list)]
    errors = [str(error) for error in got[1::2] if isinstance(error, Exception)]
    check(lists and errors, f"{len(lists)} replies, {len(errors)} errors")
    equal(set(errors), {"no memory for this reply, but it was done"})
    equal(redis.xlen("s"), 14)
    equal(server.stop(), 0, "exit code")


def test_commands_of_all_sizes_are_put_aside(world):
    """One with a block of its own, and what comes behind it."""
    server = start(world)
    for sizes in ([17_000, 6_000], [9_000, 12_000, 50_000, 3_000], [n * 611 for n in range(1, 60)]):
        adds = [("XADD", "s", "*", "f", chr(97 + i % 26) * size) for i, size in enumerate(sizes)]
        got = send(server, ("DEL", "s"), ("MULTI",), *adds, ("EXEC",))
        equal(got.count(b"+QUEUED\r\n"), len(sizes))
        found = [fields[b"f"].decode() for _, fields in client(server).xrange("s")]
        equal(found, [words[4] for words in adds], str(sizes))
    equal(server.stop(), 0, "exit code")


def write_others(server, key, words, over):
    """Threads that append to it all the time."""
    def write():
        other = client(server)
        while not over.is_set():
            other.execute_command("XADD", key, "*", *words)
            time.sleep(random.random() * 0.01)

    threads = [threading.Thread(target=write) for _ in range(2)]
    for thread in threads:
        thread.start()
    return threads


def test_watch_holds_when_the_first_batch_is_refused(world):
    """For its size, for one that has no key, or as the first entry is larger than those that are joined:
    what runs all the same comes right behind what was seen before, or EXEC answers null."""
    server = start(world)
    import redis as library
    redis = client(server)
    for topic, settings in (("small", ("max.message.bytes=20000",)), ("keyed", ("cleanup.policy=compact",)),
                            ("large", ("max.message.bytes=3000000", "compression.type=producer"))):
        options = [word for setting in settings for word in ("--config", setting)]
        world.floe("topic", "create", topic, "-p", "1", *options, "-b", server.address)
    plans = [("small", [("p", "x" * 1000)] * 25, 25),
             ("small", [("p", "x" * 30_000)] + [("p", "x" * 1000)] * 3, 3),
             ("keyed", [("p", "x")] + [("key", "k")] * 5, 5),
             ("large", [("p", "x" * (1 << 20))], 1)]
    for topic, entries, taken in plans:
        over = threading.Event()
        threads = write_others(server, topic, ("key", "other"), over)
        done = missed = 0
        for turn in range(400):
            if turn == 300:
                over.set()  # However slow it is here: some run.
            with redis.pipeline() as pipe:
                pipe.watch(topic)
                seen = [id for id, _ in pipe.xrevrange(topic, count=1)]
                pipe.multi()
                for words in entries:
                    pipe.execute_command("XADD", topic, "*", *words)
                try:
                    got = [id for id in pipe.execute(raise_on_error=False) if isinstance(id, bytes)]
                except library.WatchError:
                    continue
            equal(len(got), taken, topic)
            before = [id for id, _ in redis.xrevrange(topic, max=b"(" + got[0], count=1)]
            missed += before != seen
            done += 1
            if done == 25:
                break
        over.set()
        for thread in threads:
            thread.join()
        check(done > 0, f"{topic}: none ran")
        equal(missed, 0, f"{topic}: so many of {done} ran though the key was changed")
    equal(server.stop(), 0, "exit code")


def test_what_a_topic_takes_in_one_batch(world):
    """More is several batches, as large as they may be, in order; what is refused is refused alone."""
    server = start(world)
    world.floe("topic", "create", "small", "-p", "1", "--config", "max.message.bytes=20000", "-b", server.address)
    for watched in (False, True):
        for sizes in ([900] * 100, [900] * 40 + [30_000] + [900] * 40, [30_000] * 3, [30_000] + [900] * 40):
            send(server, ("DEL", "small"))
            world.floe("topic", "create", "small", "-p", "1", "--config", "max.message.bytes=20000", "-b", server.address)
            before = sum(row["appends"] for row in counters(server))
            adds = [("XADD", "small", "*", "n", i, "p", "x" * size) for i, size in enumerate(sizes)]
            got = send(server, *[("WATCH", "small")] * watched, ("MULTI",), *adds, ("EXEC",))
            appends = sum(row["appends"] for row in counters(server)) - before
            equal(got.count(b"-ERR the entry is larger than max.message.bytes"), sizes.count(30_000), str(sizes))
            found = [int(fields[b"n"]) for _, fields in client(server).xrange("small")]
            equal(found, [i for i, size in enumerate(sizes) if size == 900])
            check(appends <= 8, f"{len(adds)} entries in {appends} batches")
        # So many fields that no block has room for what it takes to append them.
        got = send(server, *[("WATCH", "many")] * watched, ("MULTI",), ("XADD", "many", "*", *["f", "v"] * 250_000),
                   ("XADD", "many", "7-7", "f", "v"), ("EXEC",), ("DEL", "many"))
        equal(got.split(b"+QUEUED\r\n")[-1],
              b"*2\r\n-ERR the command is too large\r\n$3\r\n7-7\r\n:1\r\n+OK\r\n")
    equal(server.stop(), 0, "exit code")
