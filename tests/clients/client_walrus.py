"""The Walrus protocol as a command; see README.md for what each action prints. IDs are counted here: it has none."""
import json
import os
import sys

sys.path.insert(0, os.environ["FLOE_INTEGRATION"])
from walrus import Walrus  # noqa: E402

action, address, topic = sys.argv[1:4]
COUNT = 48


def entries(client):
    for n, payload in enumerate(client.get_all(topic.encode()), 1):
        print(f"{n}-1", payload.decode())


def put_all(client):
    for n in range(1, COUNT + 1):
        print(f"{n}-1" if client.put(topic.encode(), f"v{n}".encode()) == b"OK" else "?")


def pipeline(client):
    for n in range(1, COUNT + 1):
        client.send(f"PUT {topic} v{n}".encode())
    for n in range(1, COUNT + 1):
        print(f"{n}-1" if client.receive() == b"OK" else "?")


def binary(client):
    client.put(topic.encode(), bytes(range(256)))
    print(client.get(topic.encode()).hex())


def admin(client):
    state = json.loads(client.ask(f"STATE {topic}".encode()))
    metrics = json.loads(client.ask(b"METRICS"))
    print("state", state["leader_node"], metrics["state"])


with Walrus(int(address.split(":")[1])) as walrus:
    said = walrus.ask(f"REGISTER {topic}".encode())
    {"connect": lambda client: print("PONG" if said == b"OK" else said), "write": put_all, "pipeline": pipeline,
     "range": entries, "binary": binary, "admin": admin}[action](walrus)
