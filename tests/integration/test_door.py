"""The ports: which protocols they take, IPv6, ports that are held, and connections too many."""
import os
import re
import socket
import struct
import subprocess

import wire
from fixture import READY, Skip, check, consume, equal, lines, need, produce
from test_directory import NOBODY, as_nobody
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


def starts(world, listen, data, preexec=None):
    """The exit code and the words of a server that is expected to end by itself."""
    done = subprocess.run([world.binary, "serve", "--data", data, "--listen", listen, "--set",
                           "memory.limit=256MiB", "--set", "cpu.cores=2"],
                          capture_output=True, timeout=60, check=False, preexec_fn=preexec)
    return done.returncode, done.stderr.decode()


def one_is_let_in(server):
    for _ in range(1000):  # A close may still be under way.
        with Walrus(server.port) as client:
            if client.ask(b"REGISTER logs") == b"OK":
                return
    raise AssertionError("no room where one left")


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
    one_is_let_in(server)
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
    one_is_let_in(server)
    equal([client.ask(b"GET logs") for client in inside], [b"EMPTY"] * 3)
    late = server.connect()
    equal(server.stop(), 0, "exit code")
    late.close()


def test_ipv4_and_ipv6_may_have_a_listener_each_on_one_port(world):
    need_ipv6()
    port = free_port()
    for n, listen in enumerate((f"any://0.0.0.0:{port},walrus://[::]:{port}",
                                f"walrus://[::]:{port},any://0.0.0.0:{port}")):
        server = world.server("--listen", listen, data=os.path.join(world.dir, str(n)))
        equal(READY.search(server.text)["listen"], listen)
        with Walrus(port) as client:
            equal(client.ask(b"REGISTER both"), b"OK")
        for host, wanted in (("127.0.0.1", b"+PONG\r\n"), ("::1", b"\x18\0\0\0ERR invalid frame length")):
            with socket.create_connection((host, port), 30) as connection:
                connection.sendall(b"PING\r\n")
                connection.shutdown(socket.SHUT_WR)
                equal(connection.recv(100), wanted, host)
        equal(server.stop(), 0, "exit code")


def test_an_address_that_will_not_do_is_told_what_would(world):
    port = free_port()
    for listen, code, said in (
            (f"any://0.0.0.0:{port},kafka://127.0.0.1:{port}", 2,
             f"127.0.0.1:{port} is part of 0.0.0.0:{port}: give one of them, or another port"),
            (f"any://127.0.0.1:{port},kafka://127.0.0.1:{port}", 2, "is given twice: give it once"),
            ("any://broker.example:9092", 2, "no numeric host:port, as in any://0.0.0.0:9092"),
            ("any://::1:9092", 2, "an IPv6 address stands in brackets"),
            ("any://127.0.0.1", 2, "the port is missing"),
            (f"any://192.0.2.1:{port}", 1, "give an address of this machine, or 0.0.0.0 or [::]")):
        found, words = starts(world, listen, os.path.join(world.dir, "none"))
        equal(found, code, f"{listen}: {words}")
        check(said in words, words)
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        held.listen(1)
        code, words = starts(world, f"any://127.0.0.1:{held.getsockname()[1]}", os.path.join(world.dir, "none"))
        equal(code, 1, words)
        check("another server holds this port: stop it, or listen on another one" in words, words)


def test_a_port_of_root_is_refused_with_what_it_needs(world):
    with open("/proc/sys/net/ipv4/ip_unprivileged_port_start", encoding="ascii") as file:
        if int(file.read()) <= 1023:
            raise Skip("anybody may listen on port 1023 here")
    with as_nobody(world) as (base, preexec):
        data = os.path.join(base, "data")
        os.mkdir(data)
        os.chown(data, NOBODY, NOBODY)
        code, words = starts(world, "any://127.0.0.1:1023", data, preexec)
    check(code not in (0, 2), f"{code}: {words}")
    check("ports below 1024 need root or CAP_NET_BIND_SERVICE" in words, words)


def told(port, host="127.0.0.1"):
    """The address of the node by Metadata, FindCoordinator and DescribeCluster: one and the same."""
    with socket.create_connection((host, port), 30) as connection:
        connection.sendall(wire.request(wire.METADATA, 1, struct.pack(">i", 0)))
        _, body = wire.answer(connection)
        equal(struct.unpack(">i", body[:4])[0], 1, "brokers")
        size, = struct.unpack(">h", body[8:10])
        found = body[10:10 + size].decode(), struct.unpack(">i", body[10 + size:14 + size])[0]
        connection.sendall(wire.request(10, 0, wire.text("group")))  # FindCoordinator.
        _, body = wire.answer(connection)
        size, = struct.unpack(">h", body[6:8])
        equal((body[8:8 + size].decode(), struct.unpack(">i", body[8 + size:12 + size])[0]), found)
        connection.sendall(wire.request(60, 0, b"\0" + b"\0\0"))  # DescribeCluster, flexible.
        _, body = wire.answer(connection)
        wanted = bytes([len(found[0]) + 1]) + found[0].encode() + struct.pack(">i", found[1])
        check(wanted in body, f"{body!r}")
        return found


def test_clients_are_told_the_address_that_they_came_in_by(world):
    need_ipv6()
    one, two, three = (free_port() for _ in range(3))
    server = world.server("--listen", f"any://0.0.0.0:{one},any://[::]:{two},kafka://127.0.0.1:{three}")
    for host in ("127.0.0.1", "127.0.0.2"):
        equal(told(one, host), (host, one))
        equal(told(two, host), (host, two))  # Over a socket of IPv6.
    equal(told(two, "::1"), ("::1", two))
    equal(told(three), ("127.0.0.1", three))
    equal(server.stop(), 0)
    server = world.server("--listen", f"any://[::]:{two},any://127.0.0.1:{one}",
                          "--set", "advertise=broker.example:19092")
    for port, host in ((two, "::1"), (two, "127.0.0.2"), (one, "127.0.0.1")):
        equal(told(port, host), ("broker.example", 19092))
    equal(server.stop(), 0)
    server = world.server("--listen", f"any://127.0.0.1:{one}", "--set", "advertise=[2001:db8::1]:9092")
    equal(told(one), ("2001:db8::1", 9092))


def test_an_advertised_address_that_is_none_is_refused(world):
    for value, said in (("broker", "the port is missing"), ("[::1]", "the port is missing"),
                        ("broker:", "a port is 1 to 65535"), ("broker:0", "a port is 1 to 65535"),
                        ("broker:65536", "a port is 1 to 65535"), ("broker:x", "a port is"),
                        (":9092", "one host and one port"), ("a:1,b:2", "in brackets"),
                        ("a b:1", "one host and one port"), ("::1:9092", "in brackets"),
                        ("kafka://broker:9092", "no protocol"), ("0.0.0.0:9092", "all addresses"),
                        ("[::]:9092", "all addresses")):
        done = world.floe("config", "check", "--set", f"advertise={value}")
        words = done.stderr.decode()
        equal(done.returncode, 2, f"{value}: {words}")
        check(f"advertise = {value}: " in words and said in words, words)
    for value in ("broker:9092", "broker.example:1", "10.0.0.1:65535", "[::1]:9092"):
        equal(world.floe("config", "check", "--set", f"advertise={value}").returncode, 0, value)


def test_who_is_silent_or_stuck_is_closed(world):
    server = world.server("--listen", "any://127.0.0.1:0", settings={
        "connections.idle.ms": "600ms", "connections.stall.ms": "300ms"})
    produce(server, "held", ["x" * 100_000] * 100)
    waits = server.connect()  # It is owed an answer: silent for longer than all the others.
    waits.sendall(wire.fetch_request("held", 100, wait_ms=3000))
    silent, begun, half = (server.connect() for _ in range(3))
    begun.sendall(b"\0\0")  # Not even what protocol it is.
    half.sendall(wire.produce_request("held", wire.batch([b"y"]))[:-1])
    for name, connection in (("silent", silent), ("begun", begun), ("half", half)):
        check(wire.is_closed(connection), name)
    server.says("connection closed in the middle of a request: the peer sends no more of it")
    equal(wire.fetched(wire.answer(waits)[1], "held"), (0, 100, b""))


def test_who_takes_no_answers_is_closed(world):
    server = world.server(settings={"connections.stall.ms": "300ms"})
    produce(server, "held", ["x" * 100_000] * 100)
    with wire.deaf(server, "held", 10):
        server.says("connection closed: the peer takes no reply bytes")
