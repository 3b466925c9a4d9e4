"""HTTP as the tests need it: whole requests by http.client, and bytes that no client would send."""
import http.client
import json
import re
import socket

from fixture import check, equal


def ask(server, method, path, body=None, headers=None, seconds=60):
    """One request on a connection of its own: status, headers, body."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=seconds)
    try:
        connection.request(method, path, body=body, headers=headers or {})
        answer = connection.getresponse()
        return answer.status, answer.headers, answer.read()
    finally:
        connection.close()


def get(server, path, status=200, headers=None, seconds=60):
    found, _, body = ask(server, "GET", path, headers=headers, seconds=seconds)
    equal(found, status, f"GET {path}: {body[:300]!r}")
    return json.loads(body)


def post(server, path, body, status=200, headers=None):
    """Bytes with X-Floe; or anything else as JSON."""
    if not isinstance(body, bytes):
        headers = {"Content-Type": "application/json", **(headers or {})}
        body = json.dumps(body).encode()
    found, _, answer = ask(server, "POST", path, body, {"X-Floe": "1", **(headers or {})})
    equal(found, status, f"POST {path}: {answer[:300]!r}")
    return json.loads(answer) if answer else None


def make(server, topic, partitions=1, **configs):
    body = {"name": topic, "partitions": partitions,
            "configs": {key.replace("_", "."): str(value) for key, value in configs.items()}}
    return post(server, "/v1/topics", body, 201)


def read_answer(stream, head=False):
    """The next answer of a pipelined connection (a binary file): status, headers, body."""
    line = stream.readline()
    found = re.fullmatch(rb"HTTP/1\.1 (\d\d\d) [A-Za-z -]+\r\n", line)
    check(found, f"no status line: {line!r}")
    headers = http.client.parse_headers(stream)
    size = 0 if head or found[1] in (b"204", b"100") else int(headers["Content-Length"])
    body = stream.read(size)
    equal(len(body), size, "bytes of the body")
    return int(found[1]), headers, body


def exchange(server, data, answers=1, ends=False):
    """Sends bytes, reads so many answers; `ends`: then the connection ends."""
    with socket.create_connection(("127.0.0.1", server.port), 30) as connection:
        connection.sendall(data)
        with connection.makefile("rb") as stream:
            found = [read_answer(stream) for _ in range(answers)]
            if ends:
                connection.shutdown(socket.SHUT_WR)
                equal(stream.read(), b"", "what follows the last answer")
            return found


class Events:
    """A stream of server-sent events."""

    def __init__(self, server, path, last_id=None):
        self.connection = socket.create_connection(("127.0.0.1", server.port), 60)
        last = f"Last-Event-ID: {last_id}\r\n" if last_id is not None else ""
        self.connection.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n{last}\r\n".encode())
        self.file = self.connection.makefile("rb")
        line = self.file.readline()
        check(line.startswith(b"HTTP/1.1 200 "), f"{line!r}")
        self.headers = http.client.parse_headers(self.file)
        equal(self.headers["Content-Type"], "text/event-stream")

    def next(self):
        """The next event that has data, as a dict with `event`, `id` and `data`; None: the end."""
        event = {}
        while True:
            line = self.file.readline()
            if line == b"":
                return None
            line = line.decode().rstrip("\n")
            if line == "":
                if "data" in event:
                    event["data"] = json.loads(event["data"])
                    return event
                event = {}
                continue
            name, _, value = line.partition(":")
            event[name] = value.lstrip(" ")

    def close(self):
        self.file.close()
        self.connection.close()
