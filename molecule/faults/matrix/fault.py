"""What a fault is, as data."""

from __future__ import annotations

from typing import NamedTuple

# A server whose containers Docker starts again with itself, which the lab's CDI keeps from those of gpu3.
RESTARTS = "gpu1"


class Fault(NamedTuple):
    """One way in which things go wrong.

    name: a row of docs/faults.md. says: what the run must say (tuple of str), the cause first.
    do, undo: shell scripts that break it and mend it, run as root on the server, or on another machine of the lab (at:
    registry or hub), which is stopped where there are none.
    wrong: variables of the run (dict) that are wrong; without them it is the command that has to go on. wish: the same
    for what the model asks for. asks: what the model rightly asks for here (dict), beside what the step asks for.
    killed_at: the task at which the control node is killed; what the same command says then is judged.
    host: the server that alone can have it. serves: whether what served before must answer while the fault is there;
    where the fault itself takes it away, a release must answer once that is mended.
    """

    name: str
    says: tuple
    do: str = ""
    undo: str = ""
    wrong: dict = {}
    wish: dict = {}
    asks: dict = {}
    host: str | None = None
    at: str | None = None
    killed_at: str | None = None
    serves: bool = True


class Step(NamedTuple):
    """Faults of one step of the way.

    name: a heading of docs/faults.md. playbook: the command. faults: list of Fault. asks: what the models ask for in it
    (dict). variables: of its runs (dict). mended: what the command has beside these once all is mended (dict).
    changes: whether it may have changed the server before it failed.
    """

    name: str
    playbook: str
    faults: list
    asks: dict = {}
    variables: dict = {}
    mended: dict = {}
    changes: bool = False


def away(path):
    """A script for a directory or file (str) put out of the way, and the one that brings it back: do, undo."""
    return f"mv {path} {path}.away", f"mv {path}.away {path}"


def changed_file(path, how):
    """A script that changes a file in place (how: shell, which finds it at $file), and the one that takes it back."""
    kept = f"/root/kept{path.replace('/', '_')}"
    return f"file={path}; cp -p $file {kept}; {how}", f"cp -p {kept} {path}; rm {kept}"


def blocked(address, protocol="tcp"):
    """Scripts for a firewall before an address."""
    rule = f"OUTPUT -d {address} -p {protocol} -j REJECT"
    return f"iptables -I {rule}", f"iptables -D {rule}"


# A daemon of a server: how it is ended, its open connections too, and how it shows that it is back.
_DAEMONS = {
    "docker": ("kill $(cat /run/docker.pid); while docker info; do sleep 0.1; done", "docker info"),
    "sshd": ("pkill -9 sshd", "ss -Hltn sport = :22 | grep -q ."),
}


def ended(name):
    """Scripts that end a daemon of the server and keep it away, and that have it back."""
    end, back = _DAEMONS[name]
    return f"touch /run/nim-lab/hold-{name}; {end}", f"rm /run/nim-lab/hold-{name}; until {back}; do sleep 0.1; done"
