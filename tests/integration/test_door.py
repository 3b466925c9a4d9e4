"""The ports: which protocols they take, IPv6, ports that are held, and connections too many."""
import os
import re
import socket
import subprocess

import wire
from fixture import READY, Skip, check, consume, equal, lines, need, produce
from walrus import Walrus


def need_ipv6():
    try:
        with open("/proc/net/if_inet6", encoding="ascii") as file:
            if "00000000000000000000000000000001" in file.read():
                return
    except OSError:
        pass
    raise Skip("there is no IPv6 on loopback")


def free_port():
    with socket.socket(socket.AF_INET6 if socket.has_ipv6 else socket.AF_INET) as probe:
        probe.bind(("::" if socket.has_ipv6 else "", 0))
        return probe.getsockname()[1]


def starts(world, listen, data):
    """The exit code and the words of a server that is expected to end by itself."""
    done = subprocess.run([world.binary, "serve", "--data", data, "--listen", listen, "--set",
                           "memory.limit=256MiB", "--set", "cpu.cores=2"],
                          capture_output=True, timeout=60, check=False)
    return done.returncode, done.stderr.decode()


def test_a_port_for_each_protocol(world):
    one, two, three = (free_port() for _ in range(3))
    listen = f"any://127.0.0.1:{one},walrus://127.0.0.1:{two},kafka://127.0.0.1:{three}"
    server = world.server("--listen", listen)
    equal(READY.search(server.text)["listen"], listen)
    for port in (one, two):
        with Walrus(port) as client:
            equal(client.ask(b"REGISTER both"), b"OK")
            equal(client.put(b"both", b"by %d" % port), b"OK")
    for port in (one, three):
        with socket.create_connection(("127.0.0.1", port), 30) as connection:
            connection.sendall(wire.fetch_request("both", 0))
            _, body = wire.answer(connection)
            check(b"by %d" % one in body and b"by %d" % two in body, f"{body!r}")
    with Walrus(three) as client:  # A length of 0x08000000: no frame of Kafka's.
        client.send(b"GET both")
        equal(client.receive(), None)
    equal(server.stop(), 0, "exit code")


def test_listen_is_refused_with_what_it_may_be(world):
    for listen in ("redis://127.0.0.1:0", "://127.0.0.1:0", "anyx://127.0.0.1:0"):
        code, words = starts(world, listen, world.data)
        equal(code, 2, listen)
        check("unknown protocol; use any://, kafka://" in words, words)


def test_ipv6(world):
    need_ipv6()
    need("kcat")
    server = world.server("--listen", "any://[::1]:0")
    check("listen=any://[::1]:" in server.text, server.text)
    produced = lines(20)
    server_address = f"[::1]:{server.port}"
    done = subprocess.run(["kcat", "-q", "-P", "-b", server_address, "-t", "six", "-p", "0"],
                          input="".join(line + "\n" for line in produced).encode(),
                          capture_output=True, timeout=60, check=False)
    equal(done.returncode, 0, done.stderr.decode())
    done = subprocess.run(["kcat", "-q", "-C", "-b", server_address, "-t", "six", "-p", "0", "-o",
                           "beginning", "-e"], capture_output=True, timeout=60, check=False)
    equal(done.stdout.decode().splitlines(), produced, done.stderr.decode())
    with socket.create_connection(("::1", server.port), 30) as connection:
        connection.sendall(b"\x07\0\0\0GET six")
        connection.settimeout(30)
        check(connection.recv(100)[4:].startswith(b"OK record-0"), "Walrus over IPv6")


def test_an_ipv6_port_for_all_addresses_serves_ipv4_too(world):
    need_ipv6()
    server = world.server("--listen", "any://[::]:0")
    records = lines(10)
    produce(server, "mixed", records)  # By 127.0.0.1, and so are clients told.
    equal(consume(server, "mixed"), records)
    equal(server.stop(), 0, "exit code")


def test_a_port_that_is_held_is_refused_whatever_its_address(world):
    need_ipv6()
    for held, wanted in (("any://[::1]", "any://[::1]"), ("walrus://127.0.0.1", "kafka://127.0.0.1"),
                         ("any://[::]", "any://127.0.0.1"), ("any://127.0.0.1", "any://[::]"),
                         ("any://[::]", "any://[::]")):
        server = world.server("--listen", held + ":0")
        code, words = starts(world, f"{wanted}:{server.port}", os.path.join(world.dir, "other"))
        equal(code, 1, f"{held} and {wanted}: {words}")
        check("another server holds this port" in words, words)
        equal(server.stop(), 0, "exit code")


def test_an_address_has_as_many_connections_as_it_may(world):
    server = world.server(protocol="any", settings={"connections.max.per.address": "3", "cpu.cores": "1"})
    inside = [Walrus(server.port) for _ in range(3)]
    equal([client.ask(b"REGISTER logs") for client in inside], [b"OK"] * 3)
    for _ in range(5):
        with Walrus(server.port) as client:
            equal(client.ask(b"GET logs"), b"ERR too many connections, try again later")
    with server.connect() as connection:
        connection.sendall(wire.request(wire.API_VERSIONS, 0))
        check(wire.is_closed(connection), "Kafka")

    def from_beside(text):
        with socket.create_connection(("127.0.0.1", server.port), 30, ("127.0.0.2", 0)) as other:
            other.sendall(text)
            return b"".join(iter(lambda: other.recv(65536), b""))
    answer = from_beside(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
    refused = re.findall(rb'^floe_connections_refused_address_total{core="0"} (\d+)', answer, re.M)
    equal(refused, [b"6"], "another address is served, and told how many were not")
    check("too many of its address" in server.text, server.text)
    inside.pop().socket.close()
    for _ in range(1000):  # A close may still be under way.
        with Walrus(server.port) as client:
            if client.ask(b"REGISTER logs") == b"OK":
                break
    else:
        raise AssertionError("no room where one left")
    equal(server.stop(), 0, "exit code")


def test_a_connection_too_many_is_told_in_its_protocol(world):
    server = world.server("--listen", "any://127.0.0.1:0",
                          settings={"connections.max": "4", "cpu.cores": "1"})
    inside = [Walrus(server.port) for _ in range(4)]
    equal([client.ask(b"REGISTER logs") for client in inside], [b"OK"] * 4)
    for _ in range(40):  # More than are told at once; and one after the other.
        with Walrus(server.port) as client:
            equal(client.ask(b"GET logs"), b"ERR too many connections, try again later")
            equal(client.receive(), None)
    with server.connect() as connection:  # Kafka's clients expect no word: they are closed.
        connection.sendall(wire.request(wire.API_VERSIONS, 0))
        check(wire.is_closed(connection), "Kafka")
    silent = [server.connect() for _ in range(40)]
    equal([connection.recv(1) for connection in silent], [b""] * 40, "those that say nothing")
    inside.pop().socket.close()
    for _ in range(1000):  # A close may still be under way.
        with Walrus(server.port) as client:
            if client.ask(b"REGISTER logs") == b"OK":
                break
    else:
        raise AssertionError("no room where one left")
    equal([client.ask(b"GET logs") for client in inside], [b"EMPTY"] * 3)
    late = server.connect()
    equal(server.stop(), 0, "exit code")
    late.close()
