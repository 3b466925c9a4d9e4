"""A client of the Walrus protocol, written from its wire format: le32 length, then the text."""
import socket
import struct


class Walrus:
    def __init__(self, port, seconds=30):
        self.socket = socket.create_connection(("127.0.0.1", port), seconds)
        self.socket.settimeout(seconds)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def send(self, text):
        self.socket.sendall(frame(text))

    def receive(self):
        """The next answer, or None at the end of the connection."""
        head = self._exactly(4)
        if head is None:
            return None
        return self._exactly(struct.unpack("<I", head)[0])

    def _exactly(self, size):
        got = b""
        while len(got) < size:
            more = self.socket.recv(size - len(got))
            if not more:
                if got:
                    raise AssertionError(f"cut off behind {got[:60]!r}")
                return None
            got += more
        return got

    def ask(self, text):
        self.send(text)
        return self.receive()

    def put(self, topic, payload):
        return self.ask(b"PUT " + topic + b" " + payload)

    def get(self, topic):
        """The payload; None: there is none."""
        answer = self.ask(b"GET " + topic)
        if answer == b"EMPTY":
            return None
        if not answer.startswith(b"OK "):
            raise AssertionError(f"GET {topic!r}: {answer!r}")
        return answer[3:]

    def get_all(self, topic):
        found = []
        while (payload := self.get(topic)) is not None:
            found.append(payload)
        return found


def frame(text):
    return struct.pack("<I", len(text)) + text
