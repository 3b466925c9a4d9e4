"""Data directories that are newer, damaged, read-only, full, or gone: a clear error, nothing lost."""
import contextlib
import errno
import glob
import os
import shutil
import stat
import struct
import subprocess
import tempfile

import wire
from fixture import Skip, check, consume, equal, lines, produce

NOBODY = 65534
KAFKA_STORAGE_ERROR = 56
FETCH_STORAGE_ERROR = 6  # What Fetch says up to version 5 instead.
SLOT_BYTES = 4096
SLOT_CRC_AT = 4092
RAFT_SLOT_CRC_TO = 64
RAFT_FRAME_BYTES = 64


def refused(world, *wanted, **options):
    """A start that ends with code 1 and a sentence with all of `wanted`."""
    server = world.server(start=False, **options).launch()
    equal(server.ends(), 1, f"exit code; it said: {server.text}")
    sentence = server.text[server.text.find("floe serve: "):]
    check(sentence, f"no sentence for the operator: {server.text}")
    for word in wanted:
        check(word in sentence, f"{word!r} is not in: {sentence}")
    check("ERROR: AddressSanitizer" not in server.text, server.text)


def furnish(world, **options):
    """A directory with ten records in it, of a server that was stopped."""
    server = world.server(**options)
    produce(server, "d", lines(10))
    equal(server.stop(), 0)
    return server


def still_has_all(server):
    server.start()
    equal(consume(server, "d"), lines(10))
    equal(server.stop(), 0)


def read(path):
    with open(path, "rb") as file:
        return file.read()


def write(path, data):
    with open(path, "r+b") as file:
        file.write(data)
        file.truncate()


def tree(root):
    """Every file of the directory but LOCK, which names the last pid: path -> bytes."""
    found = {}
    for place, _, names in os.walk(root):
        for name in names:
            if name != "LOCK":
                path = os.path.join(place, name)
                found[os.path.relpath(path, root)] = read(path)
    return found


def with_version(slot, version, least):
    """A superblock slot as another floe would write it, its CRC right."""
    slot = slot[:8] + struct.pack("<II", version, least) + slot[16:SLOT_CRC_AT]
    return slot + struct.pack("<I", wire.crc32c(slot))


def slots(world):
    data = read(os.path.join(world.data, "superblock"))
    equal(len(data), 2 * SLOT_BYTES, "bytes of the superblock")
    return data[:SLOT_BYTES], data[SLOT_BYTES:]


# --- Versions. ---

def test_a_newer_superblock_is_refused(world):
    server = furnish(world)
    first, second = slots(world)
    path = os.path.join(world.data, "superblock")
    for new in ((with_version(first, 2, 2), with_version(second, 2, 2)),
                (first, with_version(second, 9, 2))):
        write(path, b"".join(new))
        before = tree(world.data)
        refused(world, world.data, "newer floe")
        equal(tree(world.data) == before, True, "the directory is as it was")
    write(path, first + second)
    still_has_all(server)


def test_a_newer_superblock_that_lets_us_in(world):
    server = furnish(world)
    write(os.path.join(world.data, "superblock"),
          b"".join(with_version(slot, 2, 1) for slot in slots(world)))
    still_has_all(server)


def newer_raft(data, end):
    """Version 2 at the file's beginning, with the CRC that covers 0..12 and 16..end."""
    head = data[:8] + struct.pack("<I", 2)
    crc = struct.pack("<I", wire.crc32c(head + data[16:end]))
    return head + crc + data[16:]


def test_newer_raft_files_are_refused(world):
    server = furnish(world)
    term, log = (os.path.join(world.data, "meta", name) for name in ("term", "log-0"))
    equal(read(term)[:8], b"FLOETERM")
    equal(read(log)[:8], b"FLOERAFT")
    old_term, old_log = read(term), read(log)
    slot = newer_raft(old_term[:SLOT_BYTES], RAFT_SLOT_CRC_TO)
    records = struct.unpack("<I", old_log[48:52])[0]
    for path, old, new in ((term, old_term, slot + slot),
                           (log, old_log, newer_raft(old_log, RAFT_FRAME_BYTES + records))):
        write(path, new)
        refused(world, path, "newer floe")
        equal(read(path) == new, True, f"{path} is as it was")
        write(path, old)
    still_has_all(server)


def segments(world):
    return sorted(glob.glob(os.path.join(world.data, "topics", "*", "*", "*.seg")))


def make_topic(server, topic):
    """By asking for its metadata; answered once every core knows it."""
    with server.connect() as connection:
        connection.sendall(wire.request(wire.METADATA, 1, struct.pack(">i", 1) + wire.text(topic)))
        wire.answer(connection)


def fetch_error(server, topic):
    with server.connect() as connection:
        connection.sendall(wire.fetch_request(topic, 0))
        return wire.fetched(wire.answer(connection)[1], topic)[0]


def test_a_segment_that_cannot_be_read_keeps_its_partition_only(world):
    server = furnish(world)
    path, = segments(world)
    server.start()
    produce(server, "other", lines(5))
    equal(server.stop(), 0)
    old = read(path)
    newer = old[:8] + struct.pack("<I", 2) + old[12:SLOT_CRC_AT]
    newer += struct.pack("<I", wire.crc32c(newer)) + old[SLOT_BYTES:]
    for new in (newer, bytes(SLOT_BYTES) + old[SLOT_BYTES:], old[:100]):
        write(path, new)
        server.start()
        equal(consume(server, "other"), lines(5))
        equal(fetch_error(server, "d"), FETCH_STORAGE_ERROR)
        equal(produce_one(server, "d", b"no")[0], KAFKA_STORAGE_ERROR)
        check(path.rsplit("/", 1)[1][:16] in server.text, f"the segment is not named: {server.text}")
        equal(server.stop(), 0)
        equal(read(path) == new, True, "the segment is as it was")
    write(path, old)
    still_has_all(server)


# --- Damage. ---

def test_one_bad_superblock_slot_is_mended(world):
    server = furnish(world)
    path = os.path.join(world.data, "superblock")
    for slot in (0, 1):
        data = bytearray(read(path))
        data[slot * SLOT_BYTES + 100] ^= 1
        write(path, data)
        still_has_all(server)
        identities = {struct.unpack("<16s16s16s", one[16:64]) for one in slots(world)}
        equal(len(identities), 1, "identities in the two slots")


def test_two_bad_superblock_slots_are_refused(world):
    server = furnish(world)
    path = os.path.join(world.data, "superblock")
    good = read(path)
    torn = bytearray(good)
    torn[100] ^= 1
    torn[SLOT_BYTES + 100] ^= 1
    for bad in (bytes(torn), bytes(len(good)), good[:1000]):
        write(path, bad)
        before = tree(world.data)
        refused(world, world.data, "bad", "backup")
        equal(tree(world.data) == before, True, "the directory is as it was")
    write(path, good)
    still_has_all(server)


def test_a_lost_or_empty_superblock_is_refused(world):
    server = furnish(world)
    path = os.path.join(world.data, "superblock")
    good = read(path)
    write(path, b"")
    refused(world, world.data)
    os.unlink(path)
    before = tree(world.data)
    refused(world, world.data)
    equal(tree(world.data) == before, True, "the directory is as it was")
    with open(path, "wb") as file:
        file.write(good)
    still_has_all(server)


def test_lost_metadata_is_refused(world):
    server = furnish(world)
    meta = os.path.join(world.data, "meta")
    os.rename(meta, meta + ".kept")
    refused(world, world.data)
    shutil.rmtree(meta, ignore_errors=True)
    os.rename(meta + ".kept", meta)
    still_has_all(server)


def test_metadata_of_another_directory_is_refused(world):
    server = furnish(world)
    other = world.server(data=world.data + "2")
    produce(other, "d", lines(3))
    equal(other.stop(), 0)
    meta = os.path.join(world.data, "meta")
    os.rename(meta, meta + ".kept")
    shutil.copytree(os.path.join(world.data + "2", "meta"), meta)
    refused(world, world.data)
    shutil.rmtree(meta)
    os.rename(meta + ".kept", meta)
    still_has_all(server)


def test_a_directory_that_is_deleted_under_the_server(world):
    server = world.server(settings={"segment.records": "10"})
    produce(server, "d", lines(10))
    shutil.rmtree(world.data)
    codes = {produce_one(server, "d", b"%d" % n)[0] for n in range(20)}
    make_topic(server, "new")
    codes |= {produce_one(server, "new", b"%d" % n)[0] for n in range(3)}
    check(codes <= {0, KAFKA_STORAGE_ERROR}, f"errors {codes}")
    check(KAFKA_STORAGE_ERROR in codes, "files were made where no directory is")
    check(server.alive(), server.text)
    equal(fetch_error(server, "d"), 0)
    equal(server.stop(), 0)


# --- Rights. ---

@contextlib.contextmanager
def as_nobody(world):
    """A place in /tmp and a preexec: the checkout may lie where nobody may look."""
    if os.getuid() != 0:
        raise Skip("needs root, to become somebody else")
    base = tempfile.mkdtemp(prefix="floe-nobody-", dir="/tmp")
    os.chmod(base, 0o755)
    kept = world.binary

    def preexec():
        os.setgroups([])
        os.setgid(NOBODY)
        os.setuid(NOBODY)
    try:
        binary = os.path.join(base, "floe")
        shutil.copy(world.binary, binary)
        os.chmod(binary, 0o755)
        world.binary = binary
        yield base, preexec
    finally:
        world.binary = kept
        for server in world.servers:
            server.kill()
        shutil.rmtree(base, ignore_errors=True)


def test_a_directory_of_somebody_else_is_refused(world):
    with as_nobody(world) as (base, preexec):
        data = os.path.join(base, "data")
        server = furnish(world, data=data)
        refused(world, data, "user who owns it", data=data, preexec=preexec)
        os.chmod(data, 0o700)
        refused(world, data, data=data, preexec=preexec)
        still_has_all(server)


def test_a_read_only_directory_of_nobody_is_refused(world):
    with as_nobody(world) as (base, preexec):
        data = os.path.join(base, "data")
        os.mkdir(data)
        os.chown(data, NOBODY, NOBODY)
        os.chmod(data, stat.S_IRUSR | stat.S_IXUSR)
        refused(world, data, "user who owns it", data=data, preexec=preexec)
        equal(os.listdir(data), [])


def test_an_unwritable_or_missing_parent_is_named(world):
    with as_nobody(world) as (base, preexec):
        data = os.path.join(base, "data")
        refused(world, data, "parent", "writable", data=data, preexec=preexec)
    missing = os.path.join(world.dir, "no", "such")
    refused(world, missing, "parent", data=missing)


# --- Disks of their own. ---

def system(*command):
    done = subprocess.run(command, capture_output=True, check=False, timeout=60,
                          env={**os.environ, "PATH": os.environ.get("PATH", "") + ":/sbin:/usr/sbin"})
    return done.returncode, done.stderr.decode(errors="replace").strip()


@contextlib.contextmanager
def mounted(world, *words):
    """What `words` mount, at the path that is given."""
    if os.getuid() != 0:
        raise Skip("needs root, to mount")
    place = os.path.join(world.dir, "disk")
    os.makedirs(place, exist_ok=True)
    code, said = system("mount", *words, place)
    if code != 0:
        raise Skip(f"mount {' '.join(words)}: {said}")
    try:
        yield place
    finally:
        for server in world.servers:
            server.kill()
        if system("umount", place)[0] != 0:
            system("umount", "-l", place)


@contextlib.contextmanager
def small_disk(world, mib=48):
    image = os.path.join(world.dir, "image")
    with open(image, "wb") as file:
        file.truncate(mib << 20)
    code, said = system("mkfs.ext4", "-q", "-F", "-m", "0", "-O", "^has_journal", image)
    if code != 0:
        raise Skip(f"mkfs.ext4: {said}")
    with mounted(world, "-o", "loop", image) as place:
        yield place


def fill(path):
    """A file of all that is free."""
    with open(path, "wb", buffering=0) as file:
        for piece in (1 << 20, 4096, 512):
            with contextlib.suppress(OSError):
                while file.write(bytes(piece)) > 0:
                    pass
        with contextlib.suppress(OSError):
            os.fsync(file.fileno())


def test_a_read_only_file_system_is_refused(world):
    server = furnish(world)
    with mounted(world, "--bind", world.dir) as place:
        code, said = system("mount", "-o", "remount,bind,ro", place)
        if code != 0:
            raise Skip(f"remount: {said}")
        data = os.path.join(place, "data")
        check(errno_of_write(data) == errno.EROFS, "the file system is not read-only")
        refused(world, data, "ead-only", "Mount", data=data)
        missing = os.path.join(place, "fresh")
        refused(world, missing, data=missing)
    still_has_all(server)


def errno_of_write(directory):
    try:
        with open(os.path.join(directory, "probe"), "wb"):
            return 0
    except OSError as error:
        return error.errno


def test_a_disk_that_is_full_at_the_first_start(world):
    with small_disk(world) as place:
        data, ballast = os.path.join(place, "data"), os.path.join(place, "ballast")
        fill(ballast)
        refused(world, data, "pace", data=data)
        os.unlink(ballast)
        server = furnish(world, data=data)  # What the first start left behind is no hindrance.
        still_has_all(server)


def produce_one(server, topic, value, connection=None):
    """(error, offset) of one record."""
    if connection is None:
        with server.connect() as own:
            return produce_one(server, topic, value, own)
    connection.sendall(wire.produce_request(topic, wire.batch([value])))
    return wire.produced(wire.answer(connection)[1], topic)


def produce_until_refused(server, topic, acked, seed):
    """Appends records of 8 KiB until three in a row fail; the errors."""
    errors = []
    with server.connect(60) as connection:
        for n in range(20000):
            value = b"%s-%d-" % (seed, n) + b"x" * 8192
            error, offset = produce_one(server, topic, value, connection)
            if error == 0:
                acked[offset] = value
                errors = []
            else:
                errors.append(error)
            if len(errors) == 3:
                return errors
    raise AssertionError(f"the disk does not get full: {len(acked)} appends")


def has_acked(server, topic, acked):
    """Every acked record is where its ack said."""
    left = dict(acked)
    with server.connect() as connection:
        at = 0
        while left:
            connection.sendall(wire.fetch_request(topic, at))
            error, _, data = wire.fetched(wire.answer(connection)[1], topic)
            equal(error, 0, f"fetch at {at}")
            check(data, f"nothing at {at}; {len(left)} acked records are missing")
            while len(data) >= 61:
                base, size = struct.unpack(">qi", data[:12])
                batch, data = data[:12 + size], data[12 + size:]
                if len(batch) < 12 + size:
                    break  # The tail of a reply may be cut.
                if base in left:
                    check(left.pop(base) in batch, f"offset {base} is another record")
                at = base + struct.unpack(">i", batch[23:27])[0] + 1


SMALL = {"segment.bytes": "1MiB", "meta.log.bytes": "1MiB"}


def test_a_disk_that_gets_full(world):
    with small_disk(world) as place:
        data, ballast = os.path.join(place, "data"), os.path.join(place, "ballast")
        with open(ballast, "wb") as file:
            file.write(bytes(8 << 20))
            os.fsync(file.fileno())
        server = world.server(data=data, settings=SMALL)
        acked = {}
        make_topic(server, "full")
        errors = produce_until_refused(server, "full", acked, b"first")
        equal(set(errors), {KAFKA_STORAGE_ERROR}, "errors of a full disk")
        check(len(acked) > 500, f"only {len(acked)} appends fit on the disk")
        has_acked(server, "full", acked)
        server.kill()
        server.start()
        has_acked(server, "full", acked)
        equal(set(produce_until_refused(server, "full", acked, b"second")), {KAFKA_STORAGE_ERROR})
        has_acked(server, "full", acked)
        os.unlink(ballast)
        before = len(acked)
        error, offset = produce_one(server, "full", b"space again")
        equal(error, 0, "error of an append once there is space")
        acked[offset] = b"space again"
        produce_until_refused(server, "full", acked, b"third")
        check(len(acked) > before + 100, f"only {len(acked) - before} appends into 8 MiB")
        has_acked(server, "full", acked)
        equal(server.stop(), 0)
        server.start()
        has_acked(server, "full", acked)
        equal(server.stop(), 0)


def test_topics_on_a_full_disk(world):
    """The map's log has its room; a topic's file has none."""
    with small_disk(world) as place:
        data, ballast = os.path.join(place, "data"), os.path.join(place, "ballast")
        server = world.server(data=data, settings=SMALL)
        produce(server, "before", lines(10))
        fill(ballast)
        for n in range(20):
            make_topic(server, f"t{n}")
            equal(produce_one(server, f"t{n}", b"no room")[0], KAFKA_STORAGE_ERROR)
        check(server.alive(), server.text)
        equal(consume(server, "before"), lines(10))
        server.kill()
        server.start()
        os.unlink(ballast)
        for n in range(20):
            equal(produce_one(server, f"t{n}", b"room")[0], 0, f"error of topic t{n}")
        equal(consume(server, "before"), lines(10))
        equal(server.stop(), 0)


def start_or_say_why(server):
    """On a full disk. True: it runs; False: it ended, with a sentence about space."""
    try:
        server.start()
        return True
    except AssertionError:
        check("no space left" in server.text, server.text)
        return False


def test_snapshots_of_the_map_on_a_full_disk(world):
    """Enough changes of the map that its log wants a snapshot, which needs a new file. Raft may stop
    the process then (meta/raft_log.h), but not without a sentence, and nothing is lost."""
    with small_disk(world) as place:
        data, ballast = os.path.join(place, "data"), os.path.join(place, "ballast")
        server = world.server(data=data, settings={**SMALL, "meta.log.bytes": "256KiB"})
        produce(server, "before", lines(10))
        fill(ballast)
        made = []
        try:
            for n in range(100):
                make_topic(server, f"t{n}")
                made.append(f"t{n}")
            equal(consume(server, "before"), lines(10))
        except (ConnectionError, AssertionError):
            server.ends()  # Or else it has no excuse. Its last words take a moment.
            check("no space left" in server.text, server.text)
        check(len(made) > 5, f"only {made} were made")
        server.kill()
        if start_or_say_why(server):
            equal(consume(server, "before"), lines(10))
        server.kill()
        os.unlink(ballast)
        server.start()
        equal(consume(server, "before"), lines(10))
        listed = world.floe("topic", "list", "-b", server.address).stdout.decode()
        names = {line.split("\t")[0] for line in listed.splitlines()}
        equal(set(made) - names, set(), "topics whose making was answered")
        produce(server, made[-1], lines(5))
        equal(consume(server, made[-1]), lines(5))
        equal(server.stop(), 0)
