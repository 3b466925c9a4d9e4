"""Less than a server would like to have: rights, locked memory, io_uring."""
import ctypes
import fcntl
import os
import re
import resource
import shutil
import socket
import stat
import struct
import subprocess
import tempfile
import threading

from fixture import Skip, check, consume, equal, lines, produce

ALONE = True  # See run.

NOBODY = 65534
LONELY = 54321  # Somebody without any other process: RLIMIT_NPROC counts all of a user's.
PR_SET_NO_NEW_PRIVS = 38
SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_NEW_LISTENER, SECCOMP_CONTINUE = 1, 8, 1
SECCOMP_IOCTL_NOTIF_RECV, SECCOMP_IOCTL_NOTIF_SEND = 0xC0502100, 0xC0182101
SYS_IO_URING_SETUP, SYS_SECCOMP = 425, 317
EPERM = 1


def round_trip(world, server):
    records = lines(300)
    produce(server, "limited", records)
    equal(consume(server, "limited"), records)
    equal(server.stop(), 0)


def filter_io_uring(answer, flags=0):
    """A filter as container runtimes load it: what io_uring_setup() is answered. What seccomp() returns."""
    load, jump_equal, give = 0x20, 0x15, 0x06
    program = struct.pack("HBBI", load, 0, 0, 0)
    program += struct.pack("HBBI", jump_equal, 0, 1, SYS_IO_URING_SETUP)
    program += struct.pack("HBBI", give, 0, 0, answer)
    program += struct.pack("HBBI", give, 0, 0, 0x7FFF0000)
    code = ctypes.create_string_buffer(program, len(program))
    filter_ = ctypes.create_string_buffer(
        struct.pack("HxxxxxxQ", len(program) // 8, ctypes.addressof(code)), 16)
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
        os._exit(99)
    done = libc.syscall(SYS_SECCOMP, SECCOMP_SET_MODE_FILTER, flags, filter_)
    if done < 0:
        os._exit(98)
    return done


def forbid_io_uring():
    filter_io_uring(0x00050000 | EPERM)


def let_one_thread_have_io_uring(connection):
    """Asks the filter's questions itself: the first thread that wants a ring gets it, the others EPERM."""
    _, (listener,), _, _ = socket.recv_fds(connection, 1, 1)
    first = None
    try:
        while True:
            question = bytearray(80)  # struct seccomp_notif
            fcntl.ioctl(listener, SECCOMP_IOCTL_NOTIF_RECV, question)
            ident, thread = struct.unpack_from("QI", question)
            first = first or thread
            verdict = (0, SECCOMP_CONTINUE) if thread == first else (-EPERM, 0)
            fcntl.ioctl(listener, SECCOMP_IOCTL_NOTIF_SEND,
                        bytearray(struct.pack("Qqii", ident, 0, *verdict)))
    except OSError:
        os.close(listener)  # The server is gone.


def test_without_io_uring_it_falls_back_loudly(world):
    server = world.server(preexec=forbid_io_uring)
    equal(server.ready["io"], "posix")
    check("io_uring is not available" in server.text, server.text)
    round_trip(world, server)


def test_all_cores_fall_back_when_one_must(world):
    if os.uname().machine != "x86_64":
        raise Skip("the number of seccomp() is x86-64's")
    ours, theirs = socket.socketpair()
    threading.Thread(target=let_one_thread_have_io_uring, args=(ours,), daemon=True).start()

    def preexec():
        listener = filter_io_uring(0x7FC00000, SECCOMP_FILTER_FLAG_NEW_LISTENER)
        socket.send_fds(theirs, [b"f"], [listener])
        os.close(listener)
    server = world.server(preexec=preexec)
    equal(server.ready["io"], "posix")
    equal(len(re.findall(r"io_uring is not available.* core=\d", server.text)), 1, server.text)
    round_trip(world, server)


def test_what_no_engine_has_is_not_blamed_on_io_uring(world):
    def preexec():
        resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
    script = os.path.join(world.dir, "holds-descriptors")  # Enough by the limit, and all taken.
    with open(script, "w", encoding="ascii") as file:
        file.write("#!/bin/bash\nfor n in {3..9} {11..60}; do eval \"exec $n</dev/null\"; done\n"
                   f"exec {world.binary} \"$@\"\n")
    os.chmod(script, 0o755)
    server = world.server(preexec=preexec, start=False)
    server.binary = script
    server.launch()
    equal(server.ends(), 1)
    check("cannot open core" in server.text, server.text)
    check("io_uring is not available" not in server.text, server.text)


def test_uring_asked_for_and_forbidden_is_an_error(world):
    server = world.server(preexec=forbid_io_uring, settings={"io.engine": "uring"}, start=False)
    server.launch()
    equal(server.ends(), 1)
    check("io.engine=posix" in server.text, server.text)


def test_as_nobody_with_little_locked_memory(world):
    if os.getuid() != 0:
        raise Skip("needs root, to become somebody else")
    # The checkout may lie where nobody may look: everything it needs is put elsewhere.
    base = os.path.join("/tmp", f"floe-nobody-{os.getpid()}")
    os.makedirs(base)
    try:
        os.chown(base, NOBODY, NOBODY)
        binary = os.path.join(base, "floe")
        shutil.copy(world.binary, binary)
        os.chmod(binary, stat.S_IRWXU | stat.S_IROTH | stat.S_IXOTH)

        def become_nobody():
            resource.setrlimit(resource.RLIMIT_MEMLOCK, (8 << 20, 8 << 20))
            os.setgroups([])
            os.setgid(NOBODY)
            os.setuid(NOBODY)
        world.binary = binary
        server = world.server(data=os.path.join(base, "data"), preexec=become_nobody)
        round_trip(world, server)
    finally:
        for server in world.servers:
            server.kill()
        shutil.rmtree(base, ignore_errors=True)


def test_too_few_threads_end_the_start_in_order(world):
    if os.getuid() != 0:
        raise Skip("needs root, to become somebody else")
    base = tempfile.mkdtemp(prefix="floe-lonely-", dir="/tmp")
    try:
        os.chown(base, LONELY, LONELY)
        binary = os.path.join(base, "floe")
        shutil.copy(world.binary, binary)
        os.chmod(binary, 0o755)
        # LeakSanitizer would need a thread of its own.
        env = {**os.environ, "TMPDIR": base, "ASAN_OPTIONS": "detect_leaks=0"}
        for threads in (1, *(2, 3, 4) * 5):  # It wants five: two cores, meta, helper, main.
            def preexec(threads=threads):
                os.setgroups([])
                os.setgid(LONELY)
                os.setuid(LONELY)
                resource.setrlimit(resource.RLIMIT_NPROC, (threads, threads))
            done = subprocess.run([binary, "serve", "--dev", "--listen", "kafka://127.0.0.1:0",
                                   "--set", "cpu.cores=2", "--set", "memory.limit=512MiB"],
                                  preexec_fn=preexec, env=env, capture_output=True, timeout=60,
                                  check=False)
            equal(done.returncode, 1, f"with {threads} threads, stderr {done.stderr!r}")
            check(b"ulimit -u" in done.stderr and b"Sanitizer" not in done.stderr, done.stderr)
        equal(os.listdir(base), ["floe"])
    finally:
        shutil.rmtree(base, ignore_errors=True)


def test_few_descriptors(world):
    def preexec():
        resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
    server = world.server(preexec=preexec)
    connections = []
    try:
        for _ in range(100):
            connections.append(server.connect(2))
    except OSError:
        pass
    check(server.alive(), server.text)
    for connection in connections:
        connection.close()
    round_trip(world, server)


def test_smallest_memory(world):
    server = world.server(settings={"memory.limit": "192MiB", "cpu.cores": "1"})
    round_trip(world, server)
