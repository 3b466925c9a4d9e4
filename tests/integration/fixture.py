"""A floe server of its own for each test: started, waited for, killed, and its words kept."""
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time

ROOT = os.path.abspath(os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", ".."))
BATCH_RECORDS, BATCH_BYTES = 10_000, 500_000  # So much goes into one batch of librdkafka's.
BUILD_CLIENTS = os.path.join(ROOT, "build", "clients")  # What registries bring.
FETCH_SECONDS = 120
START_SECONDS = 60  # Generous: a sanitizer's build on a busy machine.
READY = re.compile(
    r"^floe ready listen=(?P<listen>\S+) node=(?P<node>\d+) cores=(?P<cores>\d+)"
    r" io=(?P<io>\S+) storage=(?P<storage>\S+)", re.M)


class Skip(Exception):
    """This machine cannot run the test; the text says why."""


class World:
    """What one test gets: the binary, a directory that goes away, servers that are ended."""

    def __init__(self, binary, client=None):
        self.binary = binary
        self.client = client or binary
        base = os.path.join(ROOT, "build", "integration")
        os.makedirs(base, exist_ok=True)
        self.dir = tempfile.mkdtemp(dir=base)
        self.data = os.path.join(self.dir, "data")
        self.servers = []

    def server(self, *words, data=None, settings=None, preexec=None, start=True, port=0,
               protocol="kafka"):
        server = Server(self.binary, data or self.data, words, settings or {}, preexec, port,
                        protocol)
        self.servers.append(server)
        if start:
            server.start()
        return server

    def floe(self, *words, input=None, env=None, timeout=60):
        """Runs the command line; bytes in and out."""
        return subprocess.run([self.client, *words], input=input, capture_output=True,
                              timeout=timeout, env=env, check=False)

    def close(self):
        for server in self.servers:
            server.kill()
        shutil.rmtree(self.dir, ignore_errors=True)


class Server:
    def __init__(self, binary, data, words, settings, preexec, port, protocol):
        self.binary, self.data, self.words = binary, data, list(words)
        self.settings = {"memory.limit": "512MiB", "topic.auto.create": "true",
                         "meta.log.bytes": "1MiB", "cpu.cores": "2",
                         "retention.ms": "-1",  # Some records here are of any time.
                         **settings}
        self.preexec, self.port_wanted, self.protocol = preexec, port, protocol
        self.process, self.text, self.ready = None, "", None

    def launch(self):
        """Starts the process and does not wait."""
        command = [self.binary, "serve", "--data", self.data,
                   "--listen", f"{self.protocol}://127.0.0.1:{self.port_wanted}", *self.words]
        for key, value in self.settings.items():
            command += ["--set", f"{key}={value}"]
        self.text, self.ready = "", None
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL,
                                        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                                        preexec_fn=self.preexec)
        self.reader = threading.Thread(target=self._read, args=(self.process.stderr,), daemon=True)
        self.reader.start()
        return self

    def _read(self, pipe):
        for line in iter(pipe.readline, b""):
            self.text += line.decode(errors="replace")

    def start(self):
        self.launch()
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            self.ready = READY.search(self.text)
            if self.ready:
                return self
            if self.process.poll() is not None:
                self.reader.join(5)
                raise AssertionError(f"floe serve ended with {self.process.returncode}:\n{self.text}")
            time.sleep(0.02)
        self.kill()
        raise AssertionError(f"no ready line within {START_SECONDS} s:\n{self.text}")

    def says(self, words):
        """Waits until it has said so."""
        deadline = time.monotonic() + START_SECONDS
        while words not in self.text:
            check(time.monotonic() < deadline, f"{words!r} was not said: {self.text}")
            time.sleep(0.01)

    def ends(self, seconds=START_SECONDS):
        """Waits for the process to end by itself; its exit code."""
        code = self.process.wait(seconds)
        self.reader.join(5)
        return code

    @property
    def port(self):
        return int(re.search(r":(\d+)", self.ready["listen"].split("://", 1)[1].rsplit("]", 1)[-1])[1])

    @property
    def address(self):
        return f"127.0.0.1:{self.port}"

    def connect(self, seconds=30):
        connection = socket.create_connection(("127.0.0.1", self.port), seconds)
        connection.settimeout(seconds)
        return connection

    def alive(self):
        return self.process is not None and self.process.poll() is None

    def kill(self):
        """kill -9, and the process is gone when this returns."""
        if self.process is not None:
            if self.process.poll() is None:
                self.process.send_signal(signal.SIGKILL)
            self.process.wait(30)
            self.reader.join(5)

    def stop(self, seconds=60):
        """SIGTERM; the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.ends(seconds)


def equal(found, wanted, what=""):
    if found != wanted:
        raise AssertionError(f"{what + ': ' if what else ''}found {found!r:.600}, wanted {wanted!r:.600}")


def check(condition, what):
    if not condition:
        raise AssertionError(what)


def until(condition, what):
    deadline = time.monotonic() + START_SECONDS
    while not condition():
        check(time.monotonic() < deadline, f"never happened: {what}")
        time.sleep(0.05)


def memory_kib(server, field="VmRSS"):
    """VmRSS, or VmHWM: the most there ever was."""
    with open(f"/proc/{server.process.pid}/status", encoding="ascii") as file:
        return int(re.search(rf"^{field}:\s+(\d+) kB", file.read(), re.M)[1])


def counters(server):
    """SIGUSR1's lines, a dict per core; the last one is the metadata core's."""
    at, cores = len(server.text), int(server.ready["cores"]) + 1
    server.process.send_signal(signal.SIGUSR1)
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        rows = re.findall(r"counters (.*)\n", server.text[at:])
        if len(rows) == cores:
            return [{key: int(value) for key, value in re.findall(r"(\w+)=(\d+)", row)}
                    for row in rows]
        time.sleep(0.02)
    raise AssertionError(f"no counters: {server.text[at:]}")


def need(command):
    if shutil.which(command) is None:
        raise Skip(f"{command} is not installed")


def need_module(name):
    try:
        return __import__(name)
    except ImportError as error:
        raise Skip(f"python module {name}: {error}") from error


def fetched(name, version, *command, cwd=None):
    """Runs `command` once for this version; Skip says why it cannot."""
    done = os.path.join(BUILD_CLIENTS, f"{name}-{version}.done")
    if os.path.exists(done):
        return
    os.makedirs(BUILD_CLIENTS, exist_ok=True)
    try:
        ran = subprocess.run(command, cwd=cwd, capture_output=True, timeout=FETCH_SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Skip(f"{name} {version} cannot be fetched: {error}") from error
    if ran.returncode != 0:
        said = (ran.stderr + ran.stdout).decode(errors="replace").strip().splitlines()
        raise Skip(f"{name} {version} cannot be fetched: {said[-1][:200] if said else ran.returncode}")
    open(done, "w", encoding="ascii").close()


def npm_folder(least_node, *packages):
    """The folder whose node_modules has these, each as name@version; fetched once."""
    need("node")
    need("npm")
    node = int(subprocess.run(["node", "--version"], capture_output=True, check=True)
               .stdout.decode().lstrip("v").split(".")[0])
    if node < least_node:
        raise Skip(f"{' and '.join(packages)} need Node {least_node}, here is {node}")
    name = "npm-" + "-".join(packages).replace("/", "-").replace("@", "-")
    folder = os.path.join(BUILD_CLIENTS, name)
    os.makedirs(folder, exist_ok=True)
    fetched(name, "1", "npm", "install", "--prefix", folder, "--no-save", "--no-audit", "--no-fund",
            "--ignore-scripts", *packages)
    return folder


def lines(count, prefix="record"):
    """Records that differ in size; none is empty, kcat leaves empty ones out."""
    return [f"{prefix}-{n}-{'x' * (n * 7 % 301)}" for n in range(count)]


def kcat(*words, input=None, timeout=60):
    need("kcat")
    done = subprocess.run(["kcat", "-q", "-X", "broker.address.family=v4", *words], input=input,
                          capture_output=True, timeout=timeout, check=False)
    if done.returncode != 0:
        raise AssertionError(f"kcat {' '.join(words)}: {done.returncode}: {done.stderr.decode()}")
    return done.stdout


def produce(server, topic, records, *words):
    """Keys are not set; partition 0 keeps the order of one list. What fits into a batch is one,
    however slowly kcat gets its lines: it goes when all are there. `words` may say otherwise."""
    data = "".join(record + "\n" for record in records).encode()
    count = sum(1 for line in data.split(b"\n") if line)
    told = any(word.startswith(("linger.ms", "batch.num.messages")) for word in words)
    if 0 < count <= BATCH_RECORDS and len(data) < BATCH_BYTES and not told:
        words += ("-X", f"batch.num.messages={count}", "-X", "linger.ms=60000")
    kcat("-P", "-b", server.address, "-t", topic, "-p", "0", *words, input=data)


def consume(server, topic, *words, partition="0"):
    out = kcat("-C", "-b", server.address, "-t", topic, "-p", partition, "-o", "beginning", "-e",
               *words)
    return out.decode().splitlines()
