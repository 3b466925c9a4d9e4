"""Formats of records: printed by consume and log export, read by produce; filters; what is refused."""
import json
import os

from fixture import check, equal


def run(world, *words, input=None, code=0):
    done = world.floe(*words, input=input)
    equal(done.returncode, code, str(done.stderr))
    return done.stdout if code == 0 else done.stderr


def stored(world, at, topic):
    return [json.loads(line) for line in
            run(world, "consume", topic, "--until", "end", "-o", "jsonl", *at).splitlines()]


def test_every_field_is_printed(world):
    server = world.server()
    at = ("-b", server.address)
    run(world, "topic", "create", "t", "-p", "2", *at)
    run(world, "produce", "t", "-p", "1", "-k", "the key", "-H", "a=1", "-H", "b=", *at, input=b"value\n")
    run(world, "produce", "t", "-p", "1", "-f", "%v at %d", *at, input=b"no key at 1764000000123\n")
    row = stored(world, at, "t")[0]
    equal(row["partition"], 1)
    for letter, wanted in (("t", ("t", "t")), ("p", ("1", "1")), ("o", ("0", "1")), ("k", ("the key", "")),
                           ("v", ("value", "no key")), ("h", ("a=1,b=", "")), ("H", ("2", "0")),
                           ("d", (str(row["timestamp"]), "1764000000123")),
                           ("T", (str(row["timestamp"]), "1764000000123")), ("K", ("7", "-1")),
                           ("V", ("5", "6"))):
        out = run(world, "consume", "t", "--until", "end", "-f", f"<%{letter}>\\n", *at)
        equal(out.decode().splitlines(), [f"<{text}>" for text in wanted], f"%{letter}")
    out = run(world, "consume", "t", "--until", "end", "-f", "%%%t\\t%D\\x21\\\\\\n", *at).decode()
    equal(out.splitlines()[1], "%t\t2025-11-24T16:00:00.123Z!\\")
    equal(run(world, "consume", "t", "--until", "end", "-n", "1", "-f", "%v\\0", *at), b"value\0")
    equal(run(world, "log", "export", world.data, "t", "-f", "%o %K %V %H %d;").decode(),
          f"0 7 5 2 {row['timestamp']};1 -1 6 0 1764000000123;")


def test_a_wrong_format_is_pointed_at_before_anything_is_asked(world):
    nobody = ("-b", "127.0.0.1:1")
    for text, at, what in (("%t %q\\n", 4, '"%q"'), ("%v%", 3, '"%"'), ("\\q", 1, '"\\q"'),
                           ("a\\x4", 2, '"\\x"'), ("äöü %z", 5, '"%z"'), ("%v\\", 3, '"\\"')):
        for words in (("consume", "t", *nobody), ("log", "export", "/not/there", "t")):
            said = run(world, *words, "-f", text, code=2).decode().splitlines()
            check(f"{what} at character {at}:" in said[0] and said[0].endswith("[FLOE-1005]"), said)
            equal(said[1:], ["  " + text, "  " + " " * (at - 1) + "^"])
    check(b"%t %p %o" in run(world, "consume", "t", "-f", "%?", *nobody, code=2), "all fields")
    for output in ("json", "jsonl"):
        check(b"--format" in run(world, "consume", "t", "-f", "%v", "-o", output, *nobody, code=2), output)


def test_produce_reads_by_a_format(world):
    server = world.server()
    at = ("-b", server.address)
    run(world, "topic", "create", "t", "-p", "4", *at)
    run(world, "produce", "t", "-f", "%p %k=%v (%h) %T\\n", *at,
        input=b"3 a=1 (x=y,z=) 1764000000123\n2 =2 () 5\n1 c=with and = () 7\n")
    rows = sorted(stored(world, at, "t"), key=lambda row: -row["partition"])
    equal([(r["partition"], r["key"], r["value"], r["timestamp"]) for r in rows],
          [(3, "a", "1", 1764000000123), (2, "", "2", 5), (1, "c", "with and =", 7)])
    equal([r["headers"] for r in rows], [[{"name": "x", "value": "y"}, {"name": "z", "value": ""}], [], []])
    run(world, "produce", "nulls", "-f", "%k\\n", *at, input=b"gone\n")
    equal([(r["key"], r["value"]) for r in stored(world, at, "nulls")], [("gone", None)])


def test_what_consume_prints_produce_reads(world):
    server = world.server()
    at = ("-b", server.address)
    lines = "".join(f"{n}\t{'x' * (n * 37 % 5000)}\n" for n in range(3000)).encode()
    run(world, "produce", "a", "-f", "%k\\t%v\\n", *at, input=lines)
    printed = run(world, "consume", "a", "--until", "end", "-f", "%k\\t%v\\n", *at)
    equal(printed, lines)
    run(world, "produce", "b", "-f", "%k\\t%v\\n", *at, input=printed[:-1])  # The last \n may be missing.
    equal(run(world, "consume", "b", "--until", "end", "-f", "%k\\t%v\\n", *at), lines)


def test_input_without_the_form_is_told_by_its_record(world):
    server = world.server()
    at = ("-b", server.address)
    for text, data, code, words in (
            ("%k=%v", b"a=1\nb=2\nno equals", 6, b"record 3 of the input"),
            ("%k=%v", b"nothing", 2, b"record 1 of the input"),
            ("<%v>", b"<a> <b>", 6, b"record 2"), ("%p %v", b"x 1\n", 2, b"partition"),
            ("%d %v", b"-5 1\n", 2, b"time"), ("%h %v", b"a=1,b 1\n", 2, b"name=value")):
        said = run(world, "produce", "t", "-f", text, *at, input=data, code=code)
        check(words in said and said.strip().endswith(b"[FLOE-1408]"), said)
    equal([r["value"] for r in stored(world, at, "t")], ["1", "2", "a"])


def test_formats_that_cannot_be_read_by_are_refused(world):
    path = os.path.join(world.dir, "file")
    with open(path, "w", encoding="utf-8"):
        pass
    for words in (("-f", "%k%v"), ("-f", "%o %v"), ("-f", "%v %v"), ("-f", "%p\\n"), ("-f", ""),
                  ("-f", "%k %v", "-k", "x"), ("-f", "%v", "-D", ";"), ("-f", "%p %v", "-p", "0"),
                  ("-f", "%h %v", "-H", "a=1"), (path, "-f", "%v")):
        said = run(world, "produce", "t", *words, "-b", "127.0.0.1:1", code=2)
        check(b"--format" in said and b"[FLOE-100" in said, said)


def test_filters_look_into_keys_and_values(world):
    server = world.server()
    at = ("-b", server.address)
    run(world, "produce", "t", "-f", "%k:%v", *at, input=b"ab:1\ncd:ab\nef:3\nab:cd\n")

    def found(*words):
        return run(world, "consume", "t", "--until", "end", "-f", "%o", *words, *at).decode()

    equal(found("--filter", "ab"), "013")
    equal(found("--filter", "ab", "--filter", "cd"), "13")
    equal(found("--filter", "ab", "-n", "2"), "01")
    equal(found("--filter", "nothing"), "")
    equal(found("--filter", ""), "0123")
