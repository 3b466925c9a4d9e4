"""floe top: frames in a pipe, and on a terminal, which is left as it was whatever ends it."""
import fcntl
import json
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import time

from fixture import check, equal, produce, until

SECONDS = 60  # Of one wait: it only bounds a hang.
COLUMNS = ["core", "turns", "requests", "in_bytes", "out_bytes", "records", "flushes", "mails", "commit_ms",
           "connections", "partitions", "memory"]


def top(world, server, *words, code=0):
    done = world.floe("top", *words, "-b", server.address)
    equal(done.returncode, code, f"{words}: {done.stderr}")
    return (done.stdout if code == 0 else done.stderr).decode()


class Terminal:
    """floe top on a pty of its own."""
    def __init__(self, world, *words, rows=24, columns=160):
        self.mine, theirs = pty.openpty()
        self.size(rows, columns)
        self.before = termios.tcgetattr(theirs)
        self.process = subprocess.Popen([world.client, "top", *words], stdin=theirs, stdout=theirs, stderr=theirs,
                                        start_new_session=True)
        self.theirs, self.text = theirs, ""

    def size(self, rows, columns):
        fcntl.ioctl(self.mine, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def read(self, pattern):
        """Reads until it is there; takes all of it up to its end."""
        deadline = time.monotonic() + SECONDS
        while True:
            found = re.search(pattern, self.text, re.S)
            if found:
                self.text = self.text[found.end():]
                return found
            check(time.monotonic() < deadline, f"waited in vain for {pattern}: {self.text[-500:]!r}")
            if select.select([self.mine], [], [], 0.2)[0]:
                self.text += os.read(self.mine, 65536).decode()

    def end(self, code):
        equal(self.process.wait(SECONDS), code, self.text)
        self.read(re.escape("\033[?7h\033[?25h\033[?1049l"))
        equal(termios.tcgetattr(self.theirs), self.before, "the terminal is as it was")
        os.close(self.mine)
        os.close(self.theirs)


def is_stopped(pid):
    with open(f"/proc/{pid}/stat", encoding="ascii") as file:
        return file.read().rpartition(")")[2].split()[0] == "T"


def test_frames_in_a_pipe(world):
    server = world.server(protocol="any")
    produce(server, "t", [f"{n}" for n in range(100)])
    lines = top(world, server, "--once").splitlines()
    equal(lines[0].split("\t"), COLUMNS)
    equal([line.split("\t")[0] for line in lines[1:]], ["0", "1", "meta"])
    frames = top(world, server, "-n", "2").split("\n\n")
    equal(len(frames), 2)
    equal(frames[1].splitlines()[0].split("\t"), COLUMNS)
    rows = json.loads(top(world, server, "--once", "-o", "json"))["rows"]
    equal([list(row) for row in rows], [COLUMNS] * 3)
    equal(sum(row["partitions"] for row in rows[:2]), 1)
    check(sum(row["requests"] or 0 for row in rows) > 0, "the question itself is a request")
    check(sum(row["memory"] for row in rows) > 0, rows)
    equal([json.loads(line)["core"] for line in top(world, server, "-n", "2", "-o", "jsonl").splitlines()],
          ["0", "1", "meta"] * 2)


def test_what_is_wrong_is_said(world):
    server = world.server(protocol="any")
    for words, part in ((("--once", "-n", "2"), "give one of them"), (("-i", "0"), "from 1 to 3600"),
                        (("-i", "1s"), "whole number"), (("-n", "0"), "--count"), (("-b", "x://y"), "HOST:PORT")):
        text = top(world, server, *words, code=2) if "-b" not in words else \
            world.floe("top", *words).stderr.decode()
        check(part in text, f"{words}: {text}")
    deaf = world.server(protocol="kafka", data=world.data + "2")
    text = top(world, deaf, "--once", code=1)
    check("does not tell metrics" in text and "any://" in text and "FLOE-1306" in text, text)
    equal(server.stop(), 0)
    text = top(world, server, "--once", code=5)
    check("cannot reach" in text and "FLOE-1301" in text, text)


def test_a_terminal_shows_frames_in_one_place_and_q_quits(world):
    server = world.server(protocol="any")
    terminal = Terminal(world, "-b", server.address)
    terminal.read(re.escape("\033[?1049h") + ".*measuring")
    terminal.read(r"\033\[H.*q: quit.*core +turns.*\r\n0 .*\r\n1 .*\r\nmeta .*\r\nall ")
    terminal.read(r"\033\[H.*all ")
    os.write(terminal.mine, b"xq")
    terminal.end(0)


def test_a_terminal_that_becomes_small_gets_fewer_lines(world):
    server = world.server(protocol="any")
    terminal = Terminal(world, "-b", server.address, "-i", "2")
    terminal.read("all ")
    terminal.read(r"\033\[J")
    terminal.size(4, 40)
    os.kill(terminal.process.pid, signal.SIGWINCH)
    frame = terminal.read(r"\033\[H(.*?)\033\[J")[1]
    equal(frame.count("\r\n"), 3, frame)
    check("meta" not in frame, frame)
    terminal.size(30, 160)
    os.kill(terminal.process.pid, signal.SIGWINCH)
    check("all " in terminal.read(r"\033\[H(.*?)\033\[J")[1], "it is whole again")
    os.write(terminal.mine, b"q")
    terminal.end(0)


def test_signals_leave_the_terminal_as_it_was(world):
    server = world.server(protocol="any")
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
        terminal = Terminal(world, "-b", server.address)
        terminal.read("measuring")
        os.kill(terminal.process.pid, number)
        terminal.end(130)
    terminal = Terminal(world, "-b", server.address)
    terminal.read("all ")
    os.kill(terminal.process.pid, signal.SIGTSTP)
    terminal.read(re.escape("\033[?1049l"))
    until(lambda: is_stopped(terminal.process.pid), "it stops")  # An earlier SIGCONT would be lost.
    equal(termios.tcgetattr(terminal.theirs), terminal.before, "while it is stopped")
    os.kill(terminal.process.pid, signal.SIGCONT)
    terminal.read(re.escape("\033[?1049h") + ".*all ")
    os.write(terminal.mine, b"q")
    terminal.end(0)


def test_it_goes_on_when_the_server_comes_back(world):
    server = world.server(protocol="any")
    terminal = Terminal(world, "-b", server.address)
    terminal.read("all ")
    server.kill()
    terminal.read("cannot reach")
    again = world.server(protocol="any", data=server.data, port=server.port)
    terminal.read("per second")
    check(again.alive(), "it was started")
    os.write(terminal.mine, b"q")
    terminal.end(0)


def test_without_a_server_the_terminal_is_not_kept(world):
    server = world.server(protocol="any")
    equal(server.stop(), 0)
    terminal = Terminal(world, "-b", server.address)
    terminal.read(re.escape("\033[?1049l") + ".*floe top: cannot reach.*FLOE-1301")
    terminal.text = "\033[?7h\033[?25h\033[?1049l"  # That was read.
    terminal.end(5)
