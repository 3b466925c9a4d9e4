"""What is made of the table of verbs: help, completion in the shells, manual pages."""
import os
import pty
import re
import select
import shutil
import subprocess
import time

from fixture import Skip, check, equal, need


def output(world, *words):
    done = world.floe(*words)
    equal((done.returncode, done.stderr), (0, b""), str(words))
    return done.stdout.decode()


def verbs(world):
    """{"topic create": {flags}}, as --help has it."""
    names = re.findall(r"^  ([a-z][a-z-]*(?: [a-z][a-z-]*)?)(?= {2,}\S)",
                       output(world, "--help").split("Verbs:")[1], re.M)
    check(len(names) > 10, names)
    return {name: set(re.findall(r"^ +(?:-\w, )?(--[a-z-]+)", output(world, *name.split(), "--help"), re.M))
            for name in names}


def complete(world, *words):
    """What floe offers for the last word, and what it asks the shell to do."""
    return [line.split("\t")[0] for line in output(world, "__complete", *words).splitlines()]


def bash(world, line):
    """The same by the script, as bash would call it."""
    script = ('source <("$0" completion bash); COMP_LINE="$1" COMP_POINT=${#1}; read -ra COMP_WORDS <<<"$1"; '
              '_floe "$0"; printf "%s\\n" "${COMPREPLY[@]}"')
    done = subprocess.run(["bash", "--norc", "-c", script, world.client, line], capture_output=True,
                          timeout=60, check=True, cwd=world.dir)
    equal(done.stderr, b"")
    return done.stdout.decode().split("\n")[:-1]


def test_help_has_purpose_usage_examples_flags_and_codes(world):
    for name, flags in verbs(world).items():
        for words in ((*name.split(), "--help"), ("help", *name.split())):
            text = output(world, *words)
            check(text.startswith(f"floe {name}: "), text)
            check(f"\nUsage: floe {name}" in text and "--help" in flags, text)
            check("Exit codes" in text and "130" in text, text)
            check(max(map(len, text.splitlines()[1:])) <= 100, text)
            if "not there in this release" not in text.split("\n", maxsplit=1)[0]:
                examples = re.search(r"Examples:\n((?:  .*\n)+)", text)[1]
                equal(examples.count("\n"), 3, name)
                check(examples.count("floe ") >= 3, examples)


def test_help_of_a_noun_lists_its_verbs(world):
    for words in (("topic", "--help"), ("help", "topic"), ("topic", "-h")):
        text = output(world, *words)
        check("topic create" in text and "topic delete" in text and "consume" not in text, text)
    done = world.floe("help", "topik")
    equal(done.returncode, 2)
    check(b"topic" in done.stderr, done.stderr)


def test_every_verb_and_flag_is_completed(world):
    found = verbs(world)
    nouns = complete(world, "")
    equal(sorted(set(nouns) - {"help", "--help", "--version"}),
          sorted({name.split()[0] for name in found}))
    for name, flags in found.items():
        words = name.split()
        if len(words) == 2:
            check(words[1] in complete(world, words[0], ""), name)
            check(words[1] in complete(world, "help", words[0], words[1][:2]), name)
        equal(set(complete(world, *words, "--")), flags, name)


def test_values_and_operands_are_completed(world):
    server = world.server()
    at = ("-b", server.address)
    for topic in ("orders", "order-lines", "logs"):
        equal(world.floe("topic", "create", topic, *at).returncode, 0)
    equal(sorted(complete(world, "consume", *at, "ord")), ["order-lines", "orders"])
    equal(sorted(complete(world, "topic", "delete", f"--broker={server.address}", "")),
          ["logs", "order-lines", "orders"])
    equal(complete(world, "consume", "orders", *at, ""), [])  # It takes one topic.
    equal(complete(world, "topic", "create", *at, "ord"), [])
    equal(complete(world, "consume", "orders", "-b", "127.0.0.1:1", ""), [])
    equal(complete(world, "consume", "-b", "127.0.0.1:1", ""), [])
    equal(complete(world, "topic", "list", "-o", ""), ["table", "json", "jsonl"])
    equal(complete(world, "topic", "list", "--output=js"), ["--output=json", "--output=jsonl"])
    equal(complete(world, "produce", "orders", "--acks", ""), ["all", "1", "0"])
    equal(complete(world, "consume", "orders", "--from", ""), ["start", "end"])
    equal(complete(world, "serve", "--set", "cpu.c"), [":nospace", "cpu.cores="])
    equal(complete(world, "serve", "--data", ""), [":directories"])
    equal(complete(world, "log", "verify", ""), [":files"])
    equal(complete(world, "completion", ""), ["bash", "zsh", "fish"])
    equal(complete(world, "explain", "FLOE-120"), [f"FLOE-120{n}" for n in range(1, 10)])
    check("--header" in complete(world, "produce", "t", "-H", "a=1", "--h"), "-H may be repeated")
    check("--key" not in complete(world, "produce", "t", "-k", "x", "--k"), "-k is given")
    equal(complete(world, "produce", "t", "--", "--"), [":files"])
    for words in (("nothing", ""), ("nothing", "at", "all", ""), ("topic", "nothing", ""), ()):
        equal(complete(world, *words), [], str(words))


def test_bash_takes_the_script(world):
    need("bash")
    script = output(world, "completion", "bash")
    equal(subprocess.run(["bash", "-n"], input=script.encode(), check=True, timeout=60,
                         capture_output=True).stderr, b"")
    os.mkdir(os.path.join(world.dir, "directory one"))
    with open(os.path.join(world.dir, "dire file"), "w", encoding="utf-8"):
        pass
    equal(bash(world, "floe topic cr"), ["create"])
    equal(bash(world, "floe consume t --o"), ["--output"])
    equal(bash(world, "floe topic list --output=jsonl"), ["jsonl"])  # Bash keeps what is before =.
    equal(bash(world, "floe serve --set cpu.c"), ["cpu.cores="])
    equal(sorted(bash(world, "floe log verify dire")), ["dire file", "directory one"])
    equal(bash(world, "floe serve --data dire"), ["directory one"])
    equal(bash(world, "floe nothing here"), [""])


def test_a_tab_in_bash_completes(world):
    need("bash")
    tab(world, ["bash", "--norc", "--noprofile", "-i"], "source <(floe completion bash)")


def test_a_tab_in_zsh_completes(world):
    need("zsh")
    tab(world, ["zsh", "-f", "-i"], "autoload -U compinit; compinit -u -D; source <(floe completion zsh)")


def tab(world, shell_words, setup):
    """A terminal, a shell in it, and somebody who presses tab."""
    bin_dir = os.path.join(world.dir, "bin")
    os.mkdir(bin_dir)
    os.symlink(world.client, os.path.join(bin_dir, "floe"))
    env = {**os.environ, "PATH": bin_dir + ":" + os.environ["PATH"], "PS1": "$ ", "TERM": "dumb",
           "INPUTRC": "/dev/null", "ZDOTDIR": world.dir}
    master, slave = pty.openpty()
    with subprocess.Popen(shell_words, stdin=slave, stdout=slave, stderr=slave, env=env,
                          start_new_session=True) as shell:
        os.close(slave)
        try:
            os.write(master, setup.encode() + b"; echo read''y\n")
            read_until(master, b"ready")
            os.write(master, b"floe conf\tche\t--set cpu.sm\tfalse\n")
            read_until(master, b"ok: 1 settings given")
        finally:
            shell.kill()
    os.close(master)


def read_until(fd, words):
    text, deadline = b"", time.monotonic() + 60
    while words not in text:
        check(time.monotonic() < deadline, f"{words!r} did not come: {text!r}")
        if select.select([fd], [], [], 1)[0]:
            text += os.read(fd, 4096)
    return text


def test_zsh_and_fish_take_their_scripts(world):
    found = [shell for shell in ("zsh", "fish") if shutil.which(shell)]
    for shell in found:
        path = os.path.join(world.dir, f"script.{shell}")
        with open(path, "w", encoding="utf-8") as file:
            file.write(output(world, "completion", shell))
        done = subprocess.run([shell, "-n", path], capture_output=True, timeout=60, check=False)
        equal((done.returncode, done.stderr), (0, b""), shell)
    if "fish" in found:
        bin_dir = os.path.join(world.dir, "bin")
        os.mkdir(bin_dir)
        os.symlink(world.client, os.path.join(bin_dir, "floe"))
        done = subprocess.run(
            ["fish", "--no-config", "-c", f"source {world.dir}/script.fish; complete -C 'floe topic cr'"],
            capture_output=True, timeout=60, check=False,
            env={**os.environ, "PATH": bin_dir + ":" + os.environ["PATH"], "HOME": world.dir})
        equal(done.stdout.decode().split("\t")[0], "create", done.stderr)
    if not found:
        raise Skip("neither zsh nor fish is installed")


def test_unknown_shells_and_pages_are_refused(world):
    for words, hint in ((("completion", "tcsh"), b"fish"), (("completion",), b"bash|zsh|fish"),
                        (("man", "nothing"), b"nothing"), (("man", "--dir", "/not/there"), b"/not/there"),
                        (("man", "topic", "--dir", world.dir), b"--dir")):
        done = world.floe(*words)
        check(done.returncode in (2, 3) and hint in done.stderr, done)


def test_pages_are_sound_and_whole(world):
    pages = os.path.join(world.dir, "man1")
    os.mkdir(pages)
    equal(output(world, "man", "--dir", pages), "")
    found = verbs(world)
    nouns = {name.split()[0] for name in found}
    equal(sorted(os.listdir(pages)), sorted(["floe.1"] + [f"floe-{noun}.1" for noun in nouns]))
    for name in os.listdir(pages):
        path = os.path.join(pages, name)
        with open(path, encoding="utf-8") as file:
            text = file.read()
        noun = name[5:-2] if name != "floe.1" else None
        equal(output(world, "man", *([noun] if noun else [])), text)
        plain = re.sub(r"\\f[BRI]", "", text).replace("\\-", "-")
        for verb, flags in found.items():
            if noun is None:
                check(f"floe {verb}" in plain, (name, verb))
            elif verb.split()[0] == noun:
                check(all(flag in plain for flag in flags), (name, verb))
        lint(path)


def lint(path):
    """By what this machine has: man and groff are Debian's, mandoc is stricter."""
    if shutil.which("mandoc"):
        done = subprocess.run(["mandoc", "-Tlint", "-Wwarning", path], capture_output=True, timeout=60,
                              check=False)
        equal((done.returncode, done.stdout), (0, b""))
    if shutil.which("groff"):
        done = subprocess.run(["groff", "-man", "-ww", "-z", "-Tutf8", path], capture_output=True,
                              timeout=60, check=False)
        equal((done.returncode, done.stderr), (0, b""))
    elif not shutil.which("mandoc"):
        raise Skip("neither groff nor mandoc is installed")
