"""What the scenarios' tests share: the lab's servers over ssh, and the real playbooks run as an operator runs them."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import subprocess
import sys
from contextlib import contextmanager, suppress
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
INVENTORY = "inventories/lab"
SSH_CONFIG = ROOT / ".lab" / "keys" / "ssh_config"
IMAGE = "nvcr.lab/nim/meta/llama-3.2-1b-instruct:1.8.4"
KEY, TOKEN = "nvapi-lab-0123456789abcdef", "hf_lab_reader"
# What the clients of a gateway send, where it asks for one.
API_KEY = "lab-gateway-0123456789abcdef"

# What a refusal must leave as it was: containers, images, models' directories, snapshots, keys, logins. Not the clones
# and objects of the weights, and what a fetch was to bring and how far it came: that is kept, for the run that resumes.
FINGERPRINT = r"""
docker ps --all --no-trunc --format '{{.ID}} {{.Names}} {{.State}}' | sort
docker images --no-trunc --quiet | sort
find /var/lib/nim -mindepth 1 -maxdepth 1 | sort
find /var/lib/nim -path '*/git' -prune -o -path '*/objects' -prune -o -path '*/cache/*' -prune -o \
    -type f -not -name lock -not -name progress.json -not -name '*.partial-plan' \
    -printf '%p %s %m %U %T@\n' | sort
find /root/.docker /run/nim-registry-* 2>/dev/null | sort
"""


def model(**changes):
    """The lab's model of gpu2 with changes (dotted keys as weights__revision)."""
    one = {
        "name": "capitals",
        "image": IMAGE,
        "weights": {"repo": "lab/Llama-3.2-1B-capitals", "revision": "main"},
        "gpus": [0],
        "port": 8000,
        "address": "0.0.0.0",
        "allow": ["all_addresses"],
        "verify": [{"prompt": "What is the capital of France?", "expect": "Paris"}],
    }
    for key, value in changes.items():
        outer, _dot, inner = key.partition("__")
        if inner:
            one[outer] = dict(one[outer], **{inner: value})
        else:
            one[outer] = value
    return one


def begin(name, *options, limit=None, inventories=(INVENTORY,), environment=None, output=subprocess.PIPE, **variables):
    """Starts a playbook of the collection on the lab; a process with stdout and stderr in stdout, read line by line, or
    in output (descriptor)."""
    ansible_playbook = str(Path(sys.executable).with_name("ansible-playbook"))
    command = [ansible_playbook, f"playbooks/{name}.yml", *options]
    for inventory in inventories:
        command += ["-i", inventory]
    if limit:
        command += ["--limit", limit]
    if variables:
        command += ["-e", json.dumps(variables)]
    plain = {"ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "ANSIBLE_FORCE_COLOR": "0", "ANSIBLE_NOCOLOR": "1"}
    return subprocess.Popen(
        command,
        cwd=ROOT,
        env=dict(os.environ, **plain, **(environment or {})),
        stdout=output,
        stderr=subprocess.STDOUT,
        text=True,
    )


def playbook(name, *options, **more):
    """Runs a playbook as begin() starts it; the finished process."""
    process = begin(name, *options, **more)
    output, _nothing = process.communicate()
    return subprocess.CompletedProcess(process.args, process.returncode, output)


def on_terminal(name, *options, **more):
    """Runs a playbook as begin() starts it, on a terminal; the finished process, with all that was drawn."""
    ours, theirs = pty.openpty()
    # What ansible.cfg turns on, and the scenarios turn off for one that counts calls.
    shown = {"ANSIBLE_CALLBACKS_ENABLED": "llmops.nim.nim_progress", "TERM": "xterm", "COLUMNS": "100"}
    environment = {**more.pop("environment", {}), **shown}
    process = begin(name, *options, environment=environment, output=theirs, **more)
    os.close(theirs)
    drawn = b""
    with suppress(OSError):  # once the other side is closed
        while block := os.read(ours, 65536):
            drawn += block
    os.close(ours)
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", drawn.decode())
    return subprocess.CompletedProcess(process.args, process.wait(), plain)


def read_until(process, words, times=1):
    """Reads on until a line of a playbook's output has the words for the given time; all that was read."""
    lines = []
    for line in process.stdout:
        lines.append(line)
        times -= words in line
        if not times:
            return "".join(lines)
    raise AssertionError(f"{words!r} never came:\n{''.join(lines)}")


def kill(process):
    """What the loss of the control node is to a playbook: SIGKILL for it and all that it has started, at once."""
    doomed = [process.pid]
    for parent in doomed:  # which grows meanwhile; what is stopped starts nothing more
        with suppress(ProcessLookupError):
            os.kill(parent, signal.SIGSTOP)
        children = subprocess.run(["ps", "-o", "pid=", "--ppid", str(parent)], capture_output=True, text=True)
        doomed += map(int, children.stdout.split())
    for one in doomed:
        with suppress(ProcessLookupError):
            os.kill(one, signal.SIGKILL)
    process.communicate()


def recap(output):
    """The recap's counts: {host: {ok: 3, changed: 0 …}}."""
    lines = re.findall(r"^(\w+) +: (ok=.*)$", output, re.MULTILINE)
    return {host: {key: int(value) for key, value in re.findall(r"(\w+)=(\d+)", rest)} for host, rest in lines}


def failures(output):
    """The tasks of a run that failed somewhere, with all they said: str, and nothing else of what may be long."""
    tasks = re.split(r"^(?=TASK |PLAY )", output, flags=re.MULTILINE)
    return "".join(task for task in tasks if re.search(r"^(?:fatal|failed): ", task, re.MULTILINE))


def run(host, script):
    """A shell script run as root on a server of the lab; its output."""
    command = ["ssh", "-F", str(SSH_CONFIG), host, "sudo sh -s"]
    return subprocess.run(command, input=script, capture_output=True, text=True, check=True).stdout


def inside(name, script):
    """A shell script run as root in one of the lab's containers, whatever has become of its sshd; its output."""
    command = ["docker", "exec", "--interactive", f"nim-lab-{name}", "sh", "-s"]
    done = subprocess.run(command, input=script, capture_output=True, text=True)
    assert done.returncode == 0, f"{name}: {script}\n{done.stderr}"
    return done.stdout


def fingerprint(host):
    """All that a refusal must not change on a server."""
    return run(host, FINGERPRINT)


@contextmanager
def changed(host, do, undo):
    """A server of the lab with something wrong on it, put right again afterwards."""
    run(host, do)
    try:
        yield
    finally:
        run(host, undo)


def docker(*words):
    """The engine that the lab's containers run on does this."""
    subprocess.run(["docker", *words], check=True, capture_output=True)


@contextmanager
def stopped(container):
    """One of the lab's containers stopped, and started again afterwards."""
    docker("stop", "--time", "1", container)
    try:
        yield
    finally:
        docker("start", container)


@contextmanager
def vanished(host):
    """A server that is gone from one moment to the next, and is back, without what ran on it, afterwards."""
    docker("kill", f"nim-lab-{host}")
    try:
        yield
    finally:
        docker("start", f"nim-lab-{host}")
        subprocess.run([sys.executable, ROOT / "lab/state.py", "--wait"], check=True, capture_output=True)
