"""The second table: clients of Redis, of Walrus and of HTTP; see README.md here."""
import os
import re
import subprocess
import time
import traceback

from roster import HERE, Debian, Npm, PyPI
from fixture import BUILD_CLIENTS, Skip, check, equal, kcat, need

COLUMNS = ["connect", "write", "pipeline", "range", "block", "trim", "admin", "binary", "groups"]
COUNT = 48
STEP_SECONDS = 60
NOT_IN_PROTOCOL = "its protocol has nothing like it"
ENTRIES = [f"{n}-1 v{n}" for n in range(1, COUNT + 1)]
IDS = [f"{n}-1" for n in range(1, COUNT + 1)]


class Tool(Debian):
    """A program of Debian's, driven by a script."""

    def __init__(self, name, version, tool, script, *options, lacks=None, shown=None):
        super().__init__(name, version, "sys", script, lacks)
        self.tool, self.options, self.shown = tool, options, shown or {}

    def command(self):
        need(self.tool)
        return super().command()


class Python(Debian):
    def __init__(self, name, version, module, script, *options, lacks=None, shown=None):
        super().__init__(name, version, module, script, lacks)
        self.options, self.shown = options, shown or {}


class Package(PyPI):
    def __init__(self, name, version, package, script, *options):
        super().__init__(name, version, package, script)
        self.options, self.shown = options, {}


class Node(Npm):
    def __init__(self, name, version, package, *options):
        super().__init__(name, version, package, "client_node_redis.js", least_node=20)
        self.options, self.shown = options, {}


class Compiled(Debian):
    """libhiredis and a program in C."""

    def __init__(self, name, version):
        super().__init__(name, version, "sys", "client_hiredis.c")
        self.options, self.shown = (), {}

    def command(self):
        need("gcc")
        if not os.path.exists("/usr/include/hiredis/hiredis.h"):
            raise Skip("libhiredis-dev is not installed")
        os.makedirs(BUILD_CLIENTS, exist_ok=True)
        program = os.path.join(BUILD_CLIENTS, f"client_hiredis.{os.getpid()}")
        subprocess.run(["gcc", "-Wall", "-Werror", "-o", program, os.path.join(HERE, self.script), "-lhiredis"],
                       check=True)
        os.rename(program, program.rsplit(".", 1)[0])
        return [program.rsplit(".", 1)[0]]


ADDED = {"write": [f"added {COUNT}"], "pipeline": [f"added {COUNT}"]}
DOORS = [
    Tool("redis-cli", "7.0.15", "redis-cli", "client_redis_cli.py", "--raw"),
    Tool("redis-cli -3 (RESP3)", "7.0.15", "redis-cli", "client_redis_cli.py", "-3", "--raw"),
    Tool("redis-benchmark", "7.0.15", "redis-benchmark", "client_redis_benchmark.py",
         lacks={name: "it only loads" for name in COLUMNS[3:]}, shown=ADDED),
    Python("redis-py (RESP2)", "4.3.4", "redis", "client_redis_py.py", "2"),
    Package("redis-py (RESP3)", "8.1.0", "redis", "client_redis_py.py", "3"),
    Compiled("hiredis (RESP2)", "0.14.1"),
    Node("node-redis (RESP3)", "6.3.1", "redis", "redis"),
    Node("ioredis", "6.0.0", "ioredis", "ioredis"),
    Python("Walrus, a client of 40 lines", "-", "sys", "client_walrus.py",
           lacks={name: NOT_IN_PROTOCOL for name in ("block", "trim", "groups")},
           shown={"admin": ["state 1 Leader"]}),
    Tool("curl (HTTP)", "7.88.1", "curl", "client_curl.py",
         lacks={name: NOT_IN_PROTOCOL for name in ("trim", "groups")},
         shown={"block": ["2-1 v100"], "admin": ["listed True metrics True"]}),
]


def command(*words):
    words = [str(word).encode() for word in words]
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in words)


class Door:
    """One client and the server."""

    def __init__(self, client, server):
        self.client, self.server = client, server
        self.words = client.command()
        self.key = "d-" + re.sub(r"[^a-z0-9]+", "-", f"{client.name}-{client.version}".lower()) + "."

    def ask(self, *words):
        """Without any library: the answer's bytes, up to what one recv brings."""
        with self.server.connect() as connection:
            connection.sendall(command(*words))
            return connection.recv(65536)

    def start(self, action, key):
        return subprocess.Popen([*self.words, action, self.server.address, self.key + key, *self.client.options],
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                env={**os.environ, "FLOE_INTEGRATION": os.path.dirname(HERE) + "/integration"})

    @staticmethod
    def lines(process):
        try:
            out, errors = process.communicate(timeout=STEP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            raise
        if process.returncode != 0:
            raise AssertionError(f"{process.args}: {process.returncode}:\n{errors.decode()[-2000:]}")
        return out.decode().splitlines()

    def call(self, action, key):
        return self.lines(self.start(action, key))

    def fill(self, key, first=1, count=COUNT):
        for n in range(first, first + count):
            equal(self.ask("XADD", self.key + key, f"{n}-1", "value", f"v{n}"), b"$%d\r\n%d-1\r\n" % (len(f"{n}-1"), n))

    def wanted(self, column, usual):
        return self.client.shown.get(column, usual)


def check_written(door, action):
    """A client of Kafka's reads the same."""
    equal(door.call(action, action), door.wanted(action, IDS))
    out = kcat("-C", "-b", door.server.address, "-t", door.key + action, "-p", "0", "-o", "beginning", "-e").decode()
    values = ["v" if action in door.client.shown else f"v{n}" for n in range(1, COUNT + 1)]
    equal(out.splitlines(), values, "what kcat reads")


def check_block(door):
    """Nobody tells when the reader waits; whether it waits yet or not, it gets the entry."""
    equal(door.ask("XADD", door.key + "block", "1-1", "value", "v1")[:1], b"$")
    door.ask("XTRIM", door.key + "block", "MAXLEN", 0)
    process = door.start("block", "block")
    time.sleep(0.5)
    door.fill("block", 100, 1)
    equal(door.lines(process), door.wanted("block", ["100-1 v100"]))


def check_filled(door, action, usual):
    door.fill(action)
    equal(door.call(action, action), door.wanted(action, usual))


CHECKS = {
    "connect": lambda door: equal(door.call("connect", "connect"), ["PONG"]),
    "write": lambda door: check_written(door, "write"),
    "pipeline": lambda door: check_written(door, "pipeline"),
    "range": lambda door: check_filled(door, "range", ENTRIES),
    "block": check_block,
    "trim": lambda door: check_filled(door, "trim", ["5"]),
    "admin": lambda door: check_filled(door, "admin", [f"floe stream {COUNT} 1 0"]),
    "binary": lambda door: equal(door.call("binary", "binary"), [bytes(range(256)).hex()]),
    "groups": lambda door: check_filled(door, "groups", [*ENTRIES[:3], "pending 3", "acked 3", "pending 0"]),
}


def no_groups(door):
    """Why the server has none: what it says of the command."""
    said = door.ask("XGROUP", "CREATE", door.key + "probe", "g", "$", "MKSTREAM")
    return said if b"not supported" in said or b"unknown command" in said else None


def cells(client, _world, server):
    """{column: "ok" | "-" | "FAIL"}; tells each."""
    name = f"client {client.name} {client.version}"
    out, found = [], {}
    try:
        door = Door(client, server)
    except Skip as why:
        return [f"skip {name}: {why}"], None
    for column, test in CHECKS.items():
        if column in client.lacks:
            found[column] = "-"
            continue
        start = time.monotonic()
        try:
            if column == "groups" and (why := no_groups(door)):
                found[column] = "-"
                out.append(f"skip {name}, groups: {why.decode().strip()}")
                continue
            test(door)
            found[column] = "ok"
            out.append(f"ok {name}: {column} ({time.monotonic() - start:.1f} s)")
        except Exception:  # One cell failed, the others go on.
            found[column] = "FAIL"
            out += ["  " + line for line in traceback.format_exc().splitlines()] + [f"FAIL {name}: {column}"]
    check(set(found) == set(COLUMNS), "a column is missing")
    return out, found
