# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""Who holds which memory of a GPU: processes, the containers they run in, and the releases these are.

Private to the collection: breaking changes at any time.
"""

from __future__ import annotations

import os
import re

from ansible_collections.llmops.nim.plugins.module_utils._host import read

# In /docker/<id> (cgroupfs), /system.slice/docker-<id>.scope (systemd) and below those of an outer container.
_CONTAINER = re.compile(r"(?<![0-9a-f])[0-9a-f]{64}(?![0-9a-f])")


def containers_of(pids, containers, proc="/proc"):
    """In which of the containers (ids, 64 hex) each process runs: dict of pid (int) to id, or to None for in none.

    A process that is not there is not in the answer: it has ended, or its pid counts in another namespace.
    """
    found = {}
    for pid in pids:
        text = read(os.path.join(proc, str(pid), "cgroup"))
        if text:
            found[pid] = next((one for one in _CONTAINER.findall(text) if one in containers), None)
    return found


def processes(gpus):
    """The pids (set of int) of all processes on the GPUs (dicts of _nvidia_smi.parse)."""
    return {process["pid"] for gpu in gpus for process in gpu["processes"] if process["pid"] is not None}


def attribute(gpus, releases, container_of_pid):
    """The releases, each with C(memory_mib): dict of GPU UUID to the MiB (int) it holds there, or None for unknown.

    gpus: dicts with uuid, memory_used_mib and processes. releases: dicts with id (of the container), running and gpus
    (UUIDs). container_of_pid: what containers_of() says. A release has those GPUs that it was given and those that it
    is seen on; one that does not run has none.

    Where nvidia-smi does not name the holders of the memory in use, the one release on that GPU holds all that is not
    named as another's. Of several nobody knows. No GPU is held for more than is in use on it.
    """
    held = [{} for dummy in releases]
    for gpu in gpus:
        if gpu["uuid"] is None:
            continue
        named, complete = _named(gpu, container_of_pid)
        here = [
            number
            for number, release in enumerate(releases)
            if release["running"] and (gpu["uuid"] in release["gpus"] or release["id"] in named)
        ]
        for number in here:
            held[number][gpu["uuid"]] = _share(gpu, named, complete, releases[number]["id"], alone=len(here) == 1)
    return [dict(release, memory_mib=memory) for release, memory in zip(releases, held)]


def _named(gpu, container_of_pid):
    """What the processes on a GPU hold, dict of container id (None: in none) to MiB, and whether that is all of it."""
    used, named, complete = gpu["memory_used_mib"], {}, True
    for process in gpu["processes"]:
        if process["used_memory_mib"] is None or process["pid"] not in container_of_pid:
            complete = False
            continue
        container = container_of_pid[process["pid"]]
        named[container] = named.get(container, 0) + process["used_memory_mib"]
    if used is not None and sum(named.values()) > used:
        # Read at two moments: the figures do not belong together.
        return dict.fromkeys(named, 0), False
    return named, complete and (bool(gpu["processes"]) or used == 0)


def _share(gpu, named, complete, container, alone):
    if complete:
        return named.get(container, 0)
    if not alone or gpu["memory_used_mib"] is None:
        return None
    return gpu["memory_used_mib"] - sum(mib for other, mib in named.items() if other != container)
