# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""Hosts that hang or cannot be reached: the others are shown, these are named, and the run ends."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
# A Python that takes the module from its input, and answers what it would on a host where nothing runs.
WELL = """#!/bin/sh
cat >/dev/null
echo '{"changed": false, "releases": [], "drift": [], "ledgers": {}, "lock": null}'
"""


def script(path, content):
    path.write_text(content)
    path.chmod(0o755)
    return str(path)


@pytest.fixture
def silent_port():
    """A port of this machine where ssh is accepted, and then nothing is said."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        yield listening.getsockname()[1]


@pytest.fixture
def hosts(tmp_path, silent_port):
    """An inventory: a host in order, one whose Python never ends, one whose sshd says nothing."""
    # Whatever hangs is ended with the test.
    pids = tmp_path / "pids"
    local = {"ansible_connection": "local"}
    stuck = f"#!/bin/sh\necho $$ >>{pids}\nexec sleep 600\n"
    found = {
        "well": dict(local, ansible_python_interpreter=script(tmp_path / "well", WELL)),
        "stuck": dict(local, ansible_python_interpreter=script(tmp_path / "stuck", stuck)),
        "silent": {"ansible_host": "127.0.0.1", "ansible_port": silent_port},
    }
    variables = {"nim_models": [], "ansible_become": False}
    path = tmp_path / "hosts.yml"
    path.write_text(yaml.safe_dump({"all": {"hosts": found, "vars": variables}}))
    yield path
    for pid in pids.read_text().split() if pids.exists() else ():
        subprocess.run(["kill", pid], capture_output=True)


@pytest.fixture
def fifty_hosts(tmp_path):
    """An inventory of fifty hosts, ten of which refuse the connection."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        gone = {"ansible_host": "127.0.0.1", "ansible_port": free.getsockname()[1]}
        well = {"ansible_connection": "local", "ansible_python_interpreter": script(tmp_path / "well", WELL)}
        found = {f"gpu{number:02}": gone if number % 5 == 0 else well for number in range(50)}
        path = tmp_path / "hosts.yml"
        path.write_text(yaml.safe_dump({"all": {"hosts": found, "vars": {"nim_models": [], "ansible_become": False}}}))
        yield path


def status(hosts, *options):
    """status.yml on an inventory (path), with options of ansible-playbook (str), which ends red: what it printed."""
    command = [Path(sys.executable).with_name("ansible-playbook"), ROOT / "playbooks" / "status.yml", "-i", hosts]
    done = subprocess.run(
        [*command, *options],
        cwd=ROOT,
        env=dict(os.environ, ANSIBLE_CONFIG=str(ROOT / "ansible.cfg"), ANSIBLE_NOCOLOR="1"),
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode != 0
    return done


def test_ten_of_fifty_that_cannot_be_reached(fifty_hosts):
    said = status(fifty_hosts).stdout
    away = {f"gpu{number:02}" for number in range(0, 50, 5)}
    assert set(re.findall(r"fatal: \[(\w+)\]: UNREACHABLE", said)) == away
    assert len(re.findall(r"gpu\d\d +no release", said)) == 40, said
    # An end is told of each.
    assert len(re.findall(r"^gpu\d\d +: ok=", said, re.MULTILINE)) == 50


def test_the_others_are_shown_and_the_run_ends(hosts):
    done = status(hosts, "--timeout", "2", "--extra-vars", "nim_look_timeout=8")
    assert re.search(r"well +no release", done.stdout), done.stdout
    assert re.search(r"fatal: \[silent\]: UNREACHABLE", done.stdout), done.stdout
    named = r"TASK \[Read the releases\].*Timed out after 8 second.*fatal: \[stuck\]: FAILED"
    assert re.search(named, done.stdout, re.DOTALL), done.stdout
    recap = dict(re.findall(r"^(\w+) +: ok=\d+ .*?(unreachable=\d +failed=\d)", done.stdout, re.MULTILINE))
    assert recap == {
        "well": "unreachable=0    failed=0",
        "stuck": "unreachable=0    failed=1",
        "silent": "unreachable=1    failed=0",
    }
