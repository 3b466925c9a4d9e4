#!/usr/bin/python3
"""Hundreds of consumer groups with thousands of members, and a server that is killed under them.

    tests/integration/members.py [--binary build/release/floe] [--groups 500] [--members 10] [--cycles 20]
                                 [--session 10000] [--heartbeat 3000] [--commit 1000] [--set KEY=VALUE]...

Each member is a connection of floe_members (members.c), which tells what must not be: an offset that was acked
and is lost, a partition that two members of a generation have, a group that was calm and hears of change. A
cycle kills the server (-9), in turn beside calm groups, members that vanish, rebalances, groups that begin, and
twice.
"""
import argparse
import os
import queue
import random
import re
import resource
import subprocess
import sys
import threading
import time
import urllib.request

sys.dont_write_bytecode = True

from fixture import ROOT, Skip, World, check, equal, memory_kib

TOPICS, PARTITIONS = 4, 20
WAIT_SECONDS = 150  # It only bounds a hang: the runner of tests ends one after 180.
TICKS = os.sysconf("SC_CLK_TCK")


class Load:
    """floe_members, its words and its counts."""

    def __init__(self, tool, server, options):
        command = [tool, server.port, options.groups, options.members, PARTITIONS, options.session,
                   options.heartbeat, options.commit]
        self.options, self.bad, self.rows = options, [], queue.Queue()
        self.process = subprocess.Popen([str(word) for word in command], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE)
        threading.Thread(target=self.read, daemon=True).start()

    def read(self):
        for line in iter(self.process.stdout.readline, b""):
            text = line.decode().strip()
            if text.startswith("status "):
                self.rows.put({key: int(n) for key, n in re.findall(r"(\w+)=(\d+)", text)})
            else:
                self.bad.append(text)
                print(f"  {text}", flush=True)

    def say(self, *lines):
        self.process.stdin.write("".join(line + "\n" for line in lines).encode())
        self.process.stdin.flush()

    def status(self):
        self.say("status")
        return self.rows.get(timeout=WAIT_SECONDS)

    def judge(self):
        """Nothing was told that must not be. Where an answer takes half a session, members are thrown
        out rightly: nothing can be said of calm groups then, but of lost offsets and of partitions."""
        status = self.status()
        self.slowest = {key: status[key] for key in status if key.endswith("_ms")}
        if 0 < status["bad"] == status["broken"] and max(self.slowest.values()) * 2 >= self.options.session:
            raise Skip(f"this machine is too slow for sessions of {self.options.session} ms: {self.slowest}")
        equal((status["bad"], self.bad), (0, []), "what must not be")
        return status

    def settle(self, well=True):
        """Waits until every group has shared its partitions out among those who are here, and the
        server has said so to each; the seconds it took."""
        begin = time.monotonic()
        while True:
            status = self.status()
            done = status["settled"] == self.options.groups and status["joined"] >= status["here"]
            if done and (not well or status["well"] == status["here"]):
                return time.monotonic() - begin
            check(time.monotonic() - begin < WAIT_SECONDS, f"not settled: {status}")
            time.sleep(0.05)

    def end(self):
        self.process.stdin.close()
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()


def cpu_seconds(server):
    with open(f"/proc/{server.process.pid}/stat", encoding="ascii") as file:
        fields = file.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def overflows():
    """How often a connection found a listener's queue full, anywhere in this network namespace."""
    with open("/proc/net/netstat", encoding="ascii") as file:
        names, numbers = [line.split() for line in file if line.startswith("TcpExt:")]
    return int(numbers[names.index("ListenOverflows")])


def disk_mib(server):
    total = 0
    for folder, _, names in os.walk(server.data):
        for name in names:
            try:
                total += os.stat(os.path.join(folder, name)).st_blocks * 512
            except FileNotFoundError:
                pass  # A segment that goes.
    return total >> 20


def memory(server):
    """What is resident, and how much of that the pools of blocks have touched, which is bounded."""
    with urllib.request.urlopen(f"http://{server.address}/metrics", timeout=WAIT_SECONDS) as answer:
        text = answer.read().decode()
    touched = sum(float(n) for n in re.findall(r"^floe_memory_touched_bytes\{.*\} (\S+)$", text, re.M))
    return {"rss_mib": memory_kib(server) >> 10, "blocks_mib": int(touched) >> 20,
            "beside_mib": round(memory_kib(server, "RssAnon") / 1024 - touched / (1 << 20), 1)}


def room_for(descriptors):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard not in (resource.RLIM_INFINITY,) and hard < descriptors:
        raise Skip(f"{hard} descriptors are allowed, {descriptors} needed")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, descriptors), hard))


def kill_and_start(server, load):
    server.kill()
    load.say("killed")
    server.start()


# --- What a kill meets. ---

def calm(_server, _load, _options):
    """Nothing happens but heartbeats and commits."""


def vanishing(_server, load, _options):
    """One in ten is gone without a word: its group finds out when its session is over."""
    load.say("vanish 100")
    time.sleep(random.uniform(0, 0.5))


def shaken(_server, load, options):
    """A third of the groups rebalance."""
    load.say(f"shake {options.groups // 3}")
    time.sleep(random.uniform(0.05, 0.3))
    load.say("return")
    time.sleep(random.uniform(0, 0.9))


def beginning(_server, load, options):
    """A tenth of the groups ended, and begins again."""
    count = max(options.groups // 10, 1)
    load.say(f"leave {random.randrange(options.groups - count + 1)} {count}")
    load.settle()
    load.say("return")
    time.sleep(random.uniform(0, 1))


def reading(server, load, _options):
    """It was killed a moment ago, and reads its groups, or has just read them."""
    kill_and_start(server, load)
    time.sleep(random.uniform(0, 0.6))


KINDS = (calm, vanishing, shaken, beginning, reading)


def cycle(server, load, options, kind):
    """One kill; what was measured."""
    time.sleep(random.uniform(0.2, 1.2))
    load.say("mark")
    before, full = load.status(), overflows()
    kind(server, load, options)
    marked = load.status()["calm"]
    begin = time.monotonic()
    kill_and_start(server, load)
    ready = time.monotonic()
    load.settle()
    settled = time.monotonic() - ready
    load.say("return")
    load.settle()
    after = load.judge()
    show(load.slowest)
    equal(after["calm"], marked, "calm groups that went on in their generation")
    equal(after["here"], options.groups * options.members, "members")
    return {"kind": kind.__name__, "calm": marked, "up_s": round(ready - begin, 2),
            "settled_s": round(settled, 2), "joins": after["joins"] - before["joins"],
            "restarts": after["restarts"] - before["restarts"],
            "read_back": after["read_back"] - before["read_back"],
            "loading": after.get("code14", 0) - before.get("code14", 0), "queue_full": overflows() - full,
            **memory(server), "peak_mib": memory_kib(server, "VmHWM") >> 10,
            "disk_mib": disk_mib(server), "cpu_s": round(cpu_seconds(server), 2)}


def show(row):
    print("  " + " ".join(f"{key}={value}" for key, value in row.items()), flush=True)


# --- Without kills. ---

def price(server, load, name, heartbeat, commit, seconds):
    """What one request of a kind costs the server."""
    load.say(f"pace {heartbeat} {commit}")
    time.sleep(2)
    before, cpu = load.status(), cpu_seconds(server)
    time.sleep(seconds)
    after, cpu = load.status(), cpu_seconds(server) - cpu
    count = sum(after[key] - before[key] for key in ("heartbeats", "commits"))
    show({"price": name, "requests_per_s": count // seconds,
          "offsets_per_s": (after["offsets"] - before["offsets"]) // seconds,
          "cpu_s": round(cpu, 2), "cpu_us_each": round(cpu * 1e6 / max(count, 1), 1)})
    load.say(f"pace {load.options.heartbeat} {load.options.commit}")


def churn(server, load, options, rounds):
    """Rebalances of all groups, again and again, in one life of the server: its memory after each."""
    for n in range(rounds):
        before, cpu, begin = load.status(), cpu_seconds(server), time.monotonic()
        load.say(f"shake {options.groups * 2}")
        time.sleep(0.3)
        load.say("return")
        time.sleep(1.1)
        load.settle()
        after = load.judge()
        show({"churn": n + 1, "seconds": round(time.monotonic() - begin, 2),
              "joins": after["joins"] - before["joins"], "syncs": after["syncs"] - before["syncs"],
              "cpu_s": round(cpu_seconds(server) - cpu, 2), **memory(server)})


def listed(world, server):
    done = world.floe("group", "list", "-o", "json", "-b", server.address)
    equal(done.returncode, 0, done.stderr.decode())
    return set(re.findall(r"group-\d+", done.stdout.decode()))


def expire(world, server, load, options):
    """Groups that end are forgotten with their offsets, and stay forgotten."""
    count = max(options.groups // 10, 1)
    gone = {f"group-{n}" for n in range(count)}
    server.kill()
    server.settings["offsets.retention.ms"] = "1s"
    load.say("killed")
    server.start()
    load.settle()
    load.say(f"leave 0 {count}")
    deadline = time.monotonic() + WAIT_SECONDS
    while listed(world, server) & gone:
        check(time.monotonic() < deadline, "groups that do not go")
        time.sleep(0.2)
    kill_and_start(server, load)
    load.settle()
    equal(len(listed(world, server)), options.groups - count, "groups after they went, and a kill")
    load.say(f"forget 0 {count}", "return")
    load.settle()
    load.judge()
    show({"expired": count})


def run(world, tool, options):
    if not os.access(tool, os.X_OK):
        raise Skip(f"{tool} is not built")
    room_for(options.groups * options.members * 2 + 500)
    random.seed(options.seed)
    settings = {"group.initial.rebalance.delay.ms": options.delay, "group.min.session.timeout.ms": "1s"}
    server = world.server(protocol="any", settings={
        **settings, **dict(setting.split("=", 1) for setting in options.set)})
    server.port_wanted = server.port
    for n in range(TOPICS):
        done = world.floe("topic", "create", f"topic-{n}", "-p", str(PARTITIONS), "-b", server.address)
        equal(done.returncode, 0, done.stderr.decode())
    load = Load(tool, server, options)
    try:
        load.say("return")
        show({"groups": options.groups, "members": options.groups * options.members,
              "settled_s": round(load.settle(), 2), "cpu_s": round(cpu_seconds(server), 2),
              **memory(server)})
        if options.window > 0:
            price(server, load, "heartbeats", 1000, 0, options.window)
            price(server, load, "commits", options.session, 1000, options.window)
        if options.churn > 0:
            churn(server, load, options, options.churn)
        for n in range(options.cycles):
            show({"cycle": n + 1, **cycle(server, load, options, KINDS[n % len(KINDS)])})
        expire(world, server, load, options)
        equal(server.stop(), 0, "exit code")
        load.say("killed")
        server.start()
        load.settle()
        status = load.judge()
        equal(server.stop(), 0, "exit code")
        show(status)
    finally:
        load.end()
    return status


def parse(words=None):
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--binary", default=os.path.join(ROOT, "build", "release", "floe"))
    options.add_argument("--delay", default="3s")
    options.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    for name, number in (("groups", 500), ("members", 10), ("cycles", 20), ("session", 10000),
                         ("heartbeat", 3000), ("commit", 1000), ("window", 10), ("churn", 5),
                         ("seed", 1)):
        options.add_argument(f"--{name}", type=int, default=number)
    return options.parse_args(words)


def main():
    options = parse()
    world = World(os.path.abspath(options.binary))
    tool = os.path.join(os.path.dirname(world.binary), "floe_members")
    skipped = 0
    try:
        run(world, tool, options)
    except Skip as why:
        print(f"skip: {why}")
        skipped = 1
    finally:
        for server in world.servers:
            server.kill()
            print(server.text[-2000:])
        world.close()
    print(f"{1 - skipped} passed, 0 failed, {skipped} skipped")
    return 77 if skipped else 0


if __name__ == "__main__":
    sys.exit(main())
