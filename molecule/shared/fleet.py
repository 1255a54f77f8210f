"""The lab's fleet: three servers, each swapping in a way of its own, behind one gateway."""

from __future__ import annotations

import json
import subprocess
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import NamedTuple

import lab

ADDRESSES = {"gpu1": "10.83.0.11", "gpu2": "10.83.0.12", "gpu3": "10.83.0.13"}
HOSTS = tuple(ADDRESSES)
STRATEGIES = {"gpu1": "side_by_side", "gpu2": "in_place", "gpu3": "other_gpu"}
GATEWAY = "http://10.83.0.10:9000/v1"
INVENTORIES = (lab.INVENTORY, "inventories/lab_fleet")
LOOK = r"""
docker ps --filter label=llmops.nim.model=capitals --format '{{.Label "llmops.nim.release"}}' | xargs
cat /var/lib/nim/capitals/releases.json 2>/dev/null | tr '\n' ' '; echo
cat /var/lib/nim/lock 2>/dev/null || echo null
"""


class Host(NamedTuple):
    """What a server runs (list of release ids), what its ledger says (ids and commits of the release that serves and
    of the one before), and its lock (or None)."""

    runs: list
    current: str | None
    previous: str | None
    commit: str | None
    previous_commit: str | None
    lock: dict | None


def look(host):
    """A server as it is (Host)."""
    runs, ledger, lock = lab.run(host, LOOK).split("\n", 2)
    known = json.loads(ledger or "{}")
    current, previous = (known.get(key) or {} for key in ("current", "previous"))
    commits = (current.get("commit"), previous.get("commit"))
    return Host(runs.split(), current.get("id"), previous.get("id"), *commits, json.loads(lock))


def look_at_all(hosts=HOSTS):
    """dict of server to Host."""
    with ThreadPoolExecutor() as pool:
        return dict(zip(hosts, pool.map(look, hosts)))


def current(hosts=HOSTS):
    """dict of server to the id of its release; fails unless that alone runs, is recorded, and nobody holds a lock."""
    seen = look_at_all(hosts)
    assert all(one.runs == [one.current] and not one.lock for one in seen.values()), seen
    return {host: one.current for host, one in seen.items()}


def variables(revision, **more):
    """Extra variables for a run that wishes for a revision. env (dict) and verify (list) are the model's, and more are
    the run's; each may be a template, which every server reads for itself."""
    wishes = dict({"lab_revision": revision, "nim_soak_seconds": 1}, **more)
    env, verify = wishes.pop("env", None), wishes.pop("verify", None)
    if env or verify:
        model = lab.model(
            weights__revision=revision,
            gpus={"count": 1},
            gateway_port=9000,
            memory_share="{{ lab_memory_share }}",
            env=env or {},
        )
        wishes["lab_fleet_models"] = [dict(model, verify=verify or model["verify"])]
    return wishes


def deploy(revision, *options, limit=None, environment=None, **more):
    """Deploys a revision to the fleet; the finished process."""
    wishes = variables(revision, **more)
    return lab.playbook("deploy", *options, limit=limit, inventories=INVENTORIES, environment=environment, **wishes)


def begin(name, revision, limit=None, environment=None, **more):
    """Starts a playbook on the fleet, as lab.begin()."""
    wishes = variables(revision, **more)
    return lab.begin(name, limit=limit, inventories=INVENTORIES, environment=environment, **wishes)


def playbook(name, *options, limit=None, **more):
    """Runs another playbook on the fleet; the finished process."""
    return lab.playbook(name, *options, limit=limit, inventories=INVENTORIES, **dict({"nim_soak_seconds": 1}, **more))


def impatient(directory):
    """The environment of a playbook whose ssh, with its sockets in directory, notices within seconds when a server is
    gone."""
    keep = "-o ControlMaster=auto -o ControlPersist=60 -o ServerAliveInterval=1 -o ServerAliveCountMax=3"
    return {"ANSIBLE_SSH_ARGS": keep, "ANSIBLE_SSH_CONTROL_PATH_DIR": str(directory), "ANSIBLE_TIMEOUT": "5"}


@contextmanager
def unplugged(host):
    """A server without its network: no connection is closed, nothing is answered."""
    container = f"nim-lab-{host}"
    lab.docker("network", "disconnect", "nim-lab", container)
    try:
        yield
    finally:
        lab.docker("network", "connect", "--ip", ADDRESSES[host], "nim-lab", container)


def await_gateway():
    """Waits until the gateway has a server that is ready."""
    patience = ["--retry", "60", "--retry-delay", "1", "--retry-all-errors"]
    subprocess.run(["curl", "--silent", "--show-error", "--fail", *patience, f"{GATEWAY}/health/ready"], check=True)


def bring_to(revision):
    """Has the whole fleet on a revision, whatever was before; dict of server to the id of its release."""
    done = deploy(revision, nim_break_lock=True)
    assert done.returncode == 0, done.stdout
    return current()
