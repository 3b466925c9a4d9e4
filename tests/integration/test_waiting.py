"""Hundreds of clients that wait for entries, as Redis's do, on a core with little memory."""
import re
import select

from fixture import check, equal, until
from test_crowd import close_all, crowd, room_for
from wire import resp

ALONE = True  # See run.


def asks(connection, *arguments):
    connection.sendall(resp(*arguments))
    return connection.recv(65536)


def readable(connections):
    poll = select.poll()  # select() knows no descriptors above 1,023.
    for connection in connections:
        poll.register(connection, select.POLLIN)
    found = {fd for fd, _ in poll.poll(0)}
    return [connection for connection in connections if connection.fileno() in found]


def blocked_clients(server):
    with server.connect() as connection:
        return int(re.search(rb"\nblocked_clients:(\d+)", asks(connection, "INFO", "clients"))[1])


def check_waiting_readers(world, command, wake):
    """Those for whom there is no memory are told; the others wait, and nobody waits for them."""
    count = 1200
    room_for(count + 500)
    server = world.server(protocol="any", settings={"memory.limit": "128MiB", "cpu.cores": "1"})
    with server.connect() as first:
        check(asks(first, "XADD", "s", "*", "value", "x").startswith(b"$"), "XADD")
        for _ in range(16):
            check(asks(first, "XADD", "large", "*", "value", "y" * 60000).startswith(b"$"), "XADD")
        equal(asks(first, "XGROUP", "CREATE", "s", "g", "$"), b"+OK\r\n")
        readers = crowd(server, count)
        for connection in readers:
            connection.sendall(resp(*command))
        until(lambda: blocked_clients(server) + len(readable(readers)) == count, "all are judged")
        told = readable(readers)
        waiting = [connection for connection in readers if connection not in told]
        print(f"  {len(waiting)} wait, {len(told)} were told")
        check(len(told) > 0 and len(waiting) >= 100, f"{len(waiting)} wait")
        for connection in told:
            answer = connection.recv(4096)
            check(answer.startswith(b"-ERR too many clients wait") and b"memory.limit" in answer, answer)
        first.sendall(resp("XRANGE", "large", "-", "+"))
        size = 0
        while size < 16 * 60000:
            size += len(first.recv(1 << 20))
        wake(first, waiting)
        until(lambda: blocked_clients(server) == 0, "nobody waits")
        told[0].sendall(resp(*command))
        until(lambda: blocked_clients(server) == 1, "there is room for another")
        close_all(readers)
    equal(server.stop(), 0)


def test_readers_that_wait_leave_memory_to_others(world):
    def wake(first, waiting):
        check(asks(first, "XADD", "s", "*", "value", "z").startswith(b"$"), "XADD")
        for connection in waiting:
            check(b"\r\nz\r\n" in connection.recv(4096), "the entry")

    check_waiting_readers(world, ("XREAD", "BLOCK", "0", "STREAMS", "s", "$"), wake)


def test_readers_of_groups_that_wait_leave_memory_to_others(world):
    def wake(_, waiting):
        close_all(waiting)

    check_waiting_readers(world, ("XREADGROUP", "GROUP", "g", "c", "COUNT", "10", "BLOCK", "0", "NOACK",
                                  "STREAMS", "s", ">"), wake)


def test_one_that_waits_for_thousands_of_keys_is_told(world):
    server = world.server(protocol="any", settings={"memory.limit": "128MiB", "cpu.cores": "1"})
    with server.connect() as many, server.connect() as some, server.connect() as first:
        check(asks(first, "XADD", "s", "*", "value", "x").startswith(b"$"), "XADD")
        answer = asks(many, "XREAD", "BLOCK", "0", "STREAMS", *["s"] * 4000, *["$"] * 4000)
        check(answer.startswith(b"-ERR so many keys") and b"fewer keys" in answer, answer)
        some.sendall(resp("XREAD", "BLOCK", "0", "STREAMS", *["s"] * 100, *["$"] * 100))
        until(lambda: blocked_clients(server) == 1, "the other one waits")
        check(asks(first, "XADD", "s", "*", "value", "z").startswith(b"$"), "XADD")
        check(b"\r\nz\r\n" in some.recv(4096), "the entry")
    equal(server.stop(), 0)


def test_who_waits_keeps_the_place(world):
    """An entry wakes all of a group, one gets it; nobody takes the places of those that look in vain."""
    server = world.server(protocol="any", settings={"memory.limit": "128MiB", "cpu.cores": "1"})
    command = resp("XREADGROUP", "GROUP", "g", "c", "BLOCK", "0", "STREAMS", "s", ">")
    room_for(2000)
    with server.connect() as first:
        check(asks(first, "XADD", "s", "*", "value", "x").startswith(b"$"), "XADD")
        equal(asks(first, "XGROUP", "CREATE", "s", "g", "$"), b"+OK\r\n")
        readers = crowd(server, 512)
        for connection in readers:
            connection.sendall(command)
        until(lambda: blocked_clients(server) == 512, "all wait")
        others = crowd(server, 100)
        for connection in others:
            connection.sendall(command)
        for _ in range(20):
            first.sendall(resp("XADD", "s", "*", "value", "y"))
            for _ in range(5):
                for connection in readable(others):
                    check(connection.recv(4096), "an entry, or no place")
                    connection.sendall(command)
            first.recv(4096)
        answers = [connection.recv(4096) for connection in readable(readers)]
        check(not any(b"too many" in answer for answer in answers), f"{answers[:3]}")
        close_all(readers + others)
    equal(server.stop(), 0)
