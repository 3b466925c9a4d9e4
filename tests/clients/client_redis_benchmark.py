"""redis-benchmark as a command; see README.md for what each action prints. Its IDs are the server's."""
import subprocess
import sys

action, address, key = sys.argv[1:4]
host, port = address.split(":")
COUNT = 48


def benchmark(*words):
    subprocess.run(["redis-benchmark", "-h", host, "-p", port, "-c", "1", "-q", *words], capture_output=True,
                   timeout=60, check=True)


if action == "connect":
    benchmark("-n", "1", "-t", "ping")
    print("PONG")
else:
    pipelined = ["-P", "16"] if action == "pipeline" else []
    benchmark("-n", str(COUNT), *pipelined, "XADD", key, "*", "value", "v")
    print("added", COUNT)
