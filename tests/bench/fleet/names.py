"""Many inventory names for the lab's three servers: each is reached and looked at as a server of its own would be.

Every name has an ssh connection to itself (by its own control path). What they share is the servers' processor, which
here is the control node's too.
"""

from __future__ import annotations

import importlib
import os
import subprocess
from contextlib import suppress
from pathlib import Path

import yaml

lab = importlib.import_module("lab")

FOLDER = lab.ROOT / ".bench"
SERVERS = {"gpu1": "10.83.0.11", "gpu2": "10.83.0.12", "gpu3": "10.83.0.13"}
# A server of its own would never see as many logins at once as one with a third of the names.
LOGINS = "/etc/ssh/sshd_config.d/bench.conf"


def inventory(number, own=lambda index: {}, called="names"):
    """The path of an inventory of so many (int) names, beside the lab's own, whose variables it has.

    own: from a name's index to variables (dict) of its own. called: what inventories of this kind are (str).
    """
    folder = FOLDER / f"{called}_{number}"  # as deep as the lab's inventory, whose paths are relative
    folder.mkdir(parents=True, exist_ok=True)
    servers = _read("hosts.yml")["servers"]["vars"]
    wishes = dict(_read("group_vars/gpu_servers.yml"), nim_models=[lab.model(gpus={"count": 1}, memory_share=0.45)])
    hosts = {
        name: {
            "ansible_host": SERVERS[server],
            "ansible_control_path": str(control_path(name)),
            "idiomatic_cdi": server == "gpu3",
            "idiomatic_clone": clone("idiomatic", index),
            **own(index),
        }
        for index, (name, server) in enumerate(named(number).items())
    }
    group = {"hosts": hosts, "vars": wishes}
    (folder / "hosts.yml").write_text(
        yaml.safe_dump({"servers": {"children": {"gpu_servers": group}, "vars": servers}})
    )
    return folder


def _read(file):
    return yaml.safe_load((lab.ROOT / lab.INVENTORY / file).read_text())


def clone(peer, index):
    """Where a peer has the weights of the name with an index: git lets one at a time into a clone."""
    return f"/var/lib/{peer}/weights" + (f"-{index}" if index >= len(SERVERS) else "")


def control_path(name):
    return FOLDER / "cp" / name


def named(number):
    """dict of so many (int) names to the server that each stands for."""
    servers = list(SERVERS)
    return {f"name{index + 1:02}": servers[index % len(servers)] for index in range(number)}


def prepare():
    """Have the servers take as many logins at once as all names together make."""
    (FOLDER / "cp").mkdir(parents=True, exist_ok=True)
    for server in SERVERS:
        lab.run(server, f"echo 'MaxStartups 200' >{LOGINS}; pkill -HUP --oldest sshd")


def restore():
    for server in SERVERS:
        lab.run(server, f"rm -f {LOGINS}; pkill -HUP --oldest sshd")


def processor():
    """Seconds that what holds the connections to names has computed: no children of whoever made them."""
    ticks = 0
    for place in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it has ended meanwhile
            if b"[mux]" in (title := (place / "cmdline").read_bytes()) and os.fsencode(FOLDER) in title:
                ticks += sum(map(int, (place / "stat").read_text().rpartition(")")[2].split()[11:13]))
    return ticks / os.sysconf("SC_CLK_TCK")


def disconnect():
    """End all connections to names: each run is to make its own."""
    for path in (FOLDER / "cp").iterdir():
        subprocess.run(["ssh", "-o", f"ControlPath={path}", "-O", "exit", path.name], capture_output=True)
        path.unlink(missing_ok=True)
