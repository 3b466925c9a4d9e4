#!/usr/bin/python3
"""Records what README.md shows: these commands, run one after the other on a terminal, and what they print.

    tests/integration/session.py [--binary build/release/floe] [--write]

Port 9092 must be free: the commands are those that a reader would type. `--write` puts the session between the
markers in README.md.
"""
import fcntl
import os
import pty
import re
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import termios
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
README = os.path.join(ROOT, "README.md")
BEGIN, END = "<!-- session -->", "<!-- session end -->"
SERVE = "floe serve --dev &"
COMMANDS = (
    "floe topic create orders --partitions 2",
    "seq 1 5 | floe produce orders -k user-7",
    "floe consume orders --until end --format '%p %o %k %v\\n'",
    "kcat -b localhost:9092 -G billing -X auto.offset.reset=earliest -q -c 3 orders",
    "floe group list",
    "floe group describe billing",
    "floe group seek billing --to start",
    "redis-cli -p 9092 XADD greetings '*' value hi",
    "curl -s 'localhost:9092/v1/topics/greetings/records?from=start'",
    "floe topic usage orders",
    "floe top --once",
)
SECONDS = 60


def run(command, environment, folder):
    """By bash on a terminal of its own; what it printed. It must succeed."""
    mine, theirs = pty.openpty()
    fcntl.ioctl(mine, termios.TIOCSWINSZ, struct.pack("HHHH", 50, 120, 0, 0))
    process = subprocess.Popen(["bash", "-c", command], stdin=subprocess.DEVNULL, stdout=theirs, stderr=theirs,
                               env=environment, cwd=folder, start_new_session=True)
    os.close(theirs)
    text = b""
    while True:
        try:
            part = os.read(mine, 65536)
        except OSError:  # Linux: the last one has closed it.
            break
        if not part:
            break
        text += part
    os.close(mine)
    code = process.wait(SECONDS)
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text.decode().replace("\r\n", "\n"))
    if code != 0:
        sys.exit(f"session: {command}: exit code {code}\n{text}")
    return text


def serve(environment, folder):
    """The server, and what it said up to its examples."""
    process = subprocess.Popen(["floe", "serve", "--dev"], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                               env=environment, cwd=folder, text=True, start_new_session=True)
    said, ready = [], False
    for line in process.stderr:
        ready = ready or line.startswith("floe ready")
        if ready:  # Before that it may warn about this machine.
            said.append(line)
        if "topic usage" in line:
            return process, "".join(said)
    sys.exit(f"session: floe serve --dev ended with {process.wait(SECONDS)}: {''.join(said)}")


def record(binary):
    environment = dict(os.environ, PATH=f"{os.path.dirname(binary)}:{os.environ['PATH']}", TERM="xterm", LC_ALL="C")
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", 9092))
        except OSError as error:
            sys.exit(f"session: port 9092 is not free: {error}. Stop what listens there")
    with tempfile.TemporaryDirectory(prefix="floe-session-") as folder:
        process, said = serve(environment, folder)
        try:
            text = f"$ {SERVE}\n{said}"
            for command in COMMANDS:
                text += f"$ {command}\n" + run(command, environment, folder)
        finally:
            process.send_signal(signal.SIGTERM)
            start = time.monotonic()
            while process.poll() is None and time.monotonic() - start < SECONDS:
                time.sleep(0.05)
    if process.returncode != 0:
        sys.exit(f"session: the server ended with {process.returncode}")
    return text


def block(text):
    lines = "\n".join(line.rstrip() for line in text.splitlines())  # Cells that are empty.
    return f"{BEGIN}\n```\n{lines}\n```\n{END}"


def main():
    at = sys.argv.index("--binary") if "--binary" in sys.argv else 0
    text = record(os.path.abspath(sys.argv[at + 1] if at else os.path.join(ROOT, "build", "release", "floe")))
    if "--write" not in sys.argv:
        print(text, end="")
        return
    with open(README, encoding="utf-8") as file:
        before = file.read()
    after, count = re.subn(f"{BEGIN}\n.*?{END}", lambda _: block(text), before, flags=re.S)
    if count != 1:
        sys.exit(f"session: README.md has not one pair of {BEGIN} and {END}")
    with open(README, "w", encoding="utf-8") as file:
        file.write(after)


if __name__ == "__main__":
    main()
