"""Clients of Redis, unchanged: redis-cli, redis-benchmark, redis-py, hiredis, node-redis, ioredis."""
import json
import os
import socket
import subprocess
import threading
import time

from fixture import Skip, check, consume, equal, kcat, need, need_module, npm_folder, produce
from wire import resp

AT_HOME = True  # It fetches clients.


def start(world, **settings):
    settings = {key.replace("_", "."): value for key, value in settings.items()}
    return world.server("--listen", "any://127.0.0.1:0", settings=settings)


def cli(server, *words, input=None):
    need("redis-cli")
    done = subprocess.run(["redis-cli", "-p", str(server.port), *words], input=input,
                          capture_output=True, timeout=60, check=False)
    equal(done.returncode, 0, f"redis-cli {words}: {done.stderr.decode()}")
    return done.stdout.decode().rstrip("\n")


def raw(server, data, until=None, seconds=30):
    """Sends bytes; what comes back, up to `until` or the end of the connection."""
    with server.connect(seconds) as connection:
        connection.sendall(data)
        got = b""
        while until is None or not got.endswith(until):
            part = connection.recv(65536)
            if not part:
                break
            got += part
        return got


def client(server, **options):
    redis = need_module("redis")
    return redis.Redis(port=server.port, **options)


def test_redis_cli_adds_and_reads(world):
    server = start(world)
    equal(cli(server, "PING"), "PONG")
    equal(cli(server, "XADD", "s", "5-3", "f", "v"), "5-3")
    equal(cli(server, "XADD", "s", "5-*", "key", "k", "a", "1", "value", "x"), "5-4")
    equal(cli(server, "XADD", "s", "5-4", "f", "v").strip(),
          "ERR The ID specified in XADD is equal or smaller than the target stream top item")
    equal(cli(server, "XADD", "s", "0-0", "f", "v").strip(),
          "ERR The ID specified in XADD must be greater than 0-0")
    equal(cli(server, "XLEN", "s"), "2")
    equal(cli(server, "XRANGE", "s", "-", "+").split(),
          ["5-3", "f", "v", "5-4", "key", "k", "a", "1", "value", "x"])
    equal(cli(server, "XRANGE", "s", "(5-3", "+").split()[0], "5-4")
    equal(cli(server, "XREVRANGE", "s", "+", "-", "COUNT", "1").split()[0], "5-4")
    equal(cli(server, "XREAD", "COUNT", "1", "STREAMS", "s", "5-3").split()[:2], ["s", "5-4"])
    equal(cli(server, "XTRIM", "s", "MAXLEN", "1"), "1")
    equal(cli(server, "XLEN", "s"), "1")
    equal(cli(server, "TYPE", "s"), "stream")
    equal(cli(server, "EXISTS", "s", "t"), "1")
    equal(cli(server, "KEYS", "*"), "s")
    equal(cli(server, "DEL", "s"), "1")
    equal(cli(server, "EXISTS", "s"), "0")
    equal(server.stop(), 0, "exit code")


def test_what_a_log_cannot_do_is_refused_with_a_remedy(world):
    server = start(world)
    world.floe("topic", "create", "many", "-p", "3", "-b", server.address)
    for words, text in [
            (("LPUSH", "a", "b"), "ERR 'LPUSH' is not supported: floe stores streams only, use XADD"),
            (("XADD", "many", "*", "f", "v"), "ERR topic 'many' has 3 partitions; use 'many/0'..'many/2'"),
            (("SELECT", "1"), "ERR DB index is out of range"),
            (("NOSUCH", "x", "y"), "ERR unknown command 'NOSUCH', with args beginning with: 'x' 'y'"),
            (("CLIENT", "NOSUCH"), "ERR unknown subcommand 'NOSUCH'. Try CLIENT HELP."),
            (("XADD", "s", "*", "f"), "ERR wrong number of arguments for 'xadd' command"),
            (("XDEL", "many", "1-1"), "ERR topic 'many' has 3 partitions; use 'many/0'..'many/2'"),
            (("FLUSHALL",), "ERR flushall is not allowed"),
            (("HELLO", "4"), "NOPROTO unsupported protocol version"),
            (("AUTH", "x"), "ERR AUTH <password> called without any password configured"),
            (("XREAD", "STREAMS", "a", "b", "0"), "ERR Unbalanced 'xread' list of streams"),
            (("XRANGE", "s", "x", "+"), "ERR Invalid stream ID specified as stream command argument"),
            (("PUT", "logs", "x"), "ERR unknown topic logs")]:
        check(cli(server, *words).startswith(text), f"{words}: {cli(server, *words)}")
    equal(cli(server, "XADD", "many/2", "5-1", "f", "v"), "5-1")
    equal(cli(server, "XLEN", "many/2"), "1")
    equal(cli(server, "XLEN", "many/1"), "0")
    equal(server.stop(), 0, "exit code")


def test_every_command_is_found_by_its_name(world):
    server = start(world)
    names = cli(server, "COMMAND", "LIST").split()
    equal(names, sorted(names), "the table is searched by halves")
    for spelled in (str.lower, str.upper, str.title):
        found = client(server).execute_command("COMMAND INFO", *[spelled(name) for name in names])
        check(all(found), spelled)
        equal(len(found), len(names))
    for name in ("", "xad", "xaddd", "a", "zzz", "\0", "x\xff"):
        equal(raw(server, resp("COMMAND", "INFO", name) + resp("QUIT")), b"*1\r\n*-1\r\n+OK\r\n", name)
    equal(server.stop(), 0, "exit code")


def test_protocol_errors_are_told_and_close(world):
    server = start(world)
    for data, wanted in [
            (b"*3\r\n$3\r\nSET\r\n$1\r\nx\r\nfooz\r\n", b"-ERR Protocol error: expected '$', got 'f'\r\n"),
            (b"*3000000000\r\n", b"-ERR Protocol error: invalid multibulk length\r\n"),
            (b"*1\r\n$-10\r\n", b"-ERR Protocol error: invalid bulk length\r\n"),
            (b'set """test-key""" v\r\n', b"-ERR Protocol error: unbalanced quotes in request\r\n"),
            (b"PING\r\n*-10\r\n\r\nPING\r\n*1\r\nx\r\n",
             b"+PONG\r\n+PONG\r\n-ERR Protocol error: expected '$', got 'x'\r\n"),
            (b"POST / \r\nHost: x\r\n", b""),
            (b"QUIT\r\nPING\r\n", b"+OK\r\n")]:
        equal(raw(server, data), wanted, data)
    equal(cli(server, "PING"), "PONG")
    equal(server.stop(), 0, "exit code")


def test_pieces_and_pipelines_keep_their_order(world):
    server = start(world)
    commands = [("PING",), ("XADD", "p", "1-1", "f", b"\x00\r\n\xff"), ("XLEN", "p"),
                ("XADD", "p", "1-2", "f", "v"), ("XLEN", "p"), ("ECHO", "e"), ("XTRIM", "p", "MAXLEN", "0"),
                ("XLEN", "p"), ("XADD", "q", "3-1", "f", "v"), ("XADD", "q", "3-2", "f", "v"), ("XLEN", "q")]
    wanted = (b"+PONG\r\n$3\r\n1-1\r\n:1\r\n$3\r\n1-2\r\n:2\r\n$1\r\ne\r\n:2\r\n:0\r\n"
              b"$3\r\n3-1\r\n$3\r\n3-2\r\n:2\r\n")
    equal(raw(server, b"".join(resp(*c) for c in commands), b":2\r\n:0\r\n$3\r\n3-1\r\n$3\r\n3-2\r\n:2\r\n"),
          wanted)
    data = b"".join(resp("ECHO", "x" * n) for n in range(40))
    with server.connect() as connection:
        for at in range(0, len(data), 3):
            connection.sendall(data[at:at + 3])
        connection.shutdown(socket.SHUT_WR)
        got = b""
        while part := connection.recv(65536):
            got += part
    equal(got, b"".join(b"$%d\r\n%s\r\n" % (n, b"x" * n) for n in range(40)))
    equal(server.stop(), 0, "exit code")


def test_resp3_has_its_shapes(world):
    server = start(world)
    hello = raw(server, resp("HELLO", 3) + resp("QUIT"))
    check(hello.startswith(b"%7\r\n$6\r\nserver\r\n$4\r\nfloe\r\n"), hello)
    check(b"$5\r\nproto\r\n:3\r\n" in hello, hello)
    got = raw(server, resp("HELLO", 3) + resp("XADD", "s", "1-1", "f", "v") +
              resp("XREAD", "STREAMS", "s", 0) + resp("XREAD", "STREAMS", "s", "$") +
              resp("XRANGE", "s", "-", "+") + resp("XADD", "none", "NOMKSTREAM", "*", "f", "v") +
              resp("QUIT"))
    entries = b"*1\r\n*2\r\n$3\r\n1-1\r\n*2\r\n$1\r\nf\r\n$1\r\nv\r\n"
    check(got.endswith(b"$3\r\n1-1\r\n%1\r\n$1\r\ns\r\n" + entries + b"_\r\n" + entries + b"_\r\n+OK\r\n"), got)
    got = raw(server, resp("XREAD", "STREAMS", "s", 0) + resp("XREAD", "STREAMS", "s", "$") +
              resp("QUIT"))
    equal(got, b"*1\r\n*2\r\n$1\r\ns\r\n" + entries + b"*-1\r\n+OK\r\n")
    info = raw(server, resp("HELLO", 3) + resp("XINFO", "STREAM", "s") + resp("QUIT"))
    check(b"%10\r\n$6\r\nlength\r\n:1\r\n" in info, info)
    equal(server.stop(), 0, "exit code")


def test_kafka_and_redis_read_each_other(world):
    server = start(world)
    kcat("-P", "-b", server.address, "-t", "both", "-p", "0", "-K", ":", "-H", "h=1", "-z", "zstd",
         input=b"k1:one\nk2:two\n")
    equal(cli(server, "XADD", "both", "*", "key", "k3", "a", "b", "value", "three").count("-"), 1)
    equal(cli(server, "XADD", "both", "*", "value", "four", "key", "k4").count("-"), 1)
    out = kcat("-C", "-b", server.address, "-t", "both", "-o", "beginning", "-e", "-f", "%o|%k|%s|%h\n")
    equal(out, b"0|k1|one|h=1\n1|k2|two|h=1\n2|k3|three|a=b\n3|k4|four|__floe.order=1,0\n")
    r = client(server)
    equal([fields for _, fields in r.xrange("both")],
          [{b"key": b"k1", b"h": b"1", b"value": b"one"}, {b"key": b"k2", b"h": b"1", b"value": b"two"},
           {b"key": b"k3", b"a": b"b", b"value": b"three"}, {b"value": b"four", b"key": b"k4"}])
    equal(list(r.xrange("both")[3][1]), [b"value", b"key"], "the order of fields")
    ids = [id for id, _ in r.xrange("both")]
    for at, id in enumerate(ids):  # Inside a compressed batch, too.
        equal(r.xrange("both", id, id)[0][0], id)
        equal([found for found, _ in r.xrange("both", b"(" + id, "+")], ids[at + 1:])
    equal(server.stop(), 0, "exit code")


def test_a_blocked_xread_hears_of_a_kafka_produce(world):
    server = start(world)
    r = client(server)
    first = r.xadd("wait", {"f": "v"})
    heard = []
    waiter = threading.Thread(target=lambda: heard.append(r.xread({"wait": "$", "other": "$"}, block=30000)))
    waiter.start()
    while b"blocked_clients:1" not in b"".join(
            raw(server, resp("INFO", "clients") + resp("QUIT")) for _ in range(4)):
        time.sleep(0.02)
    produce(server, "wait", ["hello"])
    waiter.join(30)
    equal(heard[0][0][1][0][1], {b"value": b"hello"})
    equal(r.xread({"wait": first})[0][1], heard[0][0][1])
    equal(r.xread({"wait": "$"}, block=30), [], "nothing came")
    made = threading.Thread(target=lambda: heard.append(r.xread({"made": "0"}, block=30000)))
    made.start()
    time.sleep(0.1)
    client(server).xadd("made", {"f": "v"}, id="7-7")
    made.join(30)
    equal(heard[1], [[b"made", [(b"7-7", {b"f": b"v"})]]])
    late = threading.Thread(target=lambda: heard.append(r.xread({"made": "20-18446744073709551615"}, block=30000)))
    late.start()
    time.sleep(0.1)
    for id in ("8-1", "20-18446744073709551615", "21-1"):  # Some are below what it waits for.
        client(server).xadd("made", {"f": "v"}, id=id)
    late.join(30)
    equal(heard[2], [[b"made", [(b"21-1", {b"f": b"v"})]]])
    # Who leaves while it waits holds nothing.
    with server.connect() as connection:
        connection.sendall(resp("XREAD", "BLOCK", 0, "STREAMS", "wait", "$"))
        time.sleep(0.1)
    equal(server.stop(), 0, "exit code")


def test_redis_py_reads_large_and_many(world):
    server = start(world)
    r = client(server)
    pipe = r.pipeline(transaction=False)
    for n in range(3000):
        pipe.xadd("many", {"n": n, "pad": "x" * (n % 400)})
    ids = pipe.execute()
    equal(ids, sorted(ids, key=lambda id: tuple(map(int, id.split(b"-")))))
    entries = r.xrange("many")
    equal([id for id, _ in entries], ids)
    equal([int(fields[b"n"]) for _, fields in entries], list(range(3000)))
    equal(r.xrevrange("many"), entries[::-1])
    equal(r.xrevrange("many", count=7), entries[::-1][:7])
    equal(r.xrange("many", ids[100], ids[199]), entries[100:200])
    seen, last = [], "0"
    while batch := r.xread({"many": last}, count=170):
        seen += batch[0][1]
        last = seen[-1][0]
    equal(seen, entries)
    big = os.urandom(900000)
    r.xadd("big", {"value": big})
    equal(r.xrange("big")[0][1], {b"value": big})
    try:
        r.xadd("big", {"value": big * 2})
        check(False, "an entry above max.message.bytes was taken")
    except need_module("redis").ResponseError as error:
        check("max.message.bytes" in str(error), error)
    r.xadd("many", {"n": 3000}, maxlen=500, approximate=False)
    equal(r.xlen("many"), 500)
    r.xadd("many", {"n": 3001}, maxlen=100, approximate=True)
    equal(r.xlen("many"), 102, "nodes of 100")
    equal(r.xtrim("many", minid=ids[2990], approximate=False), 90)
    info = r.xinfo_stream("many")
    equal([info["length"], info["first-entry"][0], info["last-entry"][1]], [12, ids[2990], {b"n": b"3001"}])
    equal(sorted(r.scan_iter()), [b"big", b"many"])
    equal(server.stop(), 0, "exit code")


def test_ids_survive_a_kill(world):
    server = start(world)
    r = client(server)
    ids = [r.xadd("s", {"n": n}) for n in range(20)] + [r.xadd("s", {"n": 20}, id="99999999999999-5")]
    entries = r.xrange("s")
    r.xadd("gone", {"f": "v"}, id="99999999999999-7")
    r.xtrim("gone", maxlen=0, approximate=False)
    server.kill()
    server.start()
    r = client(server)
    equal(r.xlen("s"), 21)
    equal(r.xrange("s"), entries)
    equal(r.xinfo_stream("s")["last-generated-id"], ids[-1])
    equal(r.xadd("s", {"n": 21}), b"99999999999999-6")
    equal(r.xlen("gone"), 0)
    equal(r.xadd("gone", {"f": "v"}), b"99999999999999-8")
    server.kill()
    server.start()
    equal(client(server).xrange("s", "99999999999999-6")[0][1], {b"n": b"21"})
    equal(server.stop(), 0, "exit code")


def test_redis_benchmark_runs(world):
    need("redis-benchmark")
    server = start(world)
    done = subprocess.run(["redis-benchmark", "-p", str(server.port), "-P", "16", "-n", "8000", "-q",
                           "XADD", "bench", "*", "f", "v"], capture_output=True, timeout=120, check=False)
    equal(done.returncode, 0, done.stderr.decode())
    equal(cli(server, "XLEN", "bench"), "8000")
    equal(consume(server, "bench"), [""] * 8000, "records without a value")
    equal(server.stop(), 0, "exit code")


def test_keys_that_kafka_does_not_allow(world):
    server = start(world, resp_allow_flush="true")
    for key in ("s{t}", "a b", "\x00\xff", "a/b"):
        equal(client(server).xadd(key, {"f": "v"}, id="1-1"), b"1-1")
        equal(client(server).xrange(key), [(b"1-1", {b"f": b"v"})])
    equal(len(client(server).keys()), 4)
    cli(server, "XADD", "plain", "*", "f", "v")
    out = kcat("-L", "-b", server.address).decode()
    check('topic "plain"' in out and "__resp" not in out and " 1 topics" in out, out)
    equal(client(server).flushall(), True)
    equal(client(server).dbsize(), 0)
    equal(server.stop(), 0, "exit code")


def test_walrus_verbs_are_commands(world):
    server = start(world, topic_auto_create="false")
    equal(cli(server, "REGISTER", "logs"), "OK")
    equal(cli(server, "REGISTER", "logs"), "OK")
    equal(cli(server, "PUT", "logs", "one"), "0")
    equal(cli(server, "PUT", "logs", "two"), "1")
    equal(consume(server, "logs"), ["one", "two"])
    state = json.loads(cli(server, "STATE", "logs"))
    equal([state["partitions"], state["leader_node"]], [1, 1])
    check("floe_requests" in cli(server, "METRICS"), "no counters")
    check(cli(server, "XADD", "new", "*", "f", "v").startswith("ERR unknown topic 'new'; make it"), "made")
    equal(server.stop(), 0, "exit code")


HIREDIS = r"""
#include <hiredis/hiredis.h>
#include <string.h>
int main(int argc, char **argv)
{
    redisContext *c = redisConnect("127.0.0.1", atoi(argv[1]));
    if (argc < 2 || c == NULL || c->err) return 1;
    for (int i = 0; i < 1000; i++) redisAppendCommand(c, "XADD h %d-1 f %b", i + 1, "\0\r\n", (size_t)3);
    redisReply *r;
    for (int i = 0; i < 1000; i++) {
        if (redisGetReply(c, (void **)&r) != REDIS_OK || r->type != REDIS_REPLY_STRING) return 2;
        freeReplyObject(r);
    }
    r = redisCommand(c, "XRANGE h 500 500");
    if (r->type != REDIS_REPLY_ARRAY || r->elements != 1) return 3;
    redisReply *field = r->element[0]->element[1]->element[1];
    if (field->len != 3 || memcmp(field->str, "\0\r\n", 3) != 0) return 4;
    r = redisCommand(c, "XLEN h");
    return r->type == REDIS_REPLY_INTEGER && r->integer == 1000 ? 0 : 5;
}
"""


def test_hiredis(world):
    if not os.path.exists("/usr/include/hiredis/hiredis.h"):
        raise Skip("libhiredis-dev is not installed")
    need("gcc")
    server = start(world)
    program = os.path.join(world.dir, "h")
    subprocess.run(["gcc", "-x", "c", "-", "-include", "stdlib.h", "-o", program, "-lhiredis"],
                   input=HIREDIS.encode(), check=True)
    equal(subprocess.run([program, str(server.port)], timeout=60, check=False).returncode, 0)
    equal(server.stop(), 0, "exit code")


NODE = r"""
const port = Number(process.argv[1]);
(async () => {
    const redis = require('redis');
    const r = await redis.createClient({url: `redis://127.0.0.1:${port}`, RESP: 3}).connect();
    const ids = await Promise.all([1, 2, 3].map(n => r.xAdd('n', '*', {n: String(n)})));
    const back = await r.xRange('n', '-', '+');
    if (back.length !== 3 || back[2].id !== ids[2] || back[2].message.n !== '3') throw 'redis';
    const both = await r.multi().xAdd("m", "*", {a: "1"}).xLen("m").exec();
    if (both.length !== 2 || both[1] !== 1) throw JSON.stringify(both);
    await r.quit();
    const Redis = require('ioredis');
    const i = new Redis(port);
    await i.xadd('i', '5-1', 'f', 'v');
    const entries = await i.xrange('i', '-', '+');
    if (JSON.stringify(entries) !== '[["5-1",["f","v"]]]') throw JSON.stringify(entries);
    const all = await i.multi().xadd("i", "*", "f", "v").xlen("i").exec();
    if (all.length !== 2 || all[0][0] !== null || all[1][1] !== 2) throw JSON.stringify(all);
    await i.quit();
})().catch(e => { console.error(e); process.exit(1); });
"""


def test_node_clients(world):
    modules = os.path.join(npm_folder(20, "redis@6.3.1", "ioredis@6.0.0"), "node_modules")
    server = start(world)
    done = subprocess.run(["node", "-e", NODE, str(server.port)], capture_output=True, timeout=60,
                          env={**os.environ, "NODE_PATH": modules}, check=False)
    equal(done.returncode, 0, done.stderr.decode())
    equal(server.stop(), 0, "exit code")


def test_a_connection_too_many_is_told_so(world):
    server = start(world, connections_max="1", cpu_cores="1")
    with server.connect() as connection:
        connection.sendall(b"PING\r\n")
        equal(connection.recv(100), b"+PONG\r\n")
        equal(raw(server, b"*1\r\n$4\r\nPING\r\n"), b"-ERR max number of clients reached\r\n")
    equal(server.stop(), 0, "exit code")


def test_info_adds_up_what_all_cores_did(world):
    """Connections of every core see the same numbers, and CONFIG RESETSTAT begins all of them anew."""
    server = start(world, cpu_cores="2")
    connections = [client(server, single_connection_client=True) for _ in range(8)]
    cores = {redis.info("server")["floe_core"] for redis in connections}
    equal(cores, {0, 1}, "cores of connections")
    connections[0].config_resetstat()
    for redis in connections:
        redis.xadd("s", {"f": "v"})
        for words, told in ((("XADD", "s"), "wrong number of arguments for 'xadd' command"),
                            (("XGROUP", "DESTROY", "no", "g"), "The XGROUP subcommand requires the key to exist."),
                            (("XREADGROUP", "GROUP", "g", "c", "STREAMS", "no", ">"), "NOGROUP No such key 'no'")):
            try:
                redis.execute_command(*words)
                check(False, f"{words} was not refused")
            except need_module("redis").ResponseError as error:
                check(str(error).startswith(told), f"{words}: {error}")
    pipe = connections[1].pipeline()
    for _ in range(10):
        pipe.xadd("s", {"f": "v"})
    pipe.execute()
    for redis in connections:
        stats = redis.info("commandstats")
        equal({key: stats["cmdstat_xadd"][key] for key in ("calls", "rejected_calls", "failed_calls")},
              {"calls": 18, "rejected_calls": 8, "failed_calls": 0})
        equal(stats["cmdstat_xreadgroup"]["failed_calls"], 8)
        equal(sorted(redis.info("errorstats")), ["errorstat_ERR", "errorstat_NOGROUP"])
        equal(redis.info()["total_error_replies"], 24)
        check("cmdstat_xadd" not in redis.info(), "commandstats are for those who ask")
        check("cmdstat_xadd" in redis.info("everything"), "everything")
    equal(cli(server, "INFO", "errorstats").split(), ["#", "Errorstats", "errorstat_ERR:count=16", "errorstat_NOGROUP:count=8"])
    connections[7].config_resetstat()
    for redis in connections:
        equal(redis.info("errorstats"), {})
        check("cmdstat_xadd" not in redis.info("commandstats"), "reset")
    connections[3].config_set("stream-node-max-entries", 7)
    equal({redis.config_get("stream-node-max-entries")["stream-node-max-entries"] for redis in connections}, {"7"})
    waits = threading.Thread(target=lambda: connections[0].xread({"s": "$", "t": "$"}, block=60000))
    waits.start()
    end = time.time() + 30
    while connections[1].info("clients")["blocked_clients"] != 1:
        check(time.time() < end, "nobody waits")
        time.sleep(0.01)
    equal(connections[2].info("clients")["total_blocking_keys"], 2)
    connections[2].xadd("t", {"f": "v"})
    waits.join()
    equal(connections[2].info("clients")["total_blocking_keys"], 0)
    equal(server.stop(), 0, "exit code")


def test_a_peer_that_sends_no_more_gets_whole_answers(world):
    server = start(world)
    adds = [resp("XADD", "s", "*", "f", "v" * 1000)] * 3000
    equal(raw(server, b"".join(adds) + resp("QUIT")).count(b"$15\r\n") > 0, True)
    wanted = raw(server, resp("XRANGE", "s", "-", "+") + resp("QUIT"))
    for _ in range(20):
        with server.connect() as connection:
            connection.sendall(resp("XRANGE", "s", "-", "+") + resp("QUIT"))
            connection.shutdown(socket.SHUT_WR)
            got = b""
            while part := connection.recv(1 << 20):
                got += part
        equal(len(got), len(wanted))
    equal(server.stop(), 0, "exit code")
