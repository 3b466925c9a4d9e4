"""A disk with a volatile write cache whose power can be cut, and an ext4 on it.

    image file <- nbdkit (its cache filter in writeback) <- nbdfuse (a file) <- loop device <- ext4

What is written stays in nbdkit's memory until a flush asks for it; the flush goes down from
fdatasync() and RWF_DSYNC through ext4, loop and fuse. The cut is a kill -9 of nbdkit: all that no
flush has carried to the image is gone, and a flush that is under way stops in the middle. Loop,
fuse and the kernel's memory go with it, since all of them are taken down before the image is looked
at again. The image itself is not flushed (fua discards it): nothing dies here but processes.

A real disk may have written some of what it was not asked to flush, in any order. The cache is a
file without a name, of which we keep a descriptor: some of its sectors are copied to the image
after a cut.
"""
import contextlib
import ctypes
import errno
import mmap
import os
import resource
import shutil
import signal
import subprocess
import threading
import time
import uuid

AIM_TRIES, AIM_SECONDS = 8, 0.003
SECONDS = 20  # For each step; a step takes milliseconds.
PROGRAMS = {"nbdkit": "nbdkit", "nbdfuse": "libnbd-bin", "fusermount3": "fuse3", "losetup": "mount",
            "mkfs.ext4": "e2fsprogs", "e2fsck": "e2fsprogs"}
BLOCK, SECTOR, WITNESS_BLOCKS, COPY_BYTES = 4096, 512, 256, 1 << 20
BOOT_ID = "/proc/sys/kernel/random/boot_id"
CLONE_NEWNS, MS_BIND, MS_REC, MS_PRIVATE, PR_SET_PDEATHSIG = 0x20000, 4096, 16384, 1 << 18, 1
LIBC = ctypes.CDLL(None, use_errno=True)


def missing():
    """Why there cannot be such a disk here; None when there can."""
    if os.geteuid() != 0:
        return "power cuts need root: they mount a loop device"
    for program, package in PROGRAMS.items():
        if shutil.which(program) is None:
            return f"{program} is not installed (package {package})"
    for node in ("/dev/fuse", "/dev/loop-control"):
        try:
            os.close(os.open(node, os.O_RDWR))
        except OSError as error:
            return f"{node}: {error.strerror}"
    return None


def sweep(base):
    """Takes away what runs below `base` left that were killed with -9: mounts, loops, files."""
    with open("/proc/self/mounts", encoding="utf-8") as file:
        mounts = [line.split(" ")[:2] for line in file]
    for source, point in reversed(mounts):  # ext4 stands on what was mounted before it.
        owner = os.path.join(os.path.dirname(point), "owner")
        if not point.startswith(base + os.sep) or is_alive(owner):
            continue
        run("umount", "-l", point, fails=True)
        if source.startswith("/dev/loop"):
            run("losetup", "-d", source, fails=True)
        else:
            shutil.rmtree(os.path.dirname(os.path.dirname(point)), ignore_errors=True)


def is_alive(path):
    """Whether the process lives whose id stands in the file."""
    try:
        with open(path, encoding="ascii") as file:
            return os.path.exists(f"/proc/{int(file.read())}")
    except (OSError, ValueError):
        return True  # Not ours to judge.


def is_stopped(process):
    """All its threads."""
    folder = f"/proc/{process}/task"
    for thread in os.listdir(folder):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # It has ended.
            with open(f"{folder}/{thread}/stat", encoding="ascii") as file:
                if file.read().rpartition(")")[2].split()[0] not in "TtZX":
                    return False
    return True


def with_parent():
    """In a child, before its program: it ends when we end, and leaves no core file."""
    LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def run(*words, fails=False):
    done = subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, timeout=SECONDS,
                          check=False)
    if done.returncode != 0 and not fails:
        raise OSError(f"{' '.join(words)}: {done.returncode}: {done.stderr.decode().strip()}")
    return done.returncode == 0, done.stdout.decode().strip()


def until(true, what, process=None):
    deadline = time.monotonic() + SECONDS
    while not true():
        if process is not None and process.poll() is not None:
            raise OSError(f"{what}: {process.args[0]} ended with {process.returncode}")
        if time.monotonic() > deadline:
            raise OSError(f"{what}: not within {SECONDS} s")
        time.sleep(0.002)


def cached(file):
    """Where the file has data: position and size of each piece. What is not cached is a hole."""
    end = 0
    while True:
        try:
            at = os.lseek(file, end, os.SEEK_DATA)
        except OSError as error:
            if error.errno == errno.ENXIO:  # There is no more.
                return
            raise
        end = os.lseek(file, at, os.SEEK_HOLE)
        for piece in range(at, end, COPY_BYTES):
            yield piece, min(COPY_BYTES, end - piece)


class Device:
    """Between start() and cut(), `root` is the mounted file system."""

    def __init__(self, folder, size_mib=256):
        self.folder, self.size = folder, size_mib << 20
        self.image = os.path.join(folder, "image")
        self.file = os.path.join(folder, "disk")
        self.socket = os.path.join(folder, "socket")
        self.root = os.path.join(folder, "root")
        self.boot_id = os.path.join(folder, "boot_id")
        self.log = None
        self.nbdkit = self.nbdfuse = self.loop = self.witness = self.cache = None
        self.mounted = self.witness_written = False
        self.writer = None
        self.buffer = mmap.mmap(-1, BLOCK)  # Aligned, as O_DIRECT wants it.

    def make(self):
        """A new, empty disk."""
        os.makedirs(self.root, exist_ok=True)
        with open(os.path.join(self.folder, "owner"), "w", encoding="ascii") as file:
            file.write(str(os.getpid()))
        with open(self.image, "wb") as image:
            image.truncate(self.size)
        run("mkfs.ext4", "-q", "-F", "-b", str(BLOCK), "-J", "size=4",
            "-E", "lazy_itable_init=0,lazy_journal_init=0", self.image)

    def start(self):
        """Power on: what the image holds is what the machine finds."""
        with open(self.boot_id, "w", encoding="ascii") as file:
            file.write(f"{uuid.uuid4()}\n")
        self.log = open(os.path.join(self.folder, "device.log"), "ab")  # pylint: disable=R1732
        self.nbdkit = self.launch("nbdkit", "-f", "-U", self.socket,
                                  "--filter=cache", "--filter=fua", "file", self.image,
                                  "cache=writeback", f"cache-min-block-size={BLOCK}",
                                  "fuamode=discard")
        until(lambda: os.path.exists(self.socket), "nbdkit's socket", self.nbdkit)
        until(self.cache_open, "nbdkit's cache", self.nbdkit)
        with open(self.file, "wb"):
            pass
        self.nbdfuse = self.launch("nbdfuse", self.file, "--unix", self.socket)
        until(lambda: os.path.getsize(self.file) == self.size, "nbdfuse's file", self.nbdfuse)
        self.loop = run("losetup", "-f", "--show", self.file)[1]
        self.mount()

    def cache_open(self):
        """The file without a name: it is as large as the disk, each block at its place."""
        folder = f"/proc/{self.nbdkit.pid}/fd"
        for name in os.listdir(folder):
            target = os.readlink(f"{folder}/{name}")
            if target.startswith(self.folder) and target.endswith("(deleted)"):
                self.cache = os.open(f"{folder}/{name}", os.O_RDONLY)
                return True
        return False

    def mount(self):
        options = ("-t", "ext4", self.loop, self.root)
        if not run("mount", *options, fails=True)[0]:
            run("e2fsck", "-fy", self.loop, fails=True)
            run("mount", *options)
        self.mounted = True

    def launch(self, *words):
        return subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log,
                                preexec_fn=with_parent,
                                env={**os.environ, "TMPDIR": self.folder})

    def in_this_boot(self):
        """For the server, before its program: the kernel looks freshly started after each cut."""
        with_parent()
        if (LIBC.unshare(CLONE_NEWNS) != 0 or
                LIBC.mount(None, b"/", None, MS_REC | MS_PRIVATE, None) != 0 or
                LIBC.mount(self.boot_id.encode(), BOOT_ID.encode(), None, MS_BIND, None) != 0):
            raise OSError(ctypes.get_errno(), "a boot id of its own")

    def flush(self):
        """All that was written is durable."""
        run("sync", "-f", self.root)

    # The witness: blocks that are written and not flushed.

    def witness_open(self):
        path = os.path.join(self.root, "witness")
        if not os.path.exists(path):
            with open(path, "wb") as file:
                file.write(bytes(BLOCK * WITNESS_BLOCKS))
                os.fsync(file.fileno())
            self.flush()
        self.witness = os.open(path, os.O_RDWR | os.O_DIRECT)

    def witness_start(self, slot):
        """Writes a block; in a thread, since a flush that is under way holds it up, and the cut
        shall not wait for the end of that."""
        def write():
            with contextlib.suppress(OSError):
                os.pwritev(self.witness, [self.buffer], slot % WITNESS_BLOCKS * BLOCK)
                self.witness_written = True
        self.buffer[:] = b"w" * BLOCK
        self.witness_written = False
        self.writer = threading.Thread(target=write, daemon=True)
        self.writer.start()

    def witness_lost(self, slot):
        """Whether the block was written before the cut, and is gone; it is made empty again."""
        os.preadv(self.witness, [self.buffer], slot % WITNESS_BLOCKS * BLOCK)
        there = self.buffer[0] != 0
        if there:
            self.buffer[:] = bytes(BLOCK)
            os.pwritev(self.witness, [self.buffer], slot % WITNESS_BLOCKS * BLOCK)
            os.fdatasync(self.witness)
        lost, self.witness_written = self.witness_written and not there, False
        return lost

    # Power off.

    def aim(self, prng):
        """Stops the disk while something is in it that no flush has carried to the image: half a
        flush, or one that is still to come. After some tries it stands wherever it stands."""
        for _ in range(AIM_TRIES):
            time.sleep(prng.random() * AIM_SECONDS)
            self.nbdkit.send_signal(signal.SIGSTOP)
            until(lambda: is_stopped(self.nbdkit.pid), "nbdkit stops")
            if any(self.unflushed()):
                return
            self.nbdkit.send_signal(signal.SIGCONT)

    def unflushed(self):
        """Sectors of the cache that the image does not have: position and content."""
        with open(self.image, "rb") as image:
            for at, size in cached(self.cache):
                new, old = os.pread(self.cache, size, at), os.pread(image.fileno(), size, at)
                for sector in range(0, size if new != old else 0, SECTOR):
                    if new[sector:sector + SECTOR] != old[sector:sector + SECTOR]:
                        yield at + sector, new[sector:sector + SECTOR]

    def cut(self):
        """At once. The rest is taken away by clear(), when nobody has files there any more."""
        written = self.witness_written
        self.nbdkit.send_signal(signal.SIGKILL)
        if self.writer is not None:
            self.writer.join(SECONDS)  # By an error, if it was not done.
            self.writer = None
        self.witness_written = written

    def save(self, prng, share):
        """After clear(): a share of the sectors that no flush had asked for is on the disk after
        all. How many bytes there were, and how many are."""
        sectors = list(self.unflushed())
        saved = [sector for sector in sectors if prng.random() < share]
        with open(self.image, "r+b") as image:
            for at, content in saved:
                os.pwrite(image.fileno(), content, at)
        os.close(self.cache)
        self.cache = None
        return len(sectors) * SECTOR, len(saved) * SECTOR

    def clear(self):
        """Takes down what stands, whatever that is; the image stays."""
        if self.witness is not None:
            os.close(self.witness)
            self.witness = None
        self.end(self.nbdkit)
        if self.mounted:
            # A server's ring may hold files for a moment after its process is gone.
            if not any(run("umount", self.root, fails=True)[0] or time.sleep(0.02)
                       for _ in range(10)):
                run("umount", "-l", self.root, fails=True)
            self.mounted = False
        if self.loop is not None:
            run("losetup", "-d", self.loop, fails=True)
            self.loop = None
        self.end(self.nbdfuse)
        if self.nbdfuse is not None:
            run("umount", "-l", self.file, fails=True)
        self.nbdkit = self.nbdfuse = None
        for path in (self.socket, self.file):
            if os.path.exists(path):
                os.unlink(path)
        if self.log is not None:
            self.log.close()
            self.log = None

    @staticmethod
    def end(process):
        if process is not None:
            process.kill()
            process.wait(SECONDS)
