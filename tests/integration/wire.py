"""Just enough of the Kafka protocol to say things that no client library would."""
import contextlib
import ctypes
import socket
import struct

PRODUCE, FETCH, LIST_OFFSETS, METADATA, API_VERSIONS = 0, 1, 2, 3, 18
DELETE_RECORDS, INIT_PRODUCER_ID = 21, 22
NO_PRODUCER = (-1, -1, -1)  # Id, epoch, first sequence.

try:
    ISAL = ctypes.CDLL("libisal.so.2")
    ISAL.crc32_iscsi.argtypes = [ctypes.c_char_p, ctypes.c_int, ctypes.c_uint]
    ISAL.crc32_iscsi.restype = ctypes.c_uint
except OSError:
    ISAL = None


# How a record begins whose value has 2^30 bytes.
LONG_RECORD = b"\xa0\x80\x80\x80\x08\0\0\0\x01\x80\x80\x80\x80\x08"


def resp(*words):
    """A command as Redis's clients send it."""
    words = [word if isinstance(word, bytes) else str(word).encode() for word in words]
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(w), w) for w in words)


def crc32c(data):
    if ISAL is not None:
        return ISAL.crc32_iscsi(bytes(data), len(data), 0xFFFFFFFF) ^ 0xFFFFFFFF
    return crc32c_slow(data)


def crc32c_slow(data):
    """What it is by definition, bit for bit."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def varint(number):
    """Zigzag."""
    number = (number << 1) ^ (number >> 63)
    out = b""
    while number >= 0x80:
        out += bytes([number & 0x7F | 0x80])
        number >>= 7
    return out + bytes([number])


def batch(values, time_ms=1700000000000, producer=NO_PRODUCER):
    """A record batch v2, uncompressed."""
    records = b""
    for index, value in enumerate(values):
        body = b"\0" + varint(0) + varint(index) + varint(-1) + varint(len(value)) + value + varint(0)
        records += varint(len(body)) + body
    count = len(values)
    after = struct.pack(">hiqqqhii", 0, count - 1, time_ms, time_ms, *producer, count) + records
    head = struct.pack(">iBI", -1, 2, crc32c(after))
    return struct.pack(">qi", 0, len(head) + len(after)) + head + after


def text(value):
    return struct.pack(">h", len(value)) + value.encode()


def request(key, version, body=b"", correlation=1, client="wire"):
    """With its length; request header v1."""
    frame = struct.pack(">hhi", key, version, correlation) + text(client) + body
    return struct.pack(">i", len(frame)) + frame


def produce_request(topic, records, partition=0, acks=-1, correlation=1, version=7):
    body = struct.pack(">hhii", -1, acks, 30000, 1) + text(topic)
    body += struct.pack(">iii", 1, partition, len(records)) + records
    return request(PRODUCE, version, body, correlation)


def fetch_request(topic, offset, partition=0, wait_ms=0, correlation=1, version=4):
    """4 to 6; only from 6 on there is an error for what the disk lost."""
    body = struct.pack(">iiiib", -1, wait_ms, 1, 1 << 20, 0)
    body += struct.pack(">i", 1) + text(topic) + struct.pack(">iiq", 1, partition, offset)
    body += (struct.pack(">q", -1) if version > 4 else b"") + struct.pack(">i", 1 << 20)
    return request(FETCH, version, body, correlation)


def delete_records_request(topic, offset, partition=0, correlation=1):
    body = struct.pack(">i", 1) + text(topic) + struct.pack(">iiqi", 1, partition, offset, 30000)
    return request(DELETE_RECORDS, 0, body, correlation)


def producer_id_request(correlation=1):
    """For one without transactions."""
    return request(INIT_PRODUCER_ID, 0, struct.pack(">hi", -1, 60000), correlation)


def producer_id(body):
    """Of an InitProducerId v0 response: error, id, epoch."""
    return struct.unpack(">hqh", body[4:16])


def read_exactly(connection, size):
    data = b""
    while len(data) < size:
        part = connection.recv(size - len(data))
        if not part:
            raise ConnectionError(f"closed after {len(data)} of {size} bytes")
        data += part
    return data


def answer(connection):
    """One response: correlation id and body."""
    size = struct.unpack(">i", read_exactly(connection, 4))[0]
    data = read_exactly(connection, size)
    return struct.unpack(">i", data[:4])[0], data[4:]


def fetched(body, topic, version=4):
    """Of a Fetch response with one partition: error, high watermark, record bytes."""
    at = 4 + 4 + 2 + len(topic) + 4 + 4
    error, high = struct.unpack(">hq", body[at:at + 10])
    at += 26 if version > 4 else 18
    aborted, = struct.unpack(">i", body[at:at + 4])
    at += 4 + max(aborted, 0) * 16
    size = struct.unpack(">i", body[at:at + 4])[0]
    return error, high, body[at + 4:at + 4 + max(size, 0)]


def produced(body, topic):
    """Of a Produce v7 response with one partition: error, base offset."""
    at = 4 + 2 + len(topic) + 4 + 4
    return struct.unpack(">hq", body[at:at + 10])


def is_closed(connection):
    """Waits until the peer closes; what it still says is thrown away."""
    try:
        while connection.recv(65536):
            pass
    except ConnectionError:
        return True
    except socket.timeout:
        return False
    return True


@contextlib.contextmanager
def deaf(server, topic, fetches):
    """A client that asks for more than the sockets hold, each answer an offset later, and reads nothing."""
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.connect(("127.0.0.1", server.port))
        for n in range(fetches):
            connection.sendall(fetch_request(topic, n, correlation=n))
        yield connection
