"""Less than a server would like to have: rights, locked memory, io_uring."""
import ctypes
import os
import resource
import shutil
import stat
import struct
import subprocess
import tempfile

from fixture import Skip, check, consume, equal, lines, produce

NOBODY = 65534
LONELY = 54321  # Somebody without any other process: RLIMIT_NPROC counts all of a user's.
PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP, SECCOMP_MODE_FILTER = 38, 22, 2
SYS_IO_URING_SETUP = 425
EPERM = 1


def round_trip(world, server):
    records = lines(300)
    produce(server, "limited", records)
    equal(consume(server, "limited"), records)
    equal(server.stop(), 0)


def forbid_io_uring():
    """A filter as container runtimes load it: io_uring_setup() is answered with EPERM."""
    load, jump_equal, give = 0x20, 0x15, 0x06
    program = struct.pack("HBBI", load, 0, 0, 0)
    program += struct.pack("HBBI", jump_equal, 0, 1, SYS_IO_URING_SETUP)
    program += struct.pack("HBBI", give, 0, 0, 0x00050000 | EPERM)
    program += struct.pack("HBBI", give, 0, 0, 0x7FFF0000)
    code = ctypes.create_string_buffer(program, len(program))
    filter_ = ctypes.create_string_buffer(
        struct.pack("HxxxxxxQ", len(program) // 8, ctypes.addressof(code)), 16)
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
        os._exit(99)
    if libc.prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.byref(filter_), 0, 0) != 0:
        os._exit(98)


def test_without_io_uring_it_falls_back_loudly(world):
    server = world.server(preexec=forbid_io_uring)
    equal(server.ready["io"], "posix")
    check("io_uring is not available" in server.text, server.text)
    round_trip(world, server)


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
