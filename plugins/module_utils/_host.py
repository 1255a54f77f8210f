# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""What a host says of itself: commands run at the same time, memory, disks, PCI bus, Python. Reads only.

Private to the collection: breaking changes at any time.
"""

from __future__ import annotations

import glob
import importlib.util
import os
import platform
import re
import socket
import subprocess
from concurrent.futures import ThreadPoolExecutor
from importlib import metadata
from typing import NamedTuple

# A session by ssh often has a short PATH; drivers and Docker install into these.
SEARCH_PATH = os.pathsep.join(
    [os.environ.get("PATH", ""), "/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"]
)

# Python modules of the system's packages that roles lean on: community.docker on the first.
LIBRARIES = ("requests", "libtorrent")

MIB = 1024**2
GIB = 1024**3


class Result(NamedTuple):
    """What came of a command. missing: there is no such command. rc: 124 when it did not end in time."""

    rc: int
    out: str
    err: str
    missing: bool = False


def run(argv, timeout=60):
    """The Result of one command (list of str), in the C locale, without a shell and without input."""
    environment = dict(os.environ, PATH=SEARCH_PATH, LC_ALL="C", LANGUAGE="C")
    try:
        process = subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment,
            encoding="utf-8",
            errors="replace",
        )
    except FileNotFoundError:
        return Result(127, "", f"{argv[0]}: command not found", missing=True)
    except OSError as error:
        return Result(126, "", f"{argv[0]}: {error.strerror}")
    try:
        out, err = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        # Not waited for: a process stuck in the driver does not even die of SIGKILL.
        process.kill()
        return Result(124, "", f"{argv[0]} did not end within {timeout} s")
    return Result(process.returncode, out, err)


def run_all(commands, timeout=60):
    """The Results of commands (dict of name to list of str), run at the same time."""
    if not commands:
        return {}
    with ThreadPoolExecutor(max_workers=len(commands)) as pool:
        return dict(zip(commands, pool.map(lambda argv: run(argv, timeout), commands.values())))


def version_in(result, pattern):
    """The first group of pattern in what a command that succeeded printed, or None."""
    match = re.search(pattern, result.out) if result.rc == 0 else None
    return match.group(1) if match else None


def memory(text):
    """Total and available memory in MiB (ints, None when not said) from the text of C(/proc/meminfo)."""
    found = dict(re.findall(r"^(MemTotal|MemAvailable): +([0-9]{1,15}) kB$", text, re.MULTILINE))
    return tuple(int(found[key]) // 1024 if key in found else None for key in ("MemTotal", "MemAvailable"))


def os_release(text):
    """What C(/etc/os-release) says: dict of id, version and family, C(debian), C(rhel), C(suse) or the id itself."""
    found = dict(re.findall(r"^([A-Z_]+)=[\"']?([^\"'\n]*)[\"']?$", text, re.MULTILINE))
    identity = found.get("ID", "linux")
    names = [identity] + found.get("ID_LIKE", "").split()
    family = next((one for one in ("debian", "rhel", "suse") if one in names), None)
    if family is None:
        family = "rhel" if "fedora" in names else identity
    return {"id": identity, "version": found.get("VERSION_ID", ""), "family": family}


def module_version(text):
    """The version of the loaded kernel module from the text of C(/proc/driver/nvidia/version), or None."""
    match = re.search(r"Kernel Module(?: for \S+)?\s+([0-9]+(?:\.[0-9]+)+)", text)
    return match.group(1) if match else None


def pci_devices(root="/sys/bus/pci/devices"):
    """NVIDIA display devices on the PCI bus, list of str such as C(0000:00:06.0 2330:10de)."""
    found = []
    for folder in sorted(glob.glob(os.path.join(root, "*"))):
        vendor, device, kind = (read(os.path.join(folder, name)).strip() for name in ("vendor", "device", "class"))
        if vendor == "0x10de" and kind.startswith("0x03"):
            found.append(f"{os.path.basename(folder)} {device[2:]}:10de")
    return found


def disk(purpose, path):
    """Where path (which need not exist yet) will lie: dict of purpose, path, mount, device, free and total bytes."""
    place = os.path.abspath(path)
    while not os.path.isdir(place):
        place = os.path.dirname(place)
    mount = place
    while not os.path.ismount(mount):
        mount = os.path.dirname(mount)
    state = os.statvfs(place)
    device = os.stat(place).st_dev
    return {
        "purpose": purpose,
        "path": place,
        "mount": mount,
        "device": f"{os.major(device)}:{os.minor(device)}",
        "free_bytes": state.f_bavail * state.f_frsize,
        "total_bytes": state.f_blocks * state.f_frsize,
    }


def python():
    """This Python and LIBRARIES: dict of version and of each one's version, None where it is not there (str)."""
    return {"version": platform.python_version(), **{name: _library(name) for name in LIBRARIES}}


def _library(name):
    if not importlib.util.find_spec(name):
        return None
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "unknown"


def facts():
    """What needs no command: dict of hostname, os, cpus, memory, python, kernel module and PCI devices."""
    total, available = memory(read("/proc/meminfo"))
    return {
        "hostname": socket.gethostname(),
        "os": os_release(read("/etc/os-release")),
        "cpus": len(os.sched_getaffinity(0)),
        "memory_mib": total,
        "memory_available_mib": available,
        "python": python(),
        "module_version": module_version(read("/proc/driver/nvidia/version")),
        "pci_devices": pci_devices(),
    }


def read(path):
    """The text of a small file; empty when it cannot be read."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read(65536)
    except OSError:
        return ""
