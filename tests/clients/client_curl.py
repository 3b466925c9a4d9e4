"""curl as a command; see README.md for what each action prints. An offset is told as the ID (offset + 1)-1."""
import json
import subprocess
import sys

action, address, topic = sys.argv[1:4]
RECORDS = f"/v1/topics/{topic}/records"
COUNT = 48


def curl(path, *words, input=None):
    done = subprocess.run(["curl", "-sS", "--fail-with-body", "-H", "X-Floe: 1", *words, f"http://{address}{path}"],
                          input=input, capture_output=True, timeout=60, check=False)
    if done.returncode != 0:
        raise SystemExit(f"curl {path}: {done.stderr.decode()}{done.stdout.decode()}")
    return done.stdout


def post(body):
    answer = json.loads(curl(RECORDS, "-H", "Content-Type: application/octet-stream", "--data-binary", "@-", input=body))
    return answer["offsets"][0]["offset"]


def write():
    for n in range(1, COUNT + 1):
        print(f"{post(f'v{n}'.encode()) + 1}-1")


def pipeline():
    """Many records in one request is what there is instead."""
    body = json.dumps({"records": [{"value": f"v{n}"} for n in range(1, COUNT + 1)]}).encode()
    answer = json.loads(curl(RECORDS, "--json", "@-", input=body))
    first = answer["offsets"][0]["offset"]
    for n in range(COUNT):
        print(f"{first + n + 1}-1")


def show(query):
    for record in json.loads(curl(RECORDS + query))["records"]:
        print(f"{record['offset'] + 1}-1", record["value"])


def binary():
    post(bytes(range(256)))
    print(curl(RECORDS + "?from=0", "-H", "Accept: application/octet-stream").hex())


def admin():
    names = [topic["name"] for topic in json.loads(curl("/v1/topics"))["topics"]]
    metrics = curl("/metrics").decode()
    curl(f"/v1/topics/{topic}", "-X", "DELETE")
    print("listed", topic in names, "metrics", "floe_" in metrics)


ACTIONS = {"connect": lambda: print("PONG" if curl("/livez") is not None else "?"), "write": write, "pipeline": pipeline,
           "range": lambda: show("?n=1000"), "block": lambda: show("?from=start&wait=30000"), "binary": binary,
           "admin": admin}
ACTIONS[action]()
