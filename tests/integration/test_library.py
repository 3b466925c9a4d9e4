"""libfloe and the server over one directory: each reads what the other wrote, by its own rules."""
import glob
import hashlib
import json
import os
import signal
import struct
import subprocess

from fixture import check, consume, equal, lines, produce, until
from test_retention import create, first_offset


def tool_path(world):
    path = os.path.join(os.path.dirname(world.binary), "floe_tool")
    if not os.access(path, os.X_OK):
        raise AssertionError(f"{path} is not built")
    return path


def tool(world, *words, code=0):
    done = subprocess.run([tool_path(world), *[str(word) for word in words]], capture_output=True,
                          timeout=60, check=False)
    equal(done.returncode, code, done.stderr.decode())
    return done.stdout.decode().splitlines() if code == 0 else done.stderr.decode()


def values(topic, partition, count, start=0):
    return [f"{topic}-{partition}-{n}" for n in range(start, count)]


def rows(strings, start=0):
    return [f"{start + n} {value}" for n, value in enumerate(strings)]


def hold(world, *words):
    """A process that has the directory open."""
    process = subprocess.Popen([tool_path(world), "hold", world.data, *words],
                               stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    equal(process.stdout.readline(), b"held\n")
    return process


def release(process):
    process.stdin.close()
    equal(process.wait(60), 0)
    process.stdout.close()


def everything(path):
    """What is in the directory, to the byte and the time of change."""
    found = {}
    for name in sorted(glob.glob(os.path.join(path, "**"), recursive=True)):
        digest = ""
        if os.path.isfile(name):
            with open(name, "rb") as file:
                digest = hashlib.sha256(file.read()).hexdigest()
        found[name] = (digest, os.stat(name).st_mtime_ns)
    return found


def durabilities(world):
    """Of the segments of each topic, as the headers of their files have it."""
    found = {}
    for name in glob.glob(os.path.join(world.data, "topics", "*", "*", "*.seg")):
        with open(name, "rb") as file:
            head = file.read(4096)
        size, = struct.unpack_from("<H", head, 128)
        found.setdefault(head[130:130 + size].decode(), set()).add(head[66])
    return found


def adopted(world, *words):
    """Written in two lives by the library, then served."""
    tool(world, "append", world.data, "orders", 0, 0, 25, "records=10", *words)
    tool(world, "append", world.data, "orders", 0, 25, 10, "records=10", "crash", *words)
    tool(world, "append", world.data, "orders", 2, 0, 7, "batch=3", "crash", *words)
    tool(world, "append", world.data, "other", 0, 0, 3, "os", *words)
    equal(sorted(tool(world, "list", world.data)), ["orders 0", "orders 2", "other 0"], "listed")
    server = world.server()
    check("the library's directory is adopted" in server.text, server.text)
    equal(consume(server, "orders"), values("orders", 0, 35))
    equal(consume(server, "orders", partition="1"), [])
    equal(consume(server, "orders", partition="2"), values("orders", 2, 7))
    equal(consume(server, "other"), values("other", 0, 3))
    return server


def test_a_server_adopts_what_the_library_wrote_and_goes_on(world):
    server = adopted(world)
    produce(server, "orders", ["from the server"])
    server.kill()
    server = world.server()
    check("is adopted" not in server.text, server.text)
    equal(consume(server, "orders"), values("orders", 0, 35) + ["from the server"])
    produce(server, "other", ["from the server"])
    equal(server.stop(), 0)
    equal(durabilities(world), {"orders": {0}, "other": {1}})
    said = tool(world, "append", world.data, "orders", 0, 0, 1, code=1)
    check("FLOE_ERR_FOREIGN" in said and "server" in said, said)
    equal(tool(world, "read", world.data, "orders", 0),
          rows(values("orders", 0, 35) + ["from the server"]))


def test_a_server_adopts_what_the_posix_engine_wrote(world):
    adopted(world, "posix").stop()


def test_a_topic_that_is_adopted_has_the_strongest_durability(world):
    tool(world, "append", world.data, "orders", 0, 0, 5, "memory")
    tool(world, "append", world.data, "orders", 1, 0, 5)
    old = set(glob.glob(os.path.join(world.data, "topics", "*", "*", "*.seg")))
    server = world.server()
    check("partitions differ in durability" in server.text, server.text)
    produce(server, "orders", ["behind"])
    new, = set(glob.glob(os.path.join(world.data, "topics", "*", "0", "*.seg"))) - old
    with open(new, "rb") as file:
        equal(file.read(4096)[66], 0, "durability")


def test_retention_leaves_what_was_adopted_until_it_is_old(world):
    tool(world, "append", world.data, "orders", 0, 0, 25, "records=10")
    server = world.server(settings={"retention.ms": "1d", "retention.check.ms": "50ms",
                                    "cpu.cores": "1"})
    create(world, server, "gone", retention_ms=1)
    produce(server, "gone", ["an old one"])  # When this one goes, retention has looked at all.
    until(lambda: first_offset(server, "gone") == 1, "retention has looked")
    equal(consume(server, "orders"), values("orders", 0, 25))
    equal(server.stop(), 0)


def test_an_adoption_that_was_cut_off_is_begun_again(world):
    tool(world, "append", world.data, "a", 0, 0, 20, "records=10")
    tool(world, "append", world.data, "b", 0, 0, 20, "records=10")
    partition = os.path.dirname(sorted(glob.glob(
        os.path.join(world.data, "topics", "*", "0", "*.seg")))[-1])
    stray = os.path.join(partition, "00000000000000ff.seg")
    with open(stray, "wb") as file:
        file.write(b"nothing of ours")
    for _ in range(2):  # The superblock is the server's now; the map has nothing.
        server = world.server(start=False).launch()
        equal(server.ends(), 1)
        check("cannot adopt" in server.text and "00000000000000ff.seg" in server.text, server.text)
        said = tool(world, "append", world.data, "a", 0, 20, 1, code=1)
        check("FLOE_ERR_FOREIGN" in said, said)
    os.unlink(stray)
    server = world.server()
    equal(consume(server, "a"), values("a", 0, 20))
    equal(consume(server, "b"), values("b", 0, 20))
    equal(server.stop(), 0)


def test_the_library_reads_a_servers_directory_and_leaves_it_as_it_is(world):
    server = world.server(settings={"segment.records": "100"})
    wanted = lines(250)
    produce(server, "t", wanted)
    for codec in ("gzip", "snappy", "lz4", "zstd"):
        produce(server, codec, wanted, "-z", codec)
    server.kill()
    before = everything(world.data)
    for words in ((), ("posix",), ("shared",), ("posix", "shared")):
        for topic in ("t", "gzip", "snappy", "lz4", "zstd"):
            equal(tool(world, "read", world.data, topic, 0, *words), rows(wanted), topic)
    equal(everything(world.data), before, "the directory")
    check("FLOE_ERR_TOPIC_UNKNOWN" in tool(world, "read", world.data, "none", 0, code=1), "none")
    server = world.server()
    equal(consume(server, "t"), wanted)
    equal(server.stop(), 0)
    equal(tool(world, "read", world.data, "t", 0), rows(wanted))


def test_one_writer_at_a_time_and_each_is_told_who_it_is(world):
    holder = hold(world)
    for verb in ("append", "read"):
        words = (0, 1) if verb == "append" else ()
        said = tool(world, verb, world.data, "t", 0, *words, code=1)
        check("FLOE_ERR_BUSY" in said and f"pid {holder.pid}" in said, said)
    server = world.server(start=False).launch()
    equal(server.ends(), 1)
    check(f"pid {holder.pid}" in server.text, server.text)
    release(holder)
    server = world.server()
    said = tool(world, "read", world.data, "t", 0, code=1)
    check("FLOE_ERR_BUSY" in said and f"pid {server.process.pid}" in said, said)
    equal(server.stop(), 0)


def test_nothing_acknowledged_is_lost_by_kill_9(world):
    for engine in ("uring", "posix"):
        count = 0
        for life in range(4):
            words = ["append", world.data, engine, "0", str(count), "100000", "records=50"]
            words += ["posix"] if engine == "posix" else []
            words += [(), ("shared",), ("os",), ("batch=5",)][life]
            process = subprocess.Popen([tool_path(world), *words], stdout=subprocess.PIPE)
            for _ in range(40):
                offset = int(process.stdout.readline())
            process.send_signal(signal.SIGKILL)
            rest = process.stdout.read().split()
            process.wait(60)
            process.stdout.close()
            acked = int(rest[-1]) if rest and rest[-1].isdigit() else offset
            found = tool(world, "read", world.data, engine, 0)
            check(len(found) > acked, f"{len(found)} records after {acked} was acknowledged")
            equal(found, rows(values(engine, 0, len(found))), f"life {life}")
            count = len(found)
            equal(tool(world, "read", world.data, engine, 0, "write"), found, "recovered")


def test_what_was_trimmed_stays_away_after_kill_9(world):
    for words in ((), ("os",), ("records=10",), ("posix",)):
        topic = "-".join(("t", *words)).replace("=", "-")
        tool(world, "append", world.data, topic, 0, 0, 25, "trim=7", "crash", *words)
        kept = rows(values(topic, 0, 25, 7), 7)
        equal(tool(world, "read", world.data, topic, 0), kept, "read only")
        equal(tool(world, "read", world.data, topic, 0, "write"), kept, "recovered")
        tool(world, "append", world.data, topic, 0, 25, 5, "trim=27", "crash", *words)
        kept = rows(values(topic, 0, 30, 27), 27)
        equal(tool(world, "read", world.data, topic, 0), kept, "read only")


def test_a_torn_write_takes_nothing_acknowledged_from_who_only_reads(world):
    for words in ((), ("os",), ("posix",)):
        world.data = os.path.join(world.dir, "-".join(("data", *words)))
        tool(world, "append", world.data, "t", 0, 0, 3, "large=100000", "crash", *words)
        path, = glob.glob(os.path.join(world.data, "topics", "*", "0", "*.seg"))
        done = world.floe("log", "inspect", path, "-o", "jsonl")
        frames = [json.loads(line) for line in done.stdout.splitlines()]
        extent = frames[-1]["position"]
        # The journal had the small ones, and the write of the large one carried them along.
        equal([frame["position"] for frame in frames], 4 * [extent], "extents of the frames")
        with open(path, "r+b") as file:
            file.seek(extent + 90000)
            file.write(b"torn")
        kept = rows(values("t", 0, 3))
        equal(tool(world, "read", world.data, "t", 0), kept, "read only")
        equal(tool(world, "read", world.data, "t", 0, "write"), kept, "recovered")
        equal(tool(world, "read", world.data, "t", 0), kept, "read only")


def test_damage_is_told_and_never_passed_over(world):
    """A record in the middle of the journal is spoiled; those behind it were durable. Who only reads is
    told so at once: nobody knows who else was in that block."""
    tool(world, "append", world.data, "t", 0, 0, 30, "crash")
    with open(os.path.join(world.data, "journal", "0.jnl"), "r+b") as file:
        at = file.read().index(b"t-0-12")
        file.seek(at)
        file.write(b"X")
    for words in ((), ("shared",), ("posix",), ("write",), ("write", "shared")):
        done = subprocess.run([tool_path(world), "read", world.data, "t", "0", *words],
                              capture_output=True, timeout=60, check=False)
        there = rows(values("t", 0, 12)) if "write" in words else []
        equal(done.stdout.decode().splitlines(), there, f"before it {words}")
        check(done.returncode == 1 and b"FLOE_ERR_DAMAGED" in done.stderr, f"{words}: {done}")
    said = tool(world, "append", world.data, "t", 0, 30, 1, code=1)
    check("FLOE_ERR_DAMAGED" in said, said)
