"""floe doctor: what it finds, well and unwell, and that it changes nothing."""
import json
import os
import resource
import socket
import subprocess
import threading

from fixture import Skip, check, equal
from test_limits import forbid_io_uring


def doctor(world, *words, code=0, preexec=None, data=None):
    """Its rows by the name of the check; where there are several of one name, the last."""
    done = subprocess.run([world.client, "doctor", "-o", "json", "--data", data or world.data,
                           "--set", "cpu.cores=2", *words],
                          capture_output=True, timeout=60, check=False, preexec_fn=preexec)
    equal(done.returncode, code, f"{done.stdout} {done.stderr}")
    rows = json.loads(done.stdout)["rows"]
    failed = [row["check"] for row in rows if row["result"] == "fail"]
    equal(bool(failed), code == 1, f"{rows}")
    if failed:
        check(f"{len(failed)} of {len(rows)} checks failed [FLOE-1601]".encode() in done.stderr, done.stderr)
    for row in rows:
        check(row["result"] == "ok" or row["remedy"], f"no remedy: {row}")
    return {row["check"]: row for row in rows}


def tree(path):
    """Every file with its size and times."""
    found = {}
    for folder, folders, files in os.walk(path):
        for name in folders + files:
            at = os.path.join(folder, name)
            stat = os.lstat(at)
            found[at] = (stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_mode)
    return found


def free_port():
    with socket.socket() as at:
        at.bind(("127.0.0.1", 0))
        return at.getsockname()[1]


def test_a_machine_without_a_server(world):
    port = free_port()
    rows = doctor(world, "--listen", f"kafka://127.0.0.1:{port}")
    equal(sorted(rows), sorted(["settings", "io_uring", "locked memory", "open files", "threads", "cores",
                                "memory", "NUMA", "huge pages", "clock", "clock source", "data directory",
                                "file system", "O_DIRECT", "free space", "listen", "server"]))
    for name in ("settings", "data directory", "O_DIRECT", "listen", "server", "memory", "NUMA"):
        equal(rows[name]["result"], "ok", str(rows[name]))
    check("first start" in rows["data directory"]["found"], rows["data directory"])
    check("free" in rows["listen"]["found"], rows["listen"])
    check(not os.path.exists(world.data), "it made the directory")


def test_a_running_server_is_well_and_untouched(world):
    server = world.server()
    before = tree(world.data)
    rows = doctor(world, "-b", server.address, "--listen", f"kafka://{server.address}")
    equal(tree(world.data), before)
    for name, words in (("listen", "a server answers"), ("server", "0 topics"), ("O_DIRECT", "allowed"),
                        ("data directory", "in use"), ("advertised", f"{server.address}, which answers")):
        equal(rows[name]["result"], "ok", str(rows[name]))
        check(words in rows[name]["found"], rows[name])
    server.stop()
    before = tree(world.data)
    check("in use" not in doctor(world)["data directory"]["found"], "it is not")
    equal(tree(world.data), before)
    server.start()  # And starts, for nothing of it was locked.


def test_an_advertised_address_that_nobody_reaches_gets_its_fix(world):
    for told, why in ((f"127.0.0.1:{free_port()}", "refused"), ("floe.invalid:9092", "")):
        server = world.server("--set", f"advertise={told}", data=world.data + told)
        row = doctor(world, "-b", server.address, code=1)["advertised"]
        check(told in row["found"] and why in row["found"], row)
        check(f"--set advertise={server.address}" in row["remedy"], row)
        fixed = world.server("--set", f"advertise={server.address}", data=world.data + told + "2")
        equal(doctor(world, "-b", fixed.address)["advertised"]["result"], "ok")


def test_no_server_where_one_was_named(world):
    row = doctor(world, "-b", f"127.0.0.1:{free_port()}", code=1)["server"]
    check("nobody answers" in row["found"] and "refused" in row["found"], row)
    row = doctor(world, "-b", "floe.invalid:9092", code=1)["server"]
    check("floe.invalid" in row["found"], row)


def test_a_server_of_another_kind(world):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        def hang_up():
            try:
                while True:
                    listener.accept()[0].close()
            except OSError:
                pass
        threading.Thread(target=hang_up, daemon=True).start()
        address = f"127.0.0.1:{listener.getsockname()[1]}"
        row = doctor(world, "-b", address, code=1)["server"]
        check("does not answer as a Kafka broker" in row["found"], row)
        listener.shutdown(socket.SHUT_RDWR)


def test_settings_that_are_wrong_are_a_row(world):
    rows = doctor(world, "--set", "cpu.corse=1", code=1)
    check("cpu.cores" in rows["settings"]["found"] and "[FLOE-1201]" in rows["settings"]["found"],
          rows["settings"])
    check("open files" not in rows and "free space" in rows, rows)
    for setting, code in (("listen=nowhere", "1202"), ("cpu.cores=9000", "1203"), ("memory.limit=900TiB", "1203")):
        check(code in doctor(world, "--set", setting, code=1)["settings"]["found"], setting)


def test_directories_that_will_not_do(world):
    path = os.path.join(world.dir, "file")
    with open(path, "w", encoding="utf-8"):
        pass
    check("is a file" in doctor(world, data=path, code=1)["data directory"]["found"], path)
    check("make it" in doctor(world, data=os.path.join(world.dir, "no", "parent"), code=1)
          ["data directory"]["remedy"], "no parent")
    if not os.path.isdir("/dev/shm"):
        raise Skip("/dev/shm is not there")
    row = doctor(world, data="/dev/shm/floe-is-not-here")["file system"]
    equal((row["result"], row["found"]), ("warn", "tmpfs"))
    check("not used" in doctor(world, "--set", "storage.engine=mmap")["O_DIRECT"]["found"], "mmap")


def test_limits_that_are_too_low(world):
    def few_files(count):
        return lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (count, count))
    row = doctor(world, preexec=few_files(40), code=1)["open files"]
    check("40 may be open" in row["found"] and "LimitNOFILE" in row["remedy"], row)
    equal(doctor(world, preexec=few_files(2000))["open files"]["result"], "warn")
    equal(doctor(world, "--set", "connections.max=100", preexec=few_files(2000))["open files"]["result"], "ok")


def test_io_uring_that_is_forbidden(world):
    row = doctor(world, preexec=forbid_io_uring)["io_uring"]
    equal(row["result"], "warn")
    check("posix" in row["found"] and "seccomp" in row["remedy"], row)
    equal(doctor(world, "--set", "io.engine=posix", preexec=forbid_io_uring)["io_uring"]["result"], "ok")
    equal(doctor(world, "--set", "io.engine=uring", preexec=forbid_io_uring, code=1)["io_uring"]["result"], "fail")


def test_addresses_to_listen_on_that_are_held_or_elsewhere(world):
    with socket.socket() as held:  # Bound, and nobody listens: not a server.
        held.bind(("127.0.0.1", 0))
        port = held.getsockname()[1]
        row = doctor(world, "--listen", f"kafka://127.0.0.1:{port}", code=1)["listen"]
        check("held" in row["found"] and "ss -ltnp" in row["remedy"], row)
    row = doctor(world, "--listen", "kafka://192.0.2.1:9092", code=1)["listen"]
    check("192.0.2.1" in row["found"] and "ip address" in row["remedy"], row)


def test_a_client_elsewhere_would_be_told(world):
    port = free_port()
    row = doctor(world, "--listen", f"kafka://127.0.0.1:{port}", "--from-client", "127.0.0.1")["client"]
    check("told that address" in row["found"] and f"127.0.0.1:{port}" in row["found"], row)
    # 192.0.2.1 is nobody's: by the routes it is elsewhere, or cannot be reached at all.
    row = doctor(world, "--listen", f"kafka://127.0.0.1:{port}", "--from-client", "192.0.2.1", code=1)["client"]
    check("nothing listens" in row["found"] or "cannot be reached" in row["found"], row)
    row = doctor(world, "--listen", f"any://0.0.0.0:{port}", "--set", "advertise=localhost:9092",
                 "--from-client", "192.0.2.1", code=1)["client"]
    check("drop the setting advertise" in row["remedy"] or "cannot be reached" in row["found"], row)
