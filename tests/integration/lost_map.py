"""Directories whose map is lost, and the command that makes it anew."""
import glob
import json
import os
import shutil
import struct
import subprocess

import wire
from fixture import Skip, check, consume, equal, lines, need, produce

BLOCK = 4096


def rebuild(world, *words, code=0):
    done = world.floe("cluster", "rebuild-map", world.data, *words, "-o", "json")
    equal(done.returncode, code, done.stderr.decode())
    out = done.stdout.decode()
    return (json.loads(out)["rows"] if out else []), done.stderr.decode()


def segments(world):
    return sorted(glob.glob(os.path.join(world.data, "topics", "*", "*", "*.seg")))


def topic_files(world, topic):
    """In order of their ids."""
    found = []
    for path in segments(world):
        with open(path, "rb") as file:
            head = file.read(BLOCK)
        size, = struct.unpack_from("<H", head, 128)
        if head[130:130 + size].decode() == topic:
            found.append(path)
    return sorted(found, key=os.path.basename)


def lose_map(world):
    shutil.rmtree(os.path.join(world.data, "meta"))


def fails_to_start(world):
    server = world.server(start=False).launch()
    equal(server.ends(), 1)
    check("floe cluster rebuild-map" in server.text, server.text)


def create_partitions(world, server, topic, partitions):
    equal(world.floe("topic", "create", topic, "-p", str(partitions), "-b",
                     server.address).returncode, 0)


def thirty(world, end="kill"):
    server = world.server(settings={"segment.records": "10"})
    for n in range(3):
        produce(server, "l", lines(10, str(n)))
    produce(server, "l", ["last"])
    getattr(server, end)()
    equal(len(segments(world)), 4)
    shutil.rmtree(os.path.join(world.data, "meta"))
    return server


def consume_until(server, count):
    return consume(server, "l", "-c", str(count))


def traced(world, *words):
    """A run under strace; words are strace's, then rebuild-map's. Skips where nothing can be traced."""
    need("strace")
    able = subprocess.run(["strace", "-f", "-o", "/dev/null", "/bin/true"], capture_output=True,
                          timeout=100, check=False)
    if able.returncode != 0:
        raise Skip(f"strace: {able.stderr.decode()}")
    at = words.index("--")
    return subprocess.run(["strace", "-f", *words[:at], world.binary, "cluster", "rebuild-map",
                           world.data, *words[at + 1:]],
                          capture_output=True, timeout=100, check=False,
                          env={**os.environ, "ASAN_OPTIONS": "detect_leaks=0"})


def changed(path, to, **fields):
    """A copy with another header."""
    with open(path, "rb") as file:
        data = bytearray(file.read())
    for at, value in fields.values():
        data[at:at + len(value)] = value
    for at in (0, BLOCK):
        data[at + BLOCK - 4:at + BLOCK] = struct.pack("<I", wire.crc32c(bytes(
            data[at:at + BLOCK - 4])))
    os.makedirs(os.path.dirname(to), exist_ok=True)
    with open(to, "wb") as file:
        file.write(data)
