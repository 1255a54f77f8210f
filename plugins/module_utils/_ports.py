# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""Who holds a TCP port of this host: process and container.

Private to the collection: breaking changes at any time.
"""

from __future__ import annotations

import os
import re
import socket
import struct

_LISTEN = "0A"


def parse_listeners(text):
    """The listening sockets in the text of C(/proc/net/tcp) or C(tcp6): list of (address, port, inode)."""
    found = []
    for line in text.splitlines()[1:]:
        fields = line.split()
        if len(fields) > 9 and fields[3] == _LISTEN:
            address, dummy, port = fields[1].partition(":")
            found.append((_address(address), int(port, 16), fields[9]))
    return found


def _address(text):
    """The kernel writes each 32-bit word of an address in the machine's byte order."""
    words = [int(text[start : start + 8], 16) for start in range(0, len(text), 8)]
    raw = struct.pack(f"={len(words)}I", *words)
    if len(words) == 1:
        return socket.inet_ntop(socket.AF_INET, raw)
    if raw.startswith(b"\0" * 10 + b"\xff\xff"):
        return socket.inet_ntop(socket.AF_INET, raw[12:])
    return socket.inet_ntop(socket.AF_INET6, raw)


def parse_published(text):
    """What C(docker ps) writes under Ports, as a list of (address, host port); TCP alone.

    Such as C(0.0.0.0:8000->8000/tcp, [::]:9000-9001->9000-9001/tcp, 8001/tcp); older Dockers write C(:::8000->…).
    """
    found = []
    for address, first, last in re.findall(
        r"(?:^|, )(\S*?):([0-9]{1,5})(?:-([0-9]{1,5}))?->[0-9]+(?:-[0-9]+)?/tcp(?=,|$)", text
    ):
        for port in range(int(first), int(last or first) + 1):
            found.append((address.strip("[]") or "0.0.0.0", port))
    return found


def overlap(one, other):
    """Do two listeners on these addresses (str) and the same port get in each other's way?"""
    wildcards = ("0.0.0.0", "::", "")
    return one == other or one in wildcards or other in wildcards


def listeners(proc="/proc"):
    """The listening TCP sockets of this host, list of (address, port, inode)."""
    found = []
    for name in ("tcp", "tcp6"):
        try:
            with open(os.path.join(proc, "net", name), encoding="ascii") as table:
                found.extend(parse_listeners(table.read()))
        except OSError:
            continue
    return found


def processes(inodes, proc="/proc"):
    """The process behind each socket inode: dict of inode to {pid, process, cgroup, cmdline}.

    Other users' processes are seen by root alone. Where several share a socket, the lowest pid (the parent) is named.
    """
    wanted = {f"socket:[{inode}]": inode for inode in inodes}
    found = {}
    for pid in sorted(int(name) for name in os.listdir(proc) if name.isdigit()):
        if len(found) == len(wanted):
            break
        for inode in _sockets(os.path.join(proc, str(pid), "fd"), wanted):
            found.setdefault(
                inode,
                {
                    "pid": pid,
                    "process": _read(proc, pid, "comm").strip(),
                    "cgroup": _read(proc, pid, "cgroup"),
                    "cmdline": _read(proc, pid, "cmdline").split("\0"),
                },
            )
    return found


def _sockets(folder, wanted):
    try:
        names = os.listdir(folder)
    except OSError:
        return
    for name in names:
        try:
            target = os.readlink(os.path.join(folder, name))
        except OSError:
            continue
        if target in wanted:
            yield wanted[target]


def _read(proc, pid, name):
    try:
        with open(os.path.join(proc, str(pid), name), encoding="utf-8", errors="replace") as file:
            return file.read()
    except OSError:
        return ""


def holders(ports, containers, proc="/proc"):
    """Who holds the ports (iterable of int): dict of port to list of holders.

    containers: what Docker knows, dicts with id, name, running, model (str or None) and published (list of (address,
    port)); None when Docker does not answer. A holder: address, process and pid (None when not to be seen), container
    and model (None for a plain process), and leftover: a docker-proxy whose container is gone or does not run.
    """
    ports = set(ports)
    held = {port: [] for port in ports}
    found = [entry for entry in listeners(proc) if entry[1] in ports]
    behind = processes({inode for dummy, dummy, inode in found}, proc) if found else {}
    for address, port, inode in found:
        process = behind.get(inode, {})
        container = _container(process, address, port, containers or [])
        held[port].append(
            {
                "address": address,
                "process": process.get("process") or None,
                "pid": process.get("pid"),
                "container": container["name"] if container else None,
                "model": container["model"] if container else None,
                "leftover": containers is not None and container is None and process.get("process") == "docker-proxy",
            }
        )
    # Without Docker's proxy process (userland-proxy: false) a published port has no listener that can be seen.
    for container in containers or []:
        for address, port in container["published"] if container["running"] else ():
            if port in ports and not any(holder["container"] == container["name"] for holder in held[port]):
                held[port].append(
                    {
                        "address": address,
                        "process": None,
                        "pid": None,
                        "container": container["name"],
                        "model": container["model"],
                        "leftover": False,
                    }
                )
    return held


def _container(process, address, port, containers):
    """The running container that a listener belongs to: it publishes the port, or the process runs in it."""
    running = [container for container in containers if container["running"]]
    inside = set(re.findall(r"[0-9a-f]{64}", process.get("cgroup", "")))
    for container in running:
        if container["id"] in inside:
            return container
    if process.get("process") not in (None, "", "docker-proxy", "dockerd", "rootlesskit", "rootlessport"):
        return None
    for container in running:
        if any(port == other and overlap(address, where) for where, other in container["published"]):
            return container
    return None
