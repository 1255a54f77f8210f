# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""The lab's GPUs: what /etc/nim-lab/gpus.json says is there, and which containers hold memory on it.

A hook notes every container that was given a GPU under CLIENTS; it counts for as long as its process lives.
That needs no question to the Docker Engine, which must not be asked while it waits for the hook.
"""

import contextlib
import json
import os
import re
from pathlib import Path

STATE = "/etc/nim-lab/gpus.json"
CLIENTS = "/run/nim-lab/clients"
SHARE = 0.9
# NIM's utilities look at the GPUs without putting anything on them.
UTILITIES = ("list-model-profiles", "download-to-cache", "create-model-store")


def load():
    """The host as in STATE; each GPU also has its C(index) and the C(clients) that hold memory on it."""
    host = json.loads(Path(STATE).read_text())
    running = clients()
    for index, gpu in enumerate(host["gpus"]):
        usable = gpu["memory_total_mib"] - gpu["memory_reserved_mib"]
        gpu["index"] = index
        gpu["clients"] = []
        used = gpu.get("memory_used_mib", 0)
        for client in running:
            if gpu["uuid"] in client["uuids"]:
                mib = min(int(client["fraction"] * gpu["memory_total_mib"]), usable - used)
                used += mib
                gpu["clients"].append({"pid": client["pid"], "name": process_name(client["pid"]), "used_mib": mib})
        gpu["memory_used_mib"] = used
    return host


def started(pid):
    """When process pid started, in clock ticks since boot, or None: tells a process from a later one of its number."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except OSError:
        return None


def process_name(pid):
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return "[Not Found]"


def notes():
    """What is noted about each container, oldest first: (path, note). Others may be writing and removing meanwhile."""
    found = []
    for path in Path(CLIENTS).glob("*.json"):
        with contextlib.suppress(FileNotFoundError):
            found.append((path.stat().st_mtime, path, json.loads(path.read_text())))
    return [(path, note) for _time, path, note in sorted(found, key=lambda item: item[:2])]


def lives(note):
    return started(note["pid"]) == note["started"]


def clients():
    """The containers that hold GPU memory now, oldest first."""
    return [note for _path, note in notes() if lives(note)]


def promised(env):
    """The part of each GPU's memory that a container with these variables (dict) takes, weights and KV cache together.

    In NIM 2.x it is a flag for the engine, of which the last counts; in 1.x a variable. To refuse what is none is up
    to NIM.
    """
    flags = re.findall(r"--gpu-memory-utilization[=\s]\s*(\S+)", env.get("NIM_PASSTHROUGH_ARGS", ""))
    try:
        share = float(flags[-1] if flags else env.get("NIM_KVCACHE_PERCENT") or SHARE)
    except ValueError:
        return SHARE
    return share if 0 < share <= 1 else SHARE


def note_client(container, pid, uuids, fraction):
    """Remember that a container holds a fraction of the memory of the GPUs with these UUIDs."""
    for path, note in notes():
        if not lives(note):
            path.unlink(missing_ok=True)
    path = Path(CLIENTS, container)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"pid": pid, "started": started(pid), "uuids": uuids, "fraction": fraction}))
    path.rename(path.with_suffix(".json"))


def config_of(state):
    """The OCI configuration (dict) of a container, from the state (dict) that a hook is given."""
    return json.loads(Path(state["bundle"], "config.json").read_text())


def variables(config):
    return dict(item.partition("=")[::2] for item in config["process"]["env"])


def hand_over(state, config, gpus):
    """Tell a container that is about to start of its GPUs, and remember what it will hold.

    It finds them, numbered anew from 0, in /run/nvidia-lab/gpus.json.
    """
    seen = [
        {
            "index": number,
            "uuid": gpu["uuid"],
            "name": gpu["name"],
            "pci_id": "{}:{}".format(gpu["pci_device_id"][:4], gpu["pci_device_id"][4:]).lower(),
            "memory_total_mib": gpu["memory_total_mib"],
            "memory_used_mib": gpu["memory_used_mib"],
            "utilization": 0,
            "compute_capability": gpu["compute_capability"],
        }
        for number, gpu in enumerate(gpus)
    ]
    # Through the container's own mounts, where its /run may be a tmpfs.
    rootfs = os.path.join(state["bundle"], config["root"]["path"])
    folder = Path(f"/proc/{state['pid']}/root{rootfs}/run/nvidia-lab")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "gpus.json").write_text(json.dumps(seen))
    if not set(UTILITIES) & set(config["process"]["args"]):
        note_client(state["id"], state["pid"], [gpu["uuid"] for gpu in gpus], promised(variables(config)))
