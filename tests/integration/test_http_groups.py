"""Groups and their lag through HTTP and in /metrics; the server's own topic through no door but Kafka's."""
import json
import time

from fixture import check, equal, need_module
from http_client import ask, get, make, post
from test_group_cli import group
from test_groups import confluent, read, until
from test_metrics import parse, scrape
from test_resp import raw
from wire import resp
from walrus import Walrus

OWN = "__consumer_offsets"


def quick(world):
    return world.server(protocol="any", settings={"group.initial.rebalance.delay.ms": "100ms",
                                                  "group.min.session.timeout.ms": "1s"})


def lags(server, name="floe_group_lag_records"):
    """{(group, topic, partition): value}"""
    rows = parse(scrape(server)).get(name, ("", {}))[1]
    return {tuple(value for _, value in labels): value for (_, labels), value in rows.items()}


def records(server, topic, partition, count, timestamp=None):
    for n in range(count):
        stamp = f"&timestamp={timestamp}" if timestamp is not None else ""
        post(server, f"/v1/topics/{topic}/records?partition={partition}{stamp}", b"%d" % n)


def test_groups_and_their_lag(world):
    need_module("confluent_kafka")
    server = quick(world)
    equal(get(server, "/v1/groups"), {"groups": []})
    equal(lags(server), {})
    make(server, "t", 2)
    records(server, "t", 0, 4, 1000000)
    records(server, "t", 1, 2)
    consumer = confluent(server, "readers", **{"client.id": "c7"})
    consumer.subscribe(["t"])
    read(consumer, 6, [])
    from confluent_kafka import TopicPartition
    consumer.commit(offsets=[TopicPartition("t", 0, 1), TopicPartition("t", 1, 2)], asynchronous=False)
    until("the group is stable", lambda: consumer.poll(0.1) is None and
          get(server, "/v1/groups")["groups"] == [{"group": "readers", "type": "consumer", "state": "Stable"}])
    found = get(server, "/v1/groups/readers")
    equal((found["group"], found["state"], found["type"], found["protocol"], found["left_out"]),
          ("readers", "Stable", "consumer", "range", 0))
    member, = found["members"]
    equal((member["client"], member["host"], member["assignment"]),
          ("c7", "127.0.0.1", [{"topic": "t", "partitions": [0, 1]}]))
    equal([(row["topic"], row["partition"], row["committed"], row["end"], row["lag"])
           for row in found["partitions"]], [("t", 0, 1, 4, 3), ("t", 1, 2, 2, 0)])
    check(abs(time.time() - 1000 - found["partitions"][0]["lag_seconds"]) < 600, found)
    equal(found["partitions"][1]["lag_seconds"], 0)
    wanted = {("readers", "t", "0"): 3, ("readers", "t", "1"): 0}
    equal(lags(server), wanted)
    equal(lags(server, "kafka_consumergroup_lag"), wanted)
    seconds = lags(server, "floe_group_lag_seconds")
    check(abs(time.time() - 1000 - seconds["readers", "t", "0"]) < 600, seconds)
    equal(seconds["readers", "t", "1"], 0)
    consumer.close()
    found = get(server, "/v1/groups/readers")
    equal((found["state"], found["members"], len(found["partitions"])), ("Empty", [], 2))


def test_lag_below_the_start_and_of_what_is_gone(world):
    server = quick(world)
    make(server, "t", 1)
    make(server, "gone", 1)
    records(server, "t", 0, 5)
    records(server, "gone", 0, 5)
    group(world, server, "seek", 'odd "name"\\', "--to", "start", "-t", "t", "-t", "gone", "--yes")
    name = 'odd \\"name\\"\\\\'
    equal(lags(server), {(name, "gone", "0"): 5, (name, "t", "0"): 5})
    equal(world.floe("topic", "trim", "t", "--to", "3", "--yes", "-b", server.address).returncode, 0)
    equal(lags(server)[name, "t", "0"], 2)
    check(lags(server, "floe_group_lag_seconds")[name, "t", "0"] < 600, "its time is that of record 3")
    equal(ask(server, "DELETE", "/v1/topics/gone", headers={"X-Floe": "1"})[0], 204)
    equal(lags(server), {(name, "t", "0"): 2})
    equal(get(server, "/v1/groups/odd%20%22name%22%5C")["partitions"][0]["lag"], 2)
    server.kill()
    server.start()
    until("the groups are read", lambda: lags(server) == {(name, "t", "0"): 2})


def test_compressed_batches_have_a_time_too(world):
    server = quick(world)
    make(server, "z", 1)
    text = "".join(f"{1000000 + n} {'x' * 100}\n" for n in range(50)).encode()
    equal(world.floe("produce", "z", "-z", "zstd", "-f", "%T %v\\n", "-b", server.address,
                     input=text).returncode, 0)
    group(world, server, "seek", "g", "--to", "20", "-t", "z", "--yes")
    equal(lags(server), {("g", "z", "0"): 30})
    check(abs(time.time() - 1000 - lags(server, "floe_group_lag_seconds")["g", "z", "0"]) < 600, "its time")


def test_many_partitions_are_told_in_bounds(world):
    server = quick(world)
    make(server, "wide", 200)
    for n in range(6):
        group(world, server, "seek", f"g{n}", "--to", "start", "-t", "wide", "--yes")
    equal(len(lags(server)), 1024)
    equal(list(parse(scrape(server))["floe_group_lag_left_out"][1].values()), [6 * 200 - 1024])
    equal(len(get(server, "/v1/groups/g3")["partitions"]), 200)


def test_what_is_wrong_is_a_problem(world):
    server = quick(world)
    problem = get(server, "/v1/groups/nope", 404)
    check('no group "nope"' in problem["detail"] and "/v1/groups" in problem["detail"], problem)
    make(server, "t", 1)
    group(world, server, "seek", "g", "--to", "start", "-t", "t", "--yes")
    get(server, "/v1/groups/nope", 404)
    get(server, "/v1/groups/" + "x" * 300, 422)
    equal(get(server, "/v1/groups/g?x=1", 400)["status"], 400)
    equal(ask(server, "DELETE", "/v1/groups/g", headers={"X-Floe": "1"})[0], 405)
    paths = get(server, "/v1/openapi.json")["paths"]
    equal([p["name"] for p in paths["/v1/groups/{group}"]["get"]["parameters"]], ["group"])
    equal([p["name"] for p in paths["/v1/topics/{topic}"]["get"]["parameters"]], ["topic"])


def test_the_servers_own_topic_is_for_no_client(world):
    server = world.server(protocol="any")
    headers = {"X-Floe": "1", "Content-Type": "application/json"}

    def try_all():
        for method, path, body in (("GET", f"/v1/topics/{OWN}", None), ("DELETE", f"/v1/topics/{OWN}", None),
                                   ("GET", f"/v1/topics/{OWN}/records?from=start", None),
                                   ("GET", f"/v1/topics/{OWN}/stream?from=start", None),
                                   ("POST", f"/v1/topics/{OWN}/records", b'{"records":[{"value":"x"}]}')):
            status, _, answer = ask(server, method, path, body, headers)
            equal(status, 403, f"{method} {path}: {answer}")
            check("the server's own" in json.loads(answer)["detail"], answer)
        problem = post(server, "/v1/topics", {"name": OWN}, 422)
        check("server's own" in problem["detail"], problem)
        with Walrus(server.port) as client:
            for verb in (f"GET {OWN}", f"PUT {OWN} x", f"REGISTER {OWN}", f"GET {OWN}/0"):
                answer = client.ask(verb.encode())
                check(answer.startswith(b"ERR"), f"{verb}: {answer}")
        check(OWN not in [topic["name"] for topic in get(server, "/v1/topics")["topics"]], "it is listed")

    try_all()
    make(server, "t", 1)
    group(world, server, "seek", "g", "--to", "start", "-t", "t", "--yes")
    try_all()
    equal([topic["name"] for topic in get(server, "/v1/topics")["topics"]], ["t"])
    equal(raw(server, resp("KEYS", "*"), b"t\r\n"), b"*1\r\n$1\r\nt\r\n", "keys")
    for key in (OWN, OWN + "/0", "_5f_5fconsumer_5foffsets"):
        equal(raw(server, resp("XRANGE", key, "-", "+"), b"\r\n"), b"*0\r\n", f"XRANGE {key}")
