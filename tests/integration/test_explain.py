"""floe explain: the table of errors against the sources, and against what the verbs print."""
import glob
import json
import os
import re

from fixture import ROOT, check, equal

CODE = re.compile(rb" \[(FLOE-\d{4})\]$")


def sources():
    """tools/, without the table itself; comments out."""
    for path in sorted(glob.glob(os.path.join(ROOT, "tools", "*.c"))):
        with open(path, encoding="utf-8") as file:
            yield os.path.basename(path), re.sub(r"/\*.*?\*/", "", file.read(), flags=re.S)


def listed(world):
    done = world.floe("explain", "-o", "json")
    equal((done.returncode, done.stderr), (0, b""))
    return {row["code"]: row for row in json.loads(done.stdout)["rows"]}


def test_table_and_sources_hold_the_same_errors(world):
    with open(os.path.join(ROOT, "tools", "errors.h"), encoding="utf-8") as file:
        text = file.read()
    table = dict(re.findall(r"\bX\((ERROR_\w+), (\d{4}),", text))
    used = set()
    for name, code in sources():
        used |= set(re.findall(r"\bERROR_[A-Z_]+\b", code)) - {"ERROR_TEXT_BYTES"}
        for call in re.findall(r"\bcmd_fail\((?:[^;\"]*?), ?(CMD_\w+),", code):
            equal(call, "CMD_OK", f"{name} fails without a kind of tools/errors.h")
    equal(sorted(used - set(table)), [], "used and not in the table")
    equal(sorted(set(table) - used), [], "in the table and never used")
    equal(sorted(listed(world)), sorted(f"FLOE-{number}" for number in table.values()))


def test_every_code_is_explained(world):
    for code, row in listed(world).items():
        done = world.floe("explain", code)
        equal((done.returncode, done.stderr), (0, b""))
        for what in (code, row["what"], row["cause"], row["remedy"], f"Exit code: {row['exit']},"):
            check(what in done.stdout.decode(), f"{what!r} is not in {done.stdout!r}")
        rows = json.loads(world.floe("explain", code, "-o", "json").stdout)["rows"]
        equal(rows, [row])


def test_an_unknown_code_is_not_found(world):
    for word, nearest in (("FLOE-1400", b"FLOE-1401"), ("99999", b"FLOE-1907"), ("x", b"FLOE-1401")):
        done = world.floe("explain", word)
        equal((done.returncode, done.stdout), (3, b""))
        check(nearest in done.stderr, done.stderr)
        equal(CODE.findall(done.stderr.strip()), [b"FLOE-1010"])


def test_what_fails_prints_its_code(world):
    known = listed(world)
    server = world.server(settings={"topic.auto.create": "false"})
    at = ("-b", server.address)
    equal(world.floe("topic", "create", "t", *at).returncode, 0)
    for code, words in (
            ("1001", ()), ("1001", ("topik",)), ("1001", ("topic",)), ("1001", ("topic", "lst")),
            ("1002", ("topic", "list", "--all")), ("1002", ("topic", "create", "t", "-p")),
            ("1002", ("serve", "--join", "x:1")),
            ("1003", ("topic", "create", "t", "-p", "many")), ("1003", ("version", "-o", "xml")),
            ("1003", ("consume", "t", "--from", "never", *at)),
            ("1003", ("topic", "create", "u", "--config", "nothing", *at)),
            ("1004", ("topic", "create")), ("1004", ("topic", "list", "x")),
            ("1004", ("log", "export", world.data)),
            ("1101", ("config", "show", "-c", "/not/there")), ("1101", ("log", "verify", "/not/there")),
            ("1101", ("produce", "t", "/not/there", *at)),
            ("1201", ("config", "check", "--set", "nothing")),
            ("1201", ("config", "check", "--set", "no.such=1")),
            ("1202", ("config", "check", "--set", "listen=here")),
            ("1203", ("config", "check", "--set", "cpu.cores=9000")),
            ("1211", ("cluster", "rebuild-map", world.data, "--write")),
            ("1301", ("topic", "list", "-b", "127.0.0.1:1")),
            ("1003", ("produce", "t", "-z", "zip", *at)),
            ("1401", ("consume", "nope", *at)), ("1402", ("consume", "t", "-p", "1", *at)),
            ("1403", ("topic", "create", "t", *at)), ("1404", ("topic", "create", "a b", *at)),
            ("1404", ("topic", "create", "u", "--rf", "3", *at)),
            ("1404", ("topic", "create", "u", "--config", "no.such=1", *at)),
            ("1501", ("log", "inspect", world.dir)),
            ("1503", ("log", "export", os.path.join(world.data, "superblock"))),
            ("1504", ("log", "export", world.data, "nope"))):
        done = world.floe(*words, input=b"x\n")
        found = CODE.search(done.stderr.strip())
        check(found is not None, f"{words}: no code in {done.stderr!r}")
        equal(found[1].decode(), f"FLOE-{code}", f"{words}: {done.stderr!r}")
        equal(done.returncode, known[f"FLOE-{code}"]["exit"], f"{words}")


def test_a_server_that_cannot_start_says_why_by_a_code(world):
    first = world.server()
    for code, data, words in (
            ("1211", world.data, ()), ("1101", "/not/there/data", ()),
            ("1209", world.data + "2", ("--listen", f"kafka://{first.address}")),
            ("1210", world.data + "3", ("--listen", "kafka://192.0.2.1:9"))):
        server = world.server(*words, data=data, start=False).launch()
        equal(server.ends(), 1)
        equal(CODE.findall(server.text.strip().encode()), [f"FLOE-{code}".encode()], server.text)
