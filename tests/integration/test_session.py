"""The session in README.md is that of session.py, and its commands are good."""
import re

import session
from fixture import check, equal, need

ALONE = True  # See run.


def shown():
    with open(session.README, encoding="utf-8") as file:
        found = re.search(f"{session.BEGIN}\n```\n(.*?)\n```\n{session.END}", file.read(), re.S)
    check(found, "README.md has no session")
    return found[1]


def test_the_readme_shows_the_commands_of_the_session(_world):
    commands = [line[2:] for line in shown().splitlines() if line.startswith("$ ")]
    equal(commands, [session.SERVE, *session.COMMANDS])


def test_the_columns_are_those_that_floe_prints(world):
    for command in ("kcat", "redis-cli", "curl"):
        need(command)
    server = world.server("--dev", protocol="any")
    lines = set(shown().splitlines())
    for command in session.COMMANDS:
        if command.startswith("floe ") and "|" not in command and "%" not in command:
            words = command.replace("localhost:9092", server.address).split()[1:]
            done = world.floe(*words, "-b", server.address)
            head = done.stdout.decode().split("\n")[0].split("\t")
            check(not done.stdout or any(line.split() == head for line in lines), f"{command}: {head}")
