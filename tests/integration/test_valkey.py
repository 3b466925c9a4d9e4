"""Valkey's own tests of streams, where a checkout of them is (VALKEY=FOLDER; tag 8.0.1, needs tcl)."""
import os
import re
import subprocess

from fixture import ROOT, Skip, check, equal, need
from test_resp import start

PASS, LEFT_OUT = 115, 12  # Of 127 that run against a server outside.


def test_streams_of_valkey(world):
    folder = os.environ.get("VALKEY")
    if not folder:
        raise Skip("VALKEY names no checkout of Valkey 8.0.1")
    need("tclsh")
    server = start(world, resp_allow_flush="true", cpu_cores="1")
    done = subprocess.run(
        ["./runtest", "--host", "127.0.0.1", "--port", str(server.port), "--singledb", "--durable",
         "--tags", "-needs:debug", "--single", "unit/type/stream", "--single", "unit/type/stream-cgroups",
         "--skipfile", os.path.join(ROOT, "tests", "integration", "valkey-skip.txt"), "--timeout", "120"],
        cwd=folder, capture_output=True, timeout=170, check=False)
    text = re.sub(r"\x1b\[[0-9;]*m", "", done.stdout.decode(errors="replace"))
    found = {mark: len(re.findall(rf"^\[{mark}\]", text, re.M)) for mark in ("ok", "err", "skip")}
    print(f"  valkey: {found['ok']} ok, {found['err']} failed, {LEFT_OUT} left out by name")
    equal(found["err"], 0, text[-3000:])
    check(found["ok"] >= PASS, f"{found} of Valkey's tests, {PASS} passed before:\n{text[-3000:]}")
    equal(server.stop(), 0, "exit code")
