"""The control node is killed: what serves goes on, and the next run finishes the job from what it finds."""

from __future__ import annotations

import fleet
import pytest

import lab

STAGE, DRAIN = "Have the weights on the host, proven", "Send this host no further requests"
SWAP, SOAK = "Start the release, and wait until it is ready", "Watch it"
SAYS_WHO_AND_WHY = ("Another run is working on this host", "locked by", "since", "nim-capitals-", "nim_break_lock=true")
DRAINS = """
import socket, sys
while True:
    with socket.socket(socket.AF_UNIX) as haproxy:
        haproxy.connect("/run/haproxy/nim.sock")
        haproxy.sendall(b"show stat\\n")
        rows = b"".join(iter(lambda: haproxy.recv(65536), b"")).decode().splitlines()
    if any(",{0}_".format(sys.argv[1]) in row and ",DRAIN" in row for row in rows):
        break
"""


@pytest.fixture(scope="module", autouse=True)
def v1():
    return fleet.bring_to("v1")


@pytest.mark.parametrize(
    ("host", "revision", "task"),
    [
        ("gpu1", "v2", STAGE),
        ("gpu2", "v2", DRAIN),
        ("gpu2", "v1", SWAP),
        ("gpu1", "v1", SOAK),
    ],
    ids=["stage", "drain", "while one is stopped and the other started", "soak"],
)
def test_killed(load, host, revision, task):
    old = fleet.current((host,))[host]
    doomed = fleet.begin("deploy", revision, limit=host, nim_soak_seconds=60)
    lab.read_until(doomed, task)
    if task == DRAIN:
        lab.run("gateway", f"python3 - {host} <<'END'\n{DRAINS}\nEND")
    if task == SOAK:
        is_refused(host, revision)
    if task == SWAP:
        lab.run(host, f"while docker ps --format '{{{{.Names}}}}' | grep -q {old}; do :; done")
    lab.kill(doomed)
    if task == SWAP:  # what was begun in one go, the server ends without the control node
        lab.run(host, "until docker ps --format '{{.Names}}' | grep -q nim-capitals-; do :; done")

    found = fleet.look(host)
    assert (old in found.runs) == (task != SWAP), found
    assert found.runs
    assert found.current == old
    load.next()
    if task == SWAP:
        is_refused(host, revision)
        assert fleet.look(host) == found
    finished = fleet.deploy(revision, limit=host, nim_break_lock=True)
    assert finished.returncode == 0, finished.stdout
    assert fleet.current((host,))[host] != old
    assert fleet.look(host).previous == old


def is_refused(host, revision):
    """A run that comes while another one works there, or has left its lock."""
    done = fleet.deploy(revision, limit=host)
    assert done.returncode != 0, done.stdout
    flat = " ".join(done.stdout.split())
    assert all(words in flat for words in SAYS_WHO_AND_WHY), done.stdout


def test_then_all_is_in_sync(v1):
    done = fleet.bring_to("v1")
    assert done == v1
