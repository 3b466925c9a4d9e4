"""floe's own verbs against its own server: what they print and the codes they end with."""
import json
import os
import re
import signal
import subprocess
import time

from fixture import check, equal, lines


def ends(done, code, words=b""):
    equal(done.returncode, code, f"exit code, stderr {done.stderr!r}")
    check(words in done.stderr, f"{words!r} is not in {done.stderr!r}")
    return done.stdout


def test_topic_verbs(world):
    server = world.server(settings={"topic.auto.create": "false"})
    at = ("-b", server.address)
    ends(world.floe("topic", "create", "orders", "--partitions", "3", *at), 0)
    ends(world.floe("topic", "create", "orders", *at), 7, b"orders")
    ends(world.floe("topic", "create", "bad name", *at), 1)
    ends(world.floe("topic", "create", "x", "--config", "no.such.key=1", *at), 1, b"no.such.key")
    ends(world.floe("topic", "create", "x", "--rf", "3", *at), 1)
    rows = json.loads(ends(world.floe("topic", "list", "-o", "json", *at), 0))
    equal(rows, {"schema": 1, "rows": [{"topic": "orders", "partitions": 3, "replicas": 1}]})
    rows = json.loads(ends(world.floe("topic", "describe", "orders", "-o", "json", *at), 0))["rows"]
    equal([(r["partition"], r["first"], r["next_offset"]) for r in rows],
          [(0, 0, 0), (1, 0, 0), (2, 0, 0)])
    ends(world.floe("topic", "describe", "nope", *at), 3, b"nope")
    ends(world.floe("topic", "delete", "orders", *at), 0)
    ends(world.floe("topic", "delete", "orders", *at), 3)
    equal(json.loads(world.floe("topic", "list", "-o", "json", *at).stdout)["rows"], [])


def configs(world, topic, *at):
    rows = json.loads(ends(world.floe("topic", "describe", topic, "--configs", "-o", "json", *at),
                           0))["rows"]
    return {row["config"]: (row["value"], row["source"]) for row in rows}


def partitions(world, topic, *at):
    return len(json.loads(ends(world.floe("topic", "describe", topic, "-o", "json", *at), 0))["rows"])


def test_topic_alter(world):
    server = world.server(settings={"retention.ms": "3d", "topic.auto.create": "false"})
    at = ("-b", server.address)
    ends(world.floe("topic", "create", "t", "-c", "retention.bytes=5", *at), 0)
    found = configs(world, "t", *at)
    equal(found["retention.bytes"], ("5", "topic"))
    equal(found["retention.ms"], ("259200000", "node"))
    equal(found["durability"], ("disk", "default"))
    equal(json.loads(ends(world.floe("topic", "alter", "t", "--partitions", "3", "--config",
                                     "durability=os", "-c", "segment.bytes=1MiB", "-o", "json",
                                     *at), 0))["rows"], [{"topic": "t", "result": "altered"}])
    equal(partitions(world, "t", *at), 3)
    found = configs(world, "t", *at)
    equal({key: value for key, value in found.items() if value[1] == "topic"},
          {"retention.bytes": ("5", "topic"), "durability": ("os", "topic"),
           "segment.bytes": ("1048576", "topic")})
    # What a table shows besides the partitions is what the topic sets.
    out = ends(world.floe("topic", "describe", "t", *at), 0).decode()
    equal(out.split("\n\n")[1].splitlines(),
          ["config\tvalue\tsource", "durability\tos\ttopic", "retention.bytes\t5\ttopic",
           "segment.bytes\t1048576\ttopic"])
    # New partitions take records; all of it outlives a kill.
    for n in range(3):
        ends(world.floe("produce", "t", "-p", str(n), *at, input=b"x\n"), 0)
    server.kill()
    server.start()
    at = ("-b", server.address)
    equal(partitions(world, "t", *at), 3)
    equal(ends(world.floe("consume", "t", "-p", "2", "--until", "end", *at), 0), b"x\n")
    ends(world.floe("topic", "alter", "t", "--delete-config", "durability", *at), 0)
    found = configs(world, "t", *at)
    equal(found["durability"], ("disk", "default"))
    equal(found["segment.bytes"], ("1048576", "topic"))


def test_topic_alter_refuses(world):
    server = world.server(settings={"topic.auto.create": "false"})
    at = ("-b", server.address)
    ends(world.floe("topic", "create", "t", "--partitions", "2", *at), 0)
    before = configs(world, "t", *at)
    for words, code, hint in (
            ((), 2, b"nothing to change"),
            (("--shards", "3"), 2, b"--shards"),
            (("--partitions", "0"), 2, b"--partitions"),
            (("--config", "retention.ms"), 2, b"key=value"),
            (("--config", "a=1", "--delete-config", "a"), 2, b"both set and deleted"),
            (("--rf", "3"), 1, b"not available yet"),
            (("--partitions", "2"), 1, b"2 is not more"),
            (("--config", "retention.ms=soon"), 1, b"retention.ms = soon is not a number"),
            (("--config", "no.such.key=1"), 1, b"no.such.key"),
            (("--delete-config", "no.such.key"), 1, b"no.such.key"),
            # Neither is done where one cannot be.
            (("--partitions", "5", "--config", "durability=never"), 1, b"durability = never"),
            (("--partitions", "1", "--config", "durability=os"), 1, b"1 is not more")):
        ends(world.floe("topic", "alter", "t", *words, *at), code, hint)
        equal(partitions(world, "t", *at), 2, f"partitions after {words}")
        equal(configs(world, "t", *at), before, f"configs after {words}")
    ends(world.floe("topic", "alter", "nope", "--partitions", "3", *at), 3, b"does not exist")
    ends(world.floe("topic", "alter", *at), 2, b"NAME")
    ends(world.floe("topic", "alter", "t", "--partitions", "3", "-b", "127.0.0.1:1"), 5,
         b"cannot reach")


def test_produce_and_consume(world):
    server = world.server()
    at = ("-b", server.address)
    ends(world.floe("produce", "t", *at, input=b"one\n\nthree\nfour"), 0)
    equal(ends(world.floe("consume", "t", "--until", "end", *at), 0), b"one\n\nthree\nfour\n")
    equal(ends(world.floe("consume", "t", "--from", "2", "-n", "1", *at), 0), b"three\n")
    equal(ends(world.floe("consume", "t", "--from", "-1", "--until", "end", *at), 0), b"four\n")
    equal(ends(world.floe("consume", "t", "--from", "1", "--until", "3", *at), 0), b"\nthree\n")
    equal(ends(world.floe("consume", "t", "--from", "@0", "--until", "end", "-f", "%t %p %o %v\\t",
                          *at), 0), b"t 0 0 one\tt 0 1 \tt 0 2 three\tt 0 3 four\t")
    equal(ends(world.floe("consume", "t", "--from", "@2100-01-01", "--until", "end", *at), 0), b"")
    ends(world.floe("consume", "t", "--from", "99", "--until", "100", *at), 1)
    ends(world.floe("consume", "t", "-p", "5", *at), 3, b"no partition 5")


def test_keys_headers_delimiters_and_files(world):
    server = world.server()
    at = ("-b", server.address)
    ends(world.floe("produce", "h", "-k", "key", "-H", "a=1", "-H", "b=2", "-D", ";", *at,
                    input=b"x\ny;;z"), 0)
    rows = [json.loads(row) for row in
            ends(world.floe("consume", "h", "--until", "end", "-o", "jsonl", *at), 0).splitlines()]
    equal([row["value"] for row in rows], ["x\ny", "", "z"])
    equal({row["key"] for row in rows}, {"key"})
    equal(rows[0]["headers"], [{"name": "a", "value": "1"}, {"name": "b", "value": "2"}])
    path = os.path.join(world.dir, "binary")
    with open(path, "wb") as file:
        file.write(bytes(range(256)))
    ends(world.floe("produce", "f", path, path, *at), 0)
    equal(ends(world.floe("consume", "f", "--until", "end", "-f", "%v", *at), 0),
          bytes(range(256)) * 2)
    ends(world.floe("produce", "f", path + "-not-there", *at), 3)


def test_what_is_repeated_often_is_taken_whole(world):
    server = world.server()
    at = ("-b", server.address)
    headers = [{"name": f"n{i}", "value": str(i)} for i in range(200)]
    words = [word for h in headers for word in ("-H", f"{h['name']}={h['value']}")]
    ends(world.floe("produce", "h", *words, *at, input=b"x\n"), 0)
    row = json.loads(ends(world.floe("consume", "h", "--until", "end", "-o", "jsonl", *at), 0))
    equal(row["headers"], headers)
    ends(world.floe("produce", "h", *words, *words, *at, input=b"x\n"), 2, b"more than 256 flags")
    configs = ("--config", "segment.bytes=1GiB") * 64
    ends(world.floe("topic", "create", "c", *configs, "--config", "no.such.key=1", *at), 1,
         b"too many configs")
    for size, code in ((64, 0), (65, 2)):
        text = "\\t" + "=" * (size - 1)
        done = world.floe("produce", "d", "-D", text, *at, input=b"a\t" + b"=" * (size - 1) + b"b")
        ends(done, code, b"at most 64 bytes" if code else b"")
    equal(ends(world.floe("consume", "d", "--until", "end", *at), 0), b"a\nb\n")


def test_a_million_bytes_of_lines_come_back(world):
    server = world.server()
    at = ("-b", server.address)
    data = ("\n".join(lines(7000)) + "\n").encode()
    ends(world.floe("produce", "many", "-z", "lz4", *at, input=data), 0)
    equal(ends(world.floe("consume", "many", "--until", "end", *at), 0), data)


def test_an_unknown_topic_is_not_found(world):
    server = world.server(settings={"topic.auto.create": "false"})
    at = ("-b", server.address)
    ends(world.floe("produce", "nope", *at, input=b"x\n"), 3, b"floe topic create nope")
    ends(world.floe("consume", "nope", *at), 3, b"nope")


def test_a_record_that_is_too_large_fails(world):
    server = world.server()
    at = ("-b", server.address)
    huge = b"x" * 2_000_000
    ends(world.floe("produce", "huge", *at, input=huge), 1)
    ends(world.floe("produce", "huge", "-D", ";", "--acks", "1", *at, input=b"small;" + huge), 6,
         b"1 of 2")


def test_no_server_is_unavailable(world):
    for verb in (("topic", "list"), ("produce", "t"), ("consume", "t")):
        ends(world.floe(*verb, "-b", "127.0.0.1:1", input=b"x\n"), 5, b"127.0.0.1:1")


def test_usage_errors(world):
    for words, hint in (((), b"--help"), (("topik", "list"), b"topic"),
                        (("topic", "lst"), b"topic list"),
                        (("topic", "create", "t", "--partition", "3"), b"--partitions"),
                        (("topic", "create", "t", "--partitions", "many"), b"many"),
                        (("topic", "list", "-o", "xml"), b"jsonl"),
                        (("consume", "t", "--from", "somewhere", "--until", "never"), b""),
                        (("produce", "t", "--acks", "2"), b"all"),
                        (("serve", "--dtaa", "x"), b"--data"),
                        (("serve", "--set", "cpu.corse=1"), b"cpu.cores")):
        done = world.floe(*words)
        if words[:1] == ("consume",):
            check(done.returncode in (2, 5), done)
            continue
        ends(done, 2, hint)


def test_wrong_words_are_told_what_would_be_right(world):
    for words, hint in ((("list",), b'"topic list"'), (("create", "topic", "t"), b'"topic create"'),
                        (("show",), b'"config show"'), (("hepl",), b'"help"'), (("--hepl",), b'"--help"'),
                        (("-x",), b"behind a verb"), (("topic",), b"create, list, describe"),
                        (("topic", "nothing"), b"topic has create"), (("topic", "--all"), b"topic has create"),
                        (("topic", "create", "a", "b"), b"floe topic create NAME"),
                        (("topic", "list", "x"), b"takes none"),
                        (("produce",), b"TOPIC is missing: floe produce TOPIC [FILE]..."),
                        (("topic", "create", "t", "--config", "-b", "x:1"), b"--config=-b"),
                        (("produce", "t", "-D"), b"-D TEXT"), (("produce", "t", "--acks="), b"all, 1 or 0"),
                        (("produce", "t", "-z", "LZ4"), b"lz4 or zstd"),
                        (("produce", "t", "-z", "lz"), b"lz4 or zstd"),
                        (("topic", "list", "-b", ""), b"-b is empty"),
                        (("topic", "list", "-b", "kafka://x:1"), b"without a protocol"),
                        (("topic", "list", "-b", "x:99999"), b"1 to 65535"),
                        (("topic", "list", "-b", "x:0"), b"1 to 65535"),
                        (("topic", "list", "-b", "x:port"), b"1 to 65535"),
                        (("topic", "list", "-b", ":9092"), b"HOST:PORT"),
                        (("topic", "list", "-b", "x:1,,y:2"), b"HOST:PORT"),
                        (("doctor", "-b", "x:y"), b"HOST:PORT"), (("man", "topic", "lst"), b"no such verb")):
        ends(world.floe(*words), 2, hint)


def test_a_flag_may_be_a_value_behind_an_equals_sign(world):
    server = world.server()
    at = ("-b", server.address)
    ends(world.floe("produce", "t", "--key=-b", "--delimiter=-p", *at, input=b"x-py"), 0)
    equal(ends(world.floe("consume", "t", "--until", "end", "-f", "%k %v;", *at), 0), b"-b x;-b y;")


def test_brokers_may_be_several_or_lack_their_port(world):
    server = world.server()
    for brokers in (f"127.0.0.1:1,{server.address}", f"{server.address},", f"[::1]:1,{server.address}"):
        ends(world.floe("topic", "list", "-b", brokers), 0)
    ends(world.floe("topic", "list", "-b", "floe.invalid"), 5, b"floe.invalid:9092")


def test_topics_that_cannot_be_are_told_why(world):
    server = world.server(settings={"topic.auto.create": "false"})
    at = ("-b", server.address)
    for words, code, hint in ((("topic", "describe", "a b"), 1, b"249"), (("consume", "a/b"), 1, b"249"),
                              (("topic", "delete", "nope"), 3, b"floe topic list")):
        done = world.floe(*words, *at)
        ends(done, code, hint)
        check(b"Broker:" not in done.stderr, done.stderr)
    done = world.floe("topic", "list", "-b", "127.0.0.1:1")
    check(b"bootstrap" not in done.stderr and b"state CONNECT" not in done.stderr, done.stderr)


def test_help_of_every_verb(world):
    for verb in ("serve", "topic create", "topic list", "topic describe", "topic alter",
                 "topic delete", "produce",
                 "consume", "config show", "config check", "version"):
        out = ends(world.floe(*verb.split(), "--help"), 0)
        check(out.startswith(b"floe " + verb.encode() + b": "), out)
        check(b"Exit codes" in out and b"Examples" in out, out)
    check(b"consume" in ends(world.floe("--help"), 0), "no list of verbs")


def test_config_show_names_the_source(world):
    path = os.path.join(world.dir, "floe.ini")
    with open(path, "w", encoding="utf-8") as file:
        file.write("[segment]\nbytes = 64MiB\nrecords = 10\n")
    env = {**os.environ, "FLOE_CPU_CORES": "1", "FLOE_SEGMENT_RECORDS": "20"}
    out = ends(world.floe("config", "show", "-c", path, "--set", "log.level=warn", "-o", "json",
                          env=env), 0)
    rows = {row["key"]: (row["value"], row["source"]) for row in json.loads(out)["rows"]}
    equal(rows["segment.bytes"], ("64MiB", "file"))
    equal(rows["segment.records"], ("20", "environment"))
    equal(rows["cpu.cores"], ("1", "environment"))
    equal(rows["log.level"], ("warn", "flag"))
    equal(rows["durability"], ("disk", "default"))
    ends(world.floe("config", "check", "-c", path, env=env), 0)
    ends(world.floe("config", "check", "-c", path, env={**env, "FLOE_CPU_CROES": "1"}), 2,
         b"FLOE_CPU_CORES")
    ends(world.floe("config", "check", "-c", path + "x"), 3)
    ends(world.floe("config", "check", "--set", "segment.bytes=big"), 2, b"big")


def test_version(world):
    check(ends(world.floe("version"), 0).startswith(b"floe "), "floe version")
    check("version" in json.loads(ends(world.floe("version", "-o", "json"), 0))["rows"][0], "json")


def test_config_check_counts_as_json(world):
    out = ends(world.floe("config", "check", "--set", "cpu.cores=1", "-o", "json"), 0)
    row, = json.loads(out)["rows"]
    equal(row["given"], 1)
    check(row["defaults"] > 10, row)


def test_a_server_for_trying_out_says_what_to_try(world):
    server = world.server("--dev")
    deadline = time.monotonic() + 60
    while "topic usage" not in server.text and time.monotonic() < deadline:
        time.sleep(0.02)  # The lines behind "floe ready".
    steps = re.findall(r"(?:^try:|^     ) (.*floe .*)$", server.text, re.M)
    equal(len(steps), 3, server.text)
    for step, wanted in zip(steps, (b"", b"hello\n", b"greetings")):
        done = subprocess.run(step.replace("floe ", world.client + " "), shell=True, capture_output=True,
                              timeout=60, check=True)
        check(wanted in done.stdout and done.stderr == b"", done)


def test_consume_waits_for_a_server_that_comes_back(world):
    server = world.server()
    ends(world.floe("produce", "t", "-b", server.address, input=b"one\n"), 0)
    with subprocess.Popen([world.client, "consume", "t", "--from", "start", "-n", "2", "-b", server.address],
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        equal(process.stdout.readline(), b"one\n")
        server.kill()
        said = process.stderr.readline()
        check(b"waiting for it" in said and b"FLOE-" not in said, said)
        again = world.server(port=server.port)
        ends(world.floe("produce", "t", "-b", again.address, input=b"two\n"), 0)
        equal(process.stdout.readline(), b"two\n")
        equal(process.wait(60), 0)


def test_a_closed_pipe_ends_consume(world):
    server = world.server()
    data = ("\n".join(lines(5000)) + "\n").encode()
    ends(world.floe("produce", "piped", "-b", server.address, input=data), 0)
    done = subprocess.run(f"{world.binary} consume piped --until end -b {server.address} | head -n 1",
                          shell=True, capture_output=True, timeout=60, check=False)
    equal(done.stdout.decode().strip(), lines(1)[0])


def test_a_signal_ends_consume_while_records_are_at_hand(world):
    server = world.server()
    count = 60_000
    value = b"x" * 100
    ends(world.floe("produce", "long", "-b", server.address, input=(value + b"\n") * count), 0)
    # Nobody reads its output yet, so it stands in a write while records come in behind its back.
    with subprocess.Popen([world.client, "consume", "long", "--until", "end", "-b", server.address],
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        out = process.stdout.read(1)
        time.sleep(1)
        process.send_signal(signal.SIGINT)
        out += process.stdout.read()
        equal(process.wait(60), 130)
    check(len(out) < count * (len(value) + 1), "all was printed in spite of the signal")
    equal(len(out) % (len(value) + 1), 0, "a record was cut")
