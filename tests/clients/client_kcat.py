"""kcat as a client of the roster; see README.md for what each action prints."""
import signal
import subprocess
import sys
import zlib

ACTION, ADDRESS, TOPIC, *REST = sys.argv[1:]
KCAT = ["kcat", "-q", "-b", ADDRESS, "-X", "broker.address.family=v4"]
FORMAT = "%p %o %k %s\n"


def value(n):
    return (b"%d:" % n * 150)[:100 + n % 50]


def call(*words, **settings):
    return subprocess.run([*KCAT, *words], check=True, timeout=60, **settings)


def show(line):
    partition, offset, key, text = line.split(b" ", 3)
    print(partition.decode(), offset.decode(), key.decode(), zlib.crc32(text), flush=True)


def produce(codec, idempotent, first, count):
    whole = b"".join(b"k%d|%s\n" % (n, value(n)) for n in range(int(first), int(first) + int(count)))
    before = int(call("-Q", "-t", f"{TOPIC}:0:-1", stdout=subprocess.PIPE).stdout.split()[-1])
    call("-P", "-t", TOPIC, "-p", "0", "-K", "|", "-z", codec, "-H", "n=1", "-X",
         f"enable.idempotence={'true' if idempotent == '1' else 'false'}", input=whole)
    for n in range(int(count)):  # kcat prints no acks; that all are there is seen by who reads.
        print(before + n)


def assign(count):
    done = call("-C", "-t", TOPIC, "-p", "0", "-o", "beginning", "-c", count, "-f", FORMAT, stdout=subprocess.PIPE)
    for line in done.stdout.splitlines():
        show(line)


def subscriber(group, *words, **settings):
    return subprocess.Popen(["kcat", "-b", ADDRESS, "-X", "broker.address.family=v4", "-X", "session.timeout.ms=6000",
                             "-X", "heartbeat.interval.ms=500", "-X", "auto.offset.reset=earliest", "-u",
                             "-f", FORMAT, *words, "-G", group, TOPIC], stdout=subprocess.PIPE, **settings)


def group(name, count):
    with subscriber(name, "-q", "-c", count) as process:
        for line in process.stdout:
            show(line.rstrip(b"\n"))
    sys.exit(process.returncode)


def member(name):
    """Its own words for an assignment, on standard error, become ours."""
    process = subscriber(name, stderr=subprocess.STDOUT)
    signal.signal(signal.SIGTERM, lambda *_: process.terminate())
    for line in process.stdout:
        if line.startswith(b"% Group") and b"assigned:" in line:
            found = line.decode().split("assigned:")[1]
            numbers = sorted(int(part.split("]")[0]) for part in found.split("[")[1:])
            print("assigned", ",".join(map(str, numbers)), flush=True)
        elif not line.startswith(b"%"):
            show(line.rstrip(b"\n"))


globals()[ACTION](*REST)
