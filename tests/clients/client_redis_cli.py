"""redis-cli as a command, called as a shell script would; see README.md for what each action prints."""
import subprocess
import sys

action, address, key, *options = sys.argv[1:]
COUNT = 48


def cli(*words, input=None, options=options):
    host, port = address.split(":")
    done = subprocess.run(["redis-cli", *options, "-h", host, "-p", port, *words], input=input,
                          capture_output=True, timeout=60, check=True)
    return done.stdout.decode().rstrip("\n")


def show(text):
    """ID, field, value, each on a line; in RESP3 `--raw` is the same."""
    words = text.split("\n")
    words = words[words.index(key) + 1:] if key in words else words
    for at in range(0, len(words) // 3 * 3, 3):
        print(words[at].split(" ")[-1], words[at + 2])


def pipeline():
    print(cli(input="".join(f"XADD {key} {n}-1 value v{n}\n" for n in range(1, COUNT + 1)).encode()))


def write():
    for n in range(1, COUNT + 1):
        print(cli("XADD", key, f"{n}-1", "value", f"v{n}"))


def trim():
    cli("XTRIM", key, "MAXLEN", "5")
    print(cli("XLEN", key))


def admin():
    info = dict(line.split(":", 1) for line in cli("INFO").splitlines() if ":" in line)
    print(info["server_name"].strip(), cli("TYPE", key), cli("XINFO", "STREAM", key).split()[1], cli("DEL", key),
          cli("EXISTS", key))


def binary():
    whole = bytes(range(256))
    head = b"*5\r\n$4\r\nXADD\r\n$%d\r\n%s\r\n$3\r\n1-1\r\n$5\r\nvalue\r\n$256\r\n" % (len(key), key.encode())
    cli("--pipe", input=head + whole + b"\r\n", options=[])
    text = cli("--no-raw", "XRANGE", key, "-", "+", options=[])
    quoted = text[text.index('"value"') + len('"value"'):]
    quoted = quoted[quoted.index('"') + 1:quoted.rindex('"')]
    print(quoted.encode().decode("unicode_escape").encode("latin-1").hex())


def groups():
    cli("XGROUP", "CREATE", key, "g", "0")
    read = cli("XREADGROUP", "GROUP", "g", "me", "COUNT", "3", "STREAMS", key, ">")
    show(read)
    print("pending", cli("XPENDING", key, "g").split()[0])
    print("acked", cli("XACK", key, "g", "1-1", "2-1", "3-1"))
    print("pending", cli("XPENDING", key, "g").split()[0])


ACTIONS = {"connect": lambda: print(cli("PING")), "write": write, "pipeline": pipeline, "trim": trim, "admin": admin,
           "range": lambda: show(cli("XRANGE", key, "-", "+")), "binary": binary, "groups": groups,
           "block": lambda: show(cli("XREAD", "BLOCK", "30000", "STREAMS", key, "99-0"))}
ACTIONS[action]()
