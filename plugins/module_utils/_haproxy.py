# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""What HAProxy's runtime API says about the servers of a gateway. Pure; the words are HAProxy's of 2.4 to 3.2.

Private to the collection: breaking changes at any time.
"""

from __future__ import annotations

import csv
import re
from typing import NamedTuple

SLOTS = ("a", "b")
READY, DRAIN, MAINT = "ready", "drain", "maint"

# Bits of srv_admin_state, documented with "show servers state".
_MAINT_BITS = 0x01 | 0x02 | 0x04 | 0x20 | 0x40
_DRAIN_BITS = 0x08 | 0x10
_RUNNING = 2
_UNCHECKED = "INI"

# A server that is down and wished to be ready, by the columns of a servers' state file, in their order. A later HAProxy
# has more of them, and takes these alone as well.
_DOWN = {
    "be_id": "0",
    "be_name": "",
    "srv_id": "0",
    "srv_name": "",
    "srv_addr": "-",
    "srv_op_state": "0",
    "srv_admin_state": "0",
    "srv_uweight": "1",
    "srv_iweight": "1",
    "srv_time_since_last_change": "0",
    "srv_check_status": "1",
    "srv_check_result": "0",
    "srv_check_health": "0",
    "srv_check_state": "6",
    "srv_agent_state": "0",
    "bk_f_forced_id": "0",
    "srv_f_forced_id": "0",
    "srv_fqdn": "-",
    "srv_port": "0",
    "srvrecord": "-",
}


class Server(NamedTuple):
    """One server of a backend, as HAProxy sees it.

    state: READY, DRAIN (no new requests, checks go on) or MAINT (no requests, no checks).
    up: HAProxy would send it requests if it were ready.
    checked: a check has ended since HAProxy started.
    proven: a check has passed since it last left maintenance. A server that leaves it counts as up before any check.
    check: the result of the last check, as HAProxy words it.
    sessions: requests that run on it through this process of HAProxy.
    """

    backend: str
    name: str
    address: str
    port: int
    state: str
    up: bool
    checked: bool
    proven: bool
    check: str
    sessions: int


def clean(name):
    """A name as HAProxy takes it: what is none of A-Z a-z 0-9 _ . - becomes an underscore."""
    return re.sub(r"[^A-Za-z0-9_.-]", "_", name)


def backend_name(model):
    """The backend of a model (str)."""
    return "nim_" + clean(model)


def server_name(host, slot):
    """The server for a slot (C(a) or C(b)) of an inventory's host (str)."""
    return f"{clean(host)}_{slot}"


def _rows(text):
    """The lines of "show servers state" as dict by column; its first line is the format's version."""
    lines = [line for line in text.splitlines() if line.strip()]
    header = next((line for line in lines if line.startswith("#")), "#")
    columns = header.lstrip("# ").split()
    return [dict(zip(columns, line.split())) for line in lines[1:] if not line.startswith("#")]


def servers(state, stat):
    """The servers (list of Server) from the texts of "show servers state" and "show stat", in HAProxy's order."""
    figures = {
        (row["pxname"], row["svname"]): row
        for row in csv.DictReader(stat.lstrip("# \n").splitlines())
        if row.get("svname") not in (None, "FRONTEND", "BACKEND")
    }
    return [
        _server(row, figures[row["be_name"], row["srv_name"]])
        for row in _rows(state)
        if (row["be_name"], row["srv_name"]) in figures
    ]


def _server(row, figures):
    admin = int(row["srv_admin_state"])
    state = MAINT if admin & _MAINT_BITS else DRAIN if admin & _DRAIN_BITS else READY
    up = int(row["srv_op_state"]) == _RUNNING and state != MAINT
    proven = up and int(figures["check_health"] or 0) > int(figures["check_rise"] or 0)
    # While the next check runs, a star stands before the result, and its code is 0.
    code = figures["check_code"] if figures["check_code"] != "0" else ""
    words = [figures["check_status"].lstrip("* "), code, figures["last_chk"] or figures["check_desc"]]
    return Server(
        row["be_name"],
        row["srv_name"],
        row["srv_addr"],
        int(row["srv_port"]),
        state,
        up,
        bool(words[0]) and words[0] != _UNCHECKED,
        proven,
        " ".join(filter(None, words)),
        int(figures["scur"] or 0),
    )


def process(info):
    """The process id and its age in seconds, two ints, from the text of "show info"."""
    pairs = dict(line.split(": ", 1) for line in info.splitlines() if ": " in line)
    return int(pairs["Pid"]), int(pairs["Uptime_sec"])


def configured(config):
    """The port (str) of each (backend, server) that the text of a configuration names, dict in its order."""
    found, backend = {}, None
    for line in config.splitlines():
        words = line.split()
        if words and not line[0].isspace():
            backend = words[1] if words[0] == "backend" else None
        elif backend and words[:1] == ["server"]:
            found[backend, words[1]] = words[2].rpartition(":")[2]
    return found


def wished(state):
    """What somebody has set the servers to (str by backend and server), from the text of a servers' state file."""
    return {(row["be_name"], row["srv_name"]): row["srv_admin_state"] for row in _rows(state)}


def state_file(state, config):
    """The text of a servers' state file: what state says, and as down the servers that config alone names.

    HAProxy takes a server that it knows nothing of for up until a check has failed. As down, it gets no request until
    one has passed. Ports are those of config: HAProxy would prefer the ones in the file.
    state: what "show servers state" or the file said, or empty. config: the text of a configuration, or empty.
    """
    ports = configured(config)
    rows = _rows(state)
    known = {(row["be_name"], row["srv_name"]) for row in rows}
    for row in rows:
        row["srv_port"] = ports.get((row["be_name"], row["srv_name"]), row["srv_port"])
    rows += [
        dict(_DOWN, be_name=backend, srv_name=server, srv_port=port)
        for (backend, server), port in ports.items()
        if (backend, server) not in known
    ]
    columns = list(rows[0]) if rows else list(_DOWN)
    lines = [" ".join(row[column] for column in columns if column in row) for row in rows]
    return "\n".join(["1", "# " + " ".join(columns), *lines]) + "\n"
