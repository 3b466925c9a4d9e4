"""Settings by flag, variable and file: what serve takes, config check calls good, and the other way round."""
import os

from fixture import check, consume, equal, lines, produce


def ends(world, words, code, hint):
    done = world.floe(*words, env={**os.environ, "TMPDIR": world.dir})
    equal(done.returncode, code, f"exit code of {words[:4]}, stderr {done.stderr!r}")
    check(hint.encode() in done.stderr, f"{hint!r} is not in {done.stderr!r}")


def a_file(world, name):
    """As a data directory it is refused by name, so a start ends where the settings are done."""
    path = os.path.join(world.dir, name)
    with open(path, "w", encoding="utf-8") as file:
        file.write("no directory")
    return path


def serve(*words):
    return ("serve", "--listen", "kafka://127.0.0.1:0", "--set", "memory.limit=256MiB",
            "--set", "cpu.cores=1", *words)


def test_a_settings_file_that_is_not_there_is_not_found(world):
    for verb in (("serve",), ("config", "show"), ("config", "check")):
        ends(world, (*verb, "-c", os.path.join(world.dir, "nope.ini")), 3, "nope.ini")


def test_the_last_flag_of_a_setting_wins(world):
    one, two = a_file(world, "one"), a_file(world, "two")
    ends(world, serve("--set", f"data.dir={one}", "--data", two), 1, two)
    ends(world, serve("--data", one, "--set", f"data.dir={two}"), 1, two)


def test_many_flags_are_all_read_or_refused(world):
    many = ("--set", "log.level=info") * 70
    ends(world, ("config", "check", *many), 0, "")
    ends(world, ("config", "check", *many, "--set", "bogus=1"), 2, "bogus")
    path = a_file(world, "one")
    ends(world, serve(*many, "--data", path), 1, path)
    ends(world, serve(*many, "--set", "bogus=1", "--data", path), 2, "bogus")
    ends(world, ("config", "check", *many * 4), 2, "more than 256 flags")
    ends(world, serve(*many * 4), 2, "more than 256 flags")


def test_check_refuses_what_serve_refuses(world):
    for pair, hint in (("cpu.cores=abc", "cpu.cores"), ("cpu.cores=0", "cpu.cores"),
                       ("listen=nonsense", "nonsense"), ("listen=tls://127.0.0.1:1", "resp"),
                       ("memory.limit=1MiB", "memory.limit"), ("idle.poll.us=1001", "idle.poll.us")):
        ends(world, ("config", "check", "--set", pair), 2, hint)
        ends(world, ("serve", "--data", a_file(world, "one"), "--set", pair), 2, hint)
        ends(world, ("serve", "--dev", "--set", pair), 2, hint)
    equal([name for name in os.listdir(world.dir) if name.startswith("floe-dev")], [])


def test_the_cores_poll_as_long_as_idle_poll_us_says(world):
    server = world.server(settings={"idle.poll.us": "77"})
    check("idle_poll_us=77" in server.text, server.text)
    produce(server, "t", lines(100))
    equal(consume(server, "t"), lines(100))
    equal(server.stop(), 0)
