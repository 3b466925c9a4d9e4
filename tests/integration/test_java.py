"""The Java client, unchanged: kafka-clients as Maven Central has it, driven by java/Driver.java."""
import functools
import hashlib
import os
import random
import socket
import subprocess
import tempfile
import threading
import time
import zlib

from fixture import ROOT, Skip, check, consume, equal, kcat, lines, need, produce
from test_codecs import CODECS, check_codec, check_sequences, stored

AT_HOME = True  # It fetches clients.

# kafka-clients and what it needs at run time, in its own versions; slf4j-nop keeps it silent.
JARS = {
    "org.apache.kafka:kafka-clients:4.4.0":
        "1ab07317eb6633241392449d329dbdc5d9251e6ffc4926860f42dd966e88bdf9",
    "org.slf4j:slf4j-api:1.7.36":
        "d3ef575e3e4979678dc01bf1dcce51021493b4d11fb7f1be8ad982877c16a1c0",
    "org.slf4j:slf4j-nop:1.7.36":
        "c214958b07816cb4412b30c7bdbd4308ffdc6ba2a83767b8f3a9229cbd9274d6",
    "at.yawk.lz4:lz4-java:1.11.2":
        "8a7458657938e9b692224db83aac458c13abd7a59ab75c3d3b08bd2233a646a2",
    "org.xerial.snappy:snappy-java:1.1.10.7":
        "4c766cb3f855415ee734b2392949a0b6f12a60879334a74518deaf6270d32e36",
    "com.github.luben:zstd-jni:1.5.7-17":
        "c9043e2da8a16c13b6cd7661a5cb56685a573c3546ef4bd0ead67b0b67c2e107",
}
POM = """<project><modelVersion>4.0.0</modelVersion>
<groupId>floe</groupId><artifactId>tests</artifactId><version>0</version><packaging>pom</packaging>
<dependencies>{}</dependencies></project>
"""
DEPENDENCY = """<dependency><groupId>{}</groupId><artifactId>{}</artifactId><version>{}</version>
<exclusions><exclusion><groupId>*</groupId><artifactId>*</artifactId></exclusion></exclusions>
</dependency>"""
SOURCE = os.path.join(ROOT, "tests", "integration", "java", "Driver.java")
TIME_BASE = 1700000000000  # As in Driver.java.
STEP_SECONDS = 60
FETCH_SECONDS = 120


def digest(path):
    if not os.path.exists(path):
        return None
    with open(path, "rb") as file:
        return hashlib.sha256(file.read()).hexdigest()


def jar_path(artifact):
    _, name, version = artifact.split(":")
    return os.path.join(ROOT, "build", "maven", f"{name}-{version}.jar")


def fetch():
    """The jars in build/maven, by Maven from wherever it is told to look; checked byte by byte."""
    if all(digest(jar_path(artifact)) == wanted for artifact, wanted in JARS.items()):
        return
    need("mvn")
    folder = os.path.join(ROOT, "build", "maven")
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, "pom.xml"), "w", encoding="ascii") as file:
        file.write(POM.format("".join(DEPENDENCY.format(*jar.split(":")) for jar in JARS)))
    try:
        done = subprocess.run(["mvn", "-q", "-B", "-f", os.path.join(folder, "pom.xml"),
                               "dependency:copy-dependencies", f"-DoutputDirectory={folder}"],
                              capture_output=True, timeout=FETCH_SECONDS, check=False)
    except subprocess.TimeoutExpired as error:
        raise Skip(f"Maven did not bring the jars within {FETCH_SECONDS} s") from error
    if done.returncode != 0:
        said = (done.stdout + done.stderr).decode(errors="replace").strip().splitlines()
        raise Skip(f"Maven cannot bring the jars: {said[0] if said else done.returncode}")
    for artifact, wanted in JARS.items():
        equal(digest(jar_path(artifact)), wanted, f"sha256 of {artifact}")


@functools.cache
def driver():
    """The class path of the compiled driver; compiled again only if its text or a jar changed."""
    need("java")
    need("javac")
    fetch()
    jars = ":".join(jar_path(artifact) for artifact in JARS)
    with open(SOURCE, "rb") as file:
        name = hashlib.sha256(file.read() + jars.encode()).hexdigest()[:16]
    base = os.path.join(ROOT, "build", "java")
    classes = os.path.join(base, name)
    if not os.path.isdir(classes):
        os.makedirs(base, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=base) as parts:
            done = subprocess.run(["javac", "-Xlint:all", "-Werror", "-cp", jars, "-d",
                                   os.path.join(parts, "out"), SOURCE], capture_output=True,
                                  timeout=STEP_SECONDS, check=False)
            check(done.returncode == 0, f"javac: {done.stderr.decode()}")
            try:
                os.rename(os.path.join(parts, "out"), classes)
            except OSError:
                check(os.path.isdir(classes), f"cannot make {classes}")  # Or another run did.
    return f"{classes}:{jars}"


def command(world, *words):
    return ["java", "-Xmx512m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC",
            f"-Djava.io.tmpdir={world.dir}", "-cp", driver(), "Driver", *words]


def java(world, *words):
    """One sub-command of the driver: its lines."""
    done = subprocess.run(command(world, *map(str, words)), capture_output=True,
                          timeout=STEP_SECONDS, check=False)
    if done.returncode != 0:
        raise AssertionError(f"Driver {words}: {done.returncode}:\n{done.stderr.decode()[-3000:]}")
    return done.stdout.decode().splitlines()


def same(found, wanted, what):
    """As equal(), for lists that are too long to be shown."""
    for index, (one, other) in enumerate(zip(found, wanted)):
        equal(one, other, f"{what}, number {index} of {len(wanted)}")
    equal(len(found), len(wanted), f"{what}, how many")


def value(n, size):
    """As Driver.record() makes it."""
    size += n % 50
    return (f"{n}:".encode() * size)[:size]


def shown(n, offset, size, partition=0):
    """The line that the driver prints for record n."""
    text = value(n, size)
    return f"{partition} {offset} {TIME_BASE + n * 1000} k{n} {len(text)} {zlib.crc32(text)}"


def java_codec(world, codec):
    server = world.server()
    count, size = 2000, 100
    offsets = java(world, "produce", server.address, "j", 1, 0, count, size,
                   f"compression.type={codec}", "batch.size=4096")
    same(offsets, [f"0 {n}" for n in range(count)], "offsets that were delivered")
    batches = stored(server, "j")
    check(len(batches) > 1, "all records are in one batch")
    check_codec(batches, codec)
    check_sequences(batches)
    same(java(world, "consume", server.address, "j", 0, count, 0),
         [shown(n, n, size) for n in range(count)], "what it reads itself")
    out = kcat("-C", "-b", server.address, "-t", "j", "-o", "beginning", "-e")
    same(out.splitlines(), [value(n, size) for n in range(count)], "what kcat reads")


def test_java_uncompressed(world):
    java_codec(world, "none")


def test_java_gzip(world):
    java_codec(world, "gzip")


def test_java_snappy(world):
    java_codec(world, "snappy")


def test_java_lz4(world):
    java_codec(world, "lz4")


def test_java_zstd(world):
    java_codec(world, "zstd")


def test_java_reads_what_kcat_wrote(world):
    server = world.server()
    records = []
    for codec in CODECS:
        more = lines(100, codec)
        produce(server, "mixed", more, "-z", codec, "-X", "enable.idempotence=true")
        records += more
    found = java(world, "consume", server.address, "mixed", 0, len(records), 0)
    same([line.split()[1] for line in found], [str(n) for n in range(len(records))], "offsets")
    same([line.split()[3:] for line in found],
         [["-", str(len(r)), str(zlib.crc32(r.encode()))] for r in records], "records")


def test_java_groups_resume_where_they_were(world):
    """The eager and the cooperative protocol; a static member, which need not leave; kill -9."""
    server = world.server(settings={"group.initial.rebalance.delay.ms": "0"})
    java(world, "create", server.address, "grouped", 1)
    records = lines(400, "g")
    produce(server, "grouped", records)
    cooperative = "org.apache.kafka.clients.consumer.CooperativeStickyAssignor"
    extras = [[], [f"partition.assignment.strategy={cooperative}"], ["group.instance.id=one"],
              ["group.instance.id=one"]]
    found = []
    for extra in extras:
        found += java(world, "group", server.address, "grouped", "jg", 100, 20, *extra)
        server.kill()
        server.start()
    same([line.split()[1] for line in found], [str(n) for n in range(400)], "offsets")


def test_java_seeks_and_asks_for_offsets(world):
    server = world.server(settings={"segment.records": "200"})
    count, size = 1000, 60
    java(world, "produce", server.address, "s", 1, 0, count, size, "batch.size=2048",
         "compression.type=lz4")
    check(len(stored(server, "s")) > 10, "too few batches to seek in the middle of one")
    for _ in range(2):
        # Forwards, backwards, to the middle of a batch, to the last records.
        starts = (1, 333, 990, 777, 0)
        wanted = [shown(n, n, size) for start in starts for n in range(start, start + 10)]
        same(java(world, "consume", server.address, "s", 0, 10, *starts), wanted, "records")
        equal(java(world, "offsets", server.address, "s", 1), [f"0 0 {count}"])
        server.kill()
        server.start()


def test_java_asks_by_time(world):
    server = world.server(settings={"segment.records": "200"})
    for first, codec in enumerate(CODECS):
        java(world, "produce", server.address, "t", 1, first * 100, 100, 60, "batch.size=2048",
             f"compression.type={codec}")
    # Record n is of n seconds: before all, on one, between two, of each codec, the last, after all.
    times = [-5000, 0, 1, 999, 1000, 50_500, 150_500, 250_500, 350_500, 450_500, 499_000, 499_001]
    wanted = [f"{-(-t // 1000)} {-(-t // 1000) * 1000}" for t in times[1:-1]]
    for _ in range(2):
        equal(java(world, "times", server.address, "t", 0, *times), ["0 0", *wanted, "none"])
        server.kill()
        server.start()


def test_java_large_records(world):
    server = world.server()
    count, size = 20, 900 * 1024
    for topic, codec in (("plain", "none"), ("packed", "zstd")):
        offsets = java(world, "produce", server.address, topic, 1, 0, count, size,
                       f"compression.type={codec}")
        equal(offsets, [f"0 {n}" for n in range(count)])
        same(java(world, "consume", server.address, topic, 0, count, 0),
             [shown(n, n, size) for n in range(count)], f"records of {topic}")


def test_java_admin_and_twenty_partitions(world):
    server = world.server(settings={"topic.auto.create": "false"})
    java(world, "create", server.address, "twenty", 20)
    equal(java(world, "list", server.address), ["twenty"])
    leaders = [line.split() for line in java(world, "describe", server.address, "twenty")]
    equal([partition for partition, _ in leaders], [str(n) for n in range(20)])
    equal({leader for _, leader in leaders}, {server.ready["node"]}, "leaders")
    count, size = 1000, 80
    delivered = java(world, "produce", server.address, "twenty", 20, 0, count, size)
    same(delivered, [f"{n % 20} {n // 20}" for n in range(count)], "offsets that were delivered")
    equal(java(world, "offsets", server.address, "twenty", 20),
          [f"{n} 0 {count // 20}" for n in range(20)])
    found = java(world, "consume-all", server.address, "twenty", 20, count)
    for partition in range(20):
        same([line for line in found if line.split()[0] == str(partition)],
             [shown(n, n // 20, size, partition) for n in range(partition, count, 20)],
             f"records of partition {partition}")
    java(world, "delete", server.address, "twenty")
    equal(java(world, "list", server.address), [])


def java_configs(world, server, kind, name):
    rows = [line.split(" ") for line in java(world, "configs", server.address, kind, name)]
    return {row[0]: row[1:] for row in rows}


def test_java_describes_and_alters_configs(world):
    server = world.server(settings={"retention.ms": "3d", "partitions.default": "3"})
    equal(java(world, "create-with", server.address, "t", "segment.bytes=65536"),
          ["3 1 65536 DYNAMIC_TOPIC_CONFIG 25 true"])
    # Value, source, type, read-only, how many synonyms, whether there is a sentence.
    found = java_configs(world, server, "topic", "t")
    equal(found["segment.bytes"],
          ["65536", "DYNAMIC_TOPIC_CONFIG", "INT", "false", "2", "true"])
    equal(found["retention.ms"],
          ["259200000", "STATIC_BROKER_CONFIG", "LONG", "false", "2", "true"])
    equal(found["cleanup.policy"], ["delete", "DEFAULT_CONFIG", "LIST", "false", "1", "true"])
    equal(java(world, "alter", server.address, "t", "retention.ms=5", "segment.bytes=",
               "+cleanup.policy=compact"), ["altered"])
    found = java_configs(world, server, "topic", "t")
    equal([found[key][:2] for key in ("retention.ms", "segment.bytes", "cleanup.policy")],
          [["5", "DYNAMIC_TOPIC_CONFIG"], ["1073741824", "DEFAULT_CONFIG"],
           ["delete,compact", "DYNAMIC_TOPIC_CONFIG"]])
    for words, error, text in (
            (["retention.ms=soon"], "InvalidConfigurationException", "retention.ms = soon"),
            (["+retention.ms=5"], "InvalidConfigurationException", "only lists"),
            (["-cleanup.policy=delete,compact"], "InvalidConfigurationException", "cleanup.policy"),
            (["no.such.key=1"], "InvalidConfigurationException", "unknown topic config")):
        line, = java(world, "alter", server.address, "t", *words)
        check(line.startswith(error) and text in line, line)
    line, = java(world, "alter", server.address, "nope", "retention.ms=5")
    check(line.startswith("UnknownTopicOrPartitionException"), line)
    node = java_configs(world, server, "broker", server.ready["node"])
    equal(node["num.partitions"], ["3", "STATIC_BROKER_CONFIG", "INT", "true", "2", "true"])
    equal(node["log.retention.ms"][:2], ["259200000", "STATIC_BROKER_CONFIG"])
    equal(node["delete.topic.enable"][:3], ["true", "DEFAULT_CONFIG", "BOOLEAN"])
    equal(node["log.dirs"][0], server.data.replace(" ", "_"))


def test_java_grows_a_topic_and_describes_the_node(world):
    server = world.server()
    java(world, "create", server.address, "t", 2)
    count, size = 200, 500
    java(world, "produce", server.address, "t", 2, 0, count, size)
    java(world, "grow", server.address, "t", 5)
    equal(len(java(world, "describe", server.address, "t")), 5)
    delivered = java(world, "produce", server.address, "t", 5, 0, count, size)
    equal({line.split()[0] for line in delivered}, {"0", "1", "2", "3", "4"})
    found = java(world, "consume-all", server.address, "t", 5, 2 * count)
    equal(len(found), 2 * count)
    equal(java(world, "cluster", server.address), [f"1 {server.ready['node']} 22"])
    folder, *rows = java(world, "dirs", server.address, server.ready["node"])
    equal(folder, server.data)
    equal([row.split()[:2] for row in rows], [["t", str(n)] for n in range(5)])
    sizes = [int(row.split()[2]) for row in rows]
    # Of the values alone, at least; and no more than a file of that many blocks.
    check(all(size * count // 5 < one < 1 << 20 for one in sizes), f"sizes {sizes}")


def test_java_fetch_waits_for_the_next_append(world):
    server = world.server()
    equal(world.floe("topic", "create", "w", "-b", server.address).returncode, 0)
    rounds = 20
    # Nothing but an append ends such a wait before the driver's own time is over.
    found = java(world, "wait", server.address, "w", 0, rounds, "fetch.max.wait.ms=600000",
                 "request.timeout.ms=700000", "delivery.timeout.ms=800000")
    same(found[:-1], [shown(n, n, 10) for n in range(rounds)], "records")
    # One answer for each append: none was empty.
    equal(found[-1], f"fetches {rounds}")


class Flow:
    """A producer that goes on until it is told to stop."""

    def __init__(self, world, server, *words):
        self.lines, self.errors = [], open(os.path.join(world.dir, "flow.err"), "w+b")
        self.process = subprocess.Popen(command(world, "flow", server.address, *words),
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=self.errors)
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait(30)
        self.reader.join(5)
        self.process.stdin.close()
        self.process.stdout.close()
        self.errors.close()

    def _read(self):
        for line in self.process.stdout:
            self.lines.append(line.decode().rstrip("\n"))

    def until(self, count):
        """Waits until so many records were acked."""
        deadline = time.monotonic() + STEP_SECONDS
        while len(self.lines) < count:
            check(time.monotonic() < deadline, f"{len(self.lines)} records acked, not {count}")
            check(self.process.poll() is None, f"the producer ended: {self.said()}")
            time.sleep(0.005)

    def said(self):
        self.errors.seek(0)
        return self.errors.read().decode()[-3000:]

    def finish(self):
        """All that was sent is answered; the acked offsets and how many were sent."""
        self.process.stdin.close()
        equal(self.process.wait(STEP_SECONDS), 0, f"exit code, {self.said()}")
        self.reader.join(5)
        words = self.lines[-1].split()
        equal(words[0], "sent")
        return self.lines[:-1], int(words[1])


def steady_port():
    """A free port that the kernel gives to nobody else while the server is down, the client that
    tries to connect to it least of all."""
    with open("/proc/sys/net/ipv4/ip_local_port_range", encoding="ascii") as file:
        first = int(file.read().split()[0])
    for port in random.sample(range(first // 2, first), 100):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
                return port
            except OSError:
                pass
    raise Skip(f"no free port below {first}")


def java_kill_9(world, codec):
    server = world.server(port=steady_port())
    equal(world.floe("topic", "create", "k", "-b", server.address).returncode, 0)
    size = 60
    with Flow(world, server, "k", "0", str(size), f"compression.type={codec}", "batch.size=1024",
              "delivery.timeout.ms=120000", "reconnect.backoff.max.ms=200") as flow:
        for _ in range(3):
            flow.until(len(flow.lines) + 1000)
            server.kill()
            server.start()
        flow.until(len(flow.lines) + 1000)
        offsets, sent = flow.finish()
    same(offsets, [str(n) for n in range(sent)], "offsets that were delivered")
    batches = stored(server, "k")
    check_codec(batches, codec)
    check_sequences(batches)
    equal(java(world, "offsets", server.address, "k", 1), [f"0 0 {sent}"])
    same(java(world, "consume", server.address, "k", 0, sent, 0),
         [shown(n, n, size) for n in range(sent)], "records")


def test_java_goes_on_over_kill_9(world):
    java_kill_9(world, "none")


def test_java_goes_on_over_kill_9_with_lz4(world):
    java_kill_9(world, "lz4")


def test_java_partitions_survive_kill_9(world):
    server = world.server()
    equal(world.floe("topic", "create", "km", "-p", "4", "-b", server.address).returncode, 0)
    count, size = 400, 50
    java(world, "produce", server.address, "km", 4, 0, count, size, "compression.type=zstd")
    server.kill()
    server.start()
    java(world, "produce", server.address, "km", 4, count, count, size)
    found = java(world, "consume-all", server.address, "km", 4, 2 * count)
    for partition in range(4):
        same([line for line in found if line.split()[0] == str(partition)],
             [shown(n, n // 4, size, partition) for n in range(partition, 2 * count, 4)],
             f"records of partition {partition}")


def test_floe_consume_reads_what_java_wrote(world):
    server = world.server()
    java(world, "produce", server.address, "a", 1, 0, 50, 40, "compression.type=snappy")
    done = world.floe("consume", "a", "--until", "end", "-b", server.address)
    equal(done.returncode, 0)
    equal(done.stdout.splitlines(), [value(n, 40) for n in range(50)])
    equal(consume(server, "a"), [value(n, 40).decode() for n in range(50)])
