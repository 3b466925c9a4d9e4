"""/metrics is Prometheus text as a strict reader takes it, and says what happened."""
import json
import re
import shutil
import subprocess

from fixture import check, counters, equal, produce
from http_client import ask, get, post

NAME = r"[a-zA-Z_:][a-zA-Z0-9_:]*"
LABEL = r'[a-zA-Z_][a-zA-Z0-9_]*="(?:[^"\\\n]|\\["\\n])*"'
SAMPLE = re.compile(rf"({NAME})(?:\{{({LABEL}(?:,{LABEL})*)\}})? (\S+)")
NUMBER = re.compile(r"[+-]?(?:\d+(?:\.\d+)?(?:[eE][+-]?\d+)?|Inf)|NaN")


def check_histogram(name, samples):
    """Buckets rise to +Inf, which is the count; a sum and a count for each set of labels."""
    series = {}
    for (sample, labels), value in samples.items():
        rest = tuple(pair for pair in labels if pair[0] != "le")
        one = series.setdefault(rest, {"buckets": []})
        if sample == name + "_bucket":
            one["buckets"].append((float(dict(labels)["le"].replace("+Inf", "inf")), value))
        else:
            one[sample[len(name) + 1:]] = value
    for rest, one in series.items():
        bounds = [bound for bound, _ in one["buckets"]]
        equal(bounds, sorted(set(bounds)), f"{name} {rest}: bounds")
        values = [value for _, value in one["buckets"]]
        equal(values, sorted(values), f"{name} {rest}: values")
        equal((bounds[-1], values[-1]), (float("inf"), one["count"]), f"{name} {rest}: the last one")
        check("sum" in one, f"{name} {rest} has no sum")


def parse(text):
    """{family: (type, {(sample, labels): value})}; asserts what the format 0.0.4 wants."""
    check(text.endswith("\n"), "the last line has no end")
    check("\r" not in text, "there is a CR")
    families, family, kind, helped = {}, None, None, None
    for line in text[:-1].split("\n"):
        if line.startswith("# HELP "):
            helped = re.fullmatch(rf"# HELP ({NAME}) (\S.*)", line)
            check(helped and helped[1] not in families, f"help: {line!r}")
            family = None
        elif line.startswith("# TYPE "):
            found = re.fullmatch(rf"# TYPE ({NAME}) (counter|gauge|histogram)", line)
            check(found and helped and found[1] == helped[1], f"type without its help: {line!r}")
            family, kind = found[1], found[2]
            families[family] = (kind, {})
        else:
            found = SAMPLE.fullmatch(line)
            check(found and NUMBER.fullmatch(found[3]), f"no sample: {line!r}")
            suffixes = ("_bucket", "_sum", "_count") if kind == "histogram" else ("",)
            check(family and found[1] in [family + suffix for suffix in suffixes],
                  f"{line!r} stands in {family}")
            labels = tuple(re.findall(r'([a-zA-Z0-9_]+)="((?:[^"\\\n]|\\["\\n])*)"', found[2] or ""))
            equal(len(dict(labels)), len(labels), f"labels of {line!r}")
            check((found[1], labels) not in families[family][1], f"twice: {line!r}")
            families[family][1][found[1], labels] = float(found[3])
    for name, (kind, samples) in families.items():
        check(samples, f"{name} has no sample")
        check(name.startswith(("floe_", "process_")) or name == "kafka_consumergroup_lag", name)
        equal(name.endswith("_total"), kind == "counter", f"{name} is a {kind}")
        if kind == "histogram":
            check_histogram(name, samples)
    return families


def scrape(server):
    status, headers, body = ask(server, "GET", "/metrics")
    equal(status, 200)
    equal(headers["Content-Type"], "text/plain; version=0.0.4; charset=utf-8")
    return body.decode("ascii")


def total(families, name):
    return sum(families[name][1].values())


def test_every_counter_is_there_and_counts(world):
    server = world.server(protocol="any")
    produce(server, "t", [f"{n}" for n in range(100)])
    before = parse(scrape(server))
    names = set(counters(server)[0])
    check(len(names) > 40, names)
    for name in names:
        check(("floe_" + name in before) != (f"floe_{name}_total" in before), f"{name} is not there once")
    rows = before["floe_turns_total"][1]
    equal([dict(labels)["core"] for _, labels in rows], ["0", "1", "meta"])
    for n in range(7):
        post(server, "/v1/topics/t/records", {"records": [{"value": "x"}, {"value": "y"}]})
    after = parse(scrape(server))
    equal(set(after), set(before))
    equal(total(after, "floe_append_records_total") - total(before, "floe_append_records_total"), 14)
    equal(total(after, "floe_appends_total") - total(before, "floe_appends_total"), 7)
    equal(total(after, "floe_topics"), 1)
    equal(total(after, "floe_partitions"), total(after, "floe_core_partitions"))
    check(total(after, "floe_connections") >= 1, "its own connection is not counted")
    equal(list(after["floe_core_up"][1].values()), [1, 1, 1])
    count = sum(value for (name, _), value in after["floe_commit_seconds"][1].items()
                if name.endswith("_count"))
    check(count >= 7, f"{count} commits")
    check(1 << 20 < total(after, "process_resident_memory_bytes") < 4 << 30, "resident memory")
    check(10 < total(after, "process_open_fds") < total(after, "process_max_fds"), "descriptors")
    for name, (kind, samples) in after.items():
        for sample, value in samples.items():
            check(kind != "counter" or value >= before[name][1].get(sample, 0), f"{sample} fell")
    if shutil.which("promtool"):
        done = subprocess.run(["promtool", "check", "metrics"], input=scrape(server).encode(),
                              check=False, capture_output=True, timeout=60)
        equal(done.returncode, 0, (done.stdout + done.stderr).decode())


def test_health_is_told_in_words(world):
    server = world.server(protocol="any")
    for path in ("/livez", "/readyz"):
        equal(get(server, path), {"status": "ok", "cores": 2, "failing": []}, path)
    equal(json.loads(ask(server, "GET", "/readyz?x=1")[2])["status"], 400)
    equal(server.stop(), 0, "exit code")
