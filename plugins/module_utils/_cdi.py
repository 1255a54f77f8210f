# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""The Container Device Interface (CDI): what a host's specifications hand out of its NVIDIA GPUs, and why they may not.

A specification is YAML or JSON. A server need have no YAML reader, so it is read by the few keys that matter here.

Private to the collection: breaking changes at any time.
"""

from __future__ import annotations

import glob
import os
import re
from typing import NamedTuple

from ansible_collections.llmops.nim.plugins.module_utils._floors import version_key
from ansible_collections.llmops.nim.plugins.module_utils._problem import Problem

KIND = "nvidia.com/gpu"
# The first Docker that knows CDI; a feature to switch on, until it became the default.
DOCKER = "25"
GENERATE = "nvidia-ctk cdi generate --output=/etc/cdi/nvidia.yaml"
SWITCH_ON = 'Write {"features": {"cdi": true}} into /etc/docker/daemon.json and restart Docker.'

# Largest specification that is read, in bytes: each further GPU adds some KiB.
_MOST = 4 * 1024**2
# A key at the beginning of a line, of an entry, or inside braces, and its value, in quotes or not.
_VALUE = r"""(?:^|[\s{{,-])["']?{key}["']?\s*:\s*(?:"([^"\n]*)"|'([^'\n]*)'|([^\s"',}}\]]+))"""
_LIBRARY = re.compile(r"/lib(?:cuda|nvidia-ml)\.so\.([0-9]+(?:\.[0-9]+)+)$")


class Spec(NamedTuple):
    """One specification of NVIDIA GPUs. path: of its file. devices: names. nodes: device files that it hands over.
    mounts: files and folders of the host that it hands over."""

    path: str
    devices: tuple
    nodes: tuple
    mounts: tuple


def parse(path, text):
    """The Spec in the text (str) of the file at path, or None where it is of another kind of device."""
    if KIND not in _values(text, "kind"):
        return None
    hosts = _values(text, "hostPath")
    return Spec(
        path=path,
        devices=tuple(_values(text, "name")),
        nodes=tuple(one for one in _values(text, "path") + hosts if one.startswith("/dev/")),
        mounts=tuple(one for one in hosts if not one.startswith("/dev/")),
    )


def _values(text, key):
    """All values (list of str) of a key, each once, in order."""
    found = re.findall(_VALUE.format(key=key), text, re.MULTILINE)
    return list(dict.fromkeys("".join(groups) for groups in found))


def read(folders):
    """The Specs (list) in the folders (list of str) that Docker looks into."""
    found = []
    for folder in folders:
        for path in sorted(glob.glob(os.path.join(folder, "*"))):
            if path.endswith((".yaml", ".yml", ".json")):
                found.append(parse(path, _text(path)))
    return [spec for spec in found if spec]


def _text(path):
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read(_MOST)
    except OSError:
        return ""


def look(docker, driver):
    """What Docker can hand out by CDI: a dict of C(specs) (paths) and C(devices) (names), and the Problem or None.

    docker: dict of _host_docker.engine(). driver: version of the driver (str), or None.
    """
    specs = read(docker["cdi_folders"])
    facts = {
        "specs": [spec.path for spec in specs],
        "devices": list(dict.fromkeys(name for spec in specs for name in spec.devices)),
    }
    for check in (_switched_on, _specified, _fresh, _there, _with_driver):
        problem = check(docker, specs, driver)
        if problem:
            return facts, problem
    return facts, None


def device_names(gpu, devices):
    """The names (list of str) that a GPU (dict of index and uuid) has among devices (list of str)."""
    return [name for name in (str(gpu["index"]), gpu["uuid"]) if name in devices]


def _switched_on(docker, dummy_specs, dummy_driver):
    if docker["cdi_folders"]:
        return None
    if version_key(docker["version"]) < version_key(DOCKER):
        return Problem(
            f"Docker {docker['version']} does not know CDI.",
            evidence=f"Docker {docker['version']}; CDI came with Docker {DOCKER}",
            remedy=f"Install Docker Engine {DOCKER} or newer, or hand out GPUs by the runtime hook (gpus).",
            code="cdi_unknown",
        )
    return Problem(
        "CDI is switched off in Docker.",
        evidence="docker info names no folder for CDI specifications (CDISpecDirs)",
        remedy=SWITCH_ON,
        code="cdi_off",
    )


def _specified(docker, specs, dummy_driver):
    if any(spec.devices for spec in specs):
        return None
    return Problem(
        "No CDI specification names an NVIDIA GPU.",
        evidence=f"none of kind {KIND} with a device in " + ", ".join(docker["cdi_folders"]),
        remedy=f"{GENERATE} (from the NVIDIA container toolkit)",
        code="cdi_no_specification",
    )


def _fresh(dummy_docker, specs, driver):
    """A specification names libraries by the driver's version, and is not written anew when the driver is."""
    for spec in specs:
        versions = [match.group(1) for match in map(_LIBRARY.search, spec.mounts) if match]
        other = [version for version in versions if driver and version_key(version) != version_key(driver)]
        if other:
            return Problem(
                f"The CDI specification {spec.path} is of driver {other[0]}, and driver {driver} is loaded.",
                evidence=next(mount for mount in spec.mounts if mount.endswith(other[0])),
                remedy=f"Write it anew: {GENERATE}",
                code="cdi_stale",
            )
    return None


def _there(dummy_docker, specs, dummy_driver):
    for spec in specs:
        missing = [path for path in spec.mounts + spec.nodes if not os.path.exists(path)]
        if missing:
            more = f" and {len(missing) - 5} more" if len(missing) > 5 else ""
            return Problem(
                f"The CDI specification {spec.path} hands over what this host does not have: {missing[0]}.",
                evidence="not there: " + ", ".join(missing[:5]) + more,
                remedy=f"Write it anew: {GENERATE}. A device file that is missing is made by: nvidia-modprobe -u -c=0",
                code="cdi_path_missing",
            )
    return None


def _with_driver(dummy_docker, specs, dummy_driver):
    mounts = [mount for spec in specs for mount in spec.mounts]
    if any(_holds_driver(mount) for mount in mounts):
        return None
    return Problem(
        f"The CDI specification {specs[0].path} hands over GPUs without the driver's libraries.",
        evidence="no libcuda.so in what it mounts: " + (", ".join(mounts[:5]) or "it mounts nothing"),
        remedy=f"Write it anew: {GENERATE}. By hand: add the folder that holds libcuda.so.1 (ldconfig -p names it; "
        "where it is not listed, often /usr/local/nvidia/lib64) to its mounts.",
        code="cdi_no_driver",
    )


def _holds_driver(mount):
    if not os.path.isdir(mount):
        return os.path.basename(mount).startswith("libcuda.so")
    patterns = ("libcuda.so*", "*/libcuda.so*", "*/*/libcuda.so*")
    return any(glob.glob(os.path.join(glob.escape(mount), pattern)) for pattern in patterns)
