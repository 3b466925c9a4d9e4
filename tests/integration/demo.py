#!/usr/bin/python3
"""Shows in a minute what floe promises: what was acked is there after a kill -9, byte for byte."""
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.dont_write_bytecode = True

from fixture import ROOT, World, kcat  # noqa: E402

TOPIC = "license"


def demo(world):
    with open(os.path.join(ROOT, "LICENSE"), "rb") as file:
        # kcat leaves empty lines out, so they are not put in.
        lines = [line for line in file.read().splitlines() if line]
    half = len(lines) // 2
    server = world.server("--dev", settings={"memory.limit": "auto"})
    print(f"1. floe serve --dev on {server.address}\n   {server.ready.group(0)}")

    def put(part):
        kcat("-P", "-b", server.address, "-t", TOPIC, "-p", "0", input=b"".join(l + b"\n" for l in part))
    put(lines[:half])
    print(f"2. kcat -P: {half} lines of LICENSE are acked; kill -9")
    server.kill()
    server.start()
    print(f"3. started again on the same directory, now on {server.address}")
    put(lines[half:])
    print(f"4. kcat -P: the other {len(lines) - half} lines")
    wanted = b"".join(line + b"\n" for line in lines)
    by_kcat = kcat("-C", "-b", server.address, "-t", TOPIC, "-p", "0", "-o", "beginning", "-e")
    by_floe = world.floe("consume", TOPIC, "--until", "end", "-b", server.address).stdout
    for name, found in (("kcat -C", by_kcat), ("floe consume", by_floe)):
        same = found == wanted
        print(f"5. {name}: {len(found)} bytes, {'the same' if same else 'NOT THE SAME'} as went in")
        if not same:
            return 1
    code = server.stop()
    print(f"6. SIGTERM: exit code {code}")
    return code


def main():
    at = sys.argv.index("--binary") if "--binary" in sys.argv else 0
    binary = sys.argv[at + 1] if at else os.path.join(ROOT, "build", "release", "floe")
    world = World(os.path.abspath(binary))
    try:
        return demo(world)
    finally:
        world.close()


if __name__ == "__main__":
    sys.exit(main())
