# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""Requests that run through processes of HAProxy that the runtime API no longer speaks for.

After a reload the process of before lives on until its requests have ended, and the new one knows nothing of them.
Each request has a connection of its own to its server (option http-server-close), so the kernel can count them.

Private to the collection: breaking changes at any time.
"""

from __future__ import annotations

import glob
import ipaddress
import os
import sys

# The process of before answers one last request on each connection that a client kept open. The role's template has
# "timeout http-keep-alive" and "timeout http-request" one second below it; a unit test holds them to it.
SETTLE_SECONDS = 21

_ESTABLISHED = "01"


def kernel_address(address, port):
    """An IP address (str) and a port (int) as /proc/net/tcp and tcp6 write them."""
    packed = ipaddress.ip_address(address).packed
    words = [int.from_bytes(packed[start : start + 4], sys.byteorder) for start in range(0, len(packed), 4)]
    return "".join(f"{word:08X}" for word in words) + f":{port:04X}"


def connections(table):
    """Inodes (set of str) by remote address of the established connections in a text of /proc/net/tcp."""
    found = {}
    for line in table.splitlines()[1:]:
        fields = line.split()
        if fields[3] == _ESTABLISHED:
            found.setdefault(fields[2], set()).add(fields[9])
    return found


def others(pid):
    """Ids (list of str) of the processes of HAProxy but pid (int) that have a connection to a client or a server."""
    found = []
    for path in glob.glob("/proc/[0-9]*/comm"):
        one = path.split("/")[2]
        if one != str(pid) and _read(path).strip() == "haproxy" and any(_remote(one).values()):
            found.append(one)
    return found


def requests(pids, servers):
    """How many requests the processes (ids as str) have running, by name of the server (_haproxy.Server)."""
    wanted = {}
    for server in servers:
        try:
            wanted[server.name] = kernel_address(server.address, server.port)
        except ValueError:  # not resolved: nobody is connected to it
            continue
    counts = dict.fromkeys((server.name for server in servers), 0)
    for pid in pids:
        remote = _remote(pid)
        for name, address in wanted.items():
            counts[name] += len(remote.get(address, ()))
    return counts


def _remote(pid):
    """As connections(), of one process alone."""
    own = _sockets(pid)
    found = {}
    for table in ("tcp", "tcp6"):
        for address, inodes in connections(_read(f"/proc/{pid}/net/{table}")).items():
            found[address] = inodes & own
    return found


def _sockets(pid):
    """The inodes of a process's sockets, set of str; empty when it has ended."""
    found = set()
    for path in glob.glob(f"/proc/{pid}/fd/*"):
        try:
            target = os.readlink(path)
        except OSError:
            continue
        if target.startswith("socket:["):
            found.add(target[8:-1])
    return found


def _read(path):
    try:
        with open(path) as file:
            return file.read()
    except OSError:  # the process has ended
        return ""
