"""redis-py as a command; see README.md for what each action prints."""
import sys

import redis

action, address, key, protocol = sys.argv[1:5]
COUNT = 48


def connect():
    options = {} if protocol == "2" else {"protocol": int(protocol)}  # An old one knows only the first.
    return redis.Redis(host=address.split(":")[0], port=int(address.split(":")[1]), **options)


def show(entries):
    for entry, fields in entries:
        print(entry.decode(), fields[b"value"].decode())


def first_stream(answer):
    """A list of pairs in RESP2, a map of lists of lists in RESP3."""
    if isinstance(answer, dict):
        return [entry for chunk in answer[key.encode()] for entry in chunk]
    return answer[0][1]


def pipeline(r):
    with r.pipeline() as pipe:  # MULTI and EXEC around it, as by default.
        for n in range(1, COUNT + 1):
            pipe.xadd(key, {"value": f"v{n}"}, id=f"{n}-1")
        for entry in pipe.execute():
            print(entry.decode())


def write(r):
    for n in range(1, COUNT + 1):
        print(r.xadd(key, {"value": f"v{n}"}, id=f"{n}-1").decode())


def admin(r):
    info = r.info()
    print(info["server_name"], r.type(key).decode(), r.xinfo_stream(key)["length"], r.delete(key), r.exists(key))


def binary(r):
    r.xadd(key, {"value": bytes(range(256))}, id="1-1")
    print(r.xrange(key)[0][1][b"value"].hex())


def groups(r):
    r.xgroup_create(key, "g", "0")
    entries = first_stream(r.xreadgroup("g", "me", {key: ">"}, count=3))
    show(entries)
    print("pending", r.xpending(key, "g")["pending"])
    print("acked", r.xack(key, "g", *[entry for entry, _ in entries]))
    print("pending", r.xpending(key, "g")["pending"])


def trim(r):
    r.xtrim(key, maxlen=5, approximate=False)
    print(r.xlen(key))


ACTIONS = {"connect": lambda r: print("PONG" if r.ping() else "?"), "write": write, "pipeline": pipeline,
           "range": lambda r: show(r.xrange(key)), "trim": trim, "admin": admin, "binary": binary,
           "block": lambda r: show(first_stream(r.xread({key: "99-0"}, block=30000))), "groups": groups}
ACTIONS[action](connect())
