# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""A conversation with a running HAProxy over its stats socket.

Private to the collection: breaking changes at any time.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import socket
import tempfile

from ansible_collections.llmops.nim.plugins.module_utils import _haproxy
from ansible_collections.llmops.nim.plugins.module_utils._problem import Problem

TIMEOUT_SECONDS = 10


class Runtime:
    """HAProxy's runtime API at the socket called path (str); every method raises Problem when it does not answer."""

    def __init__(self, path):
        self.path = path

    def ask(self, command):
        """The answer (str) to one command (str)."""
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
                connection.settimeout(TIMEOUT_SECONDS)
                connection.connect(self.path)
                connection.sendall(command.encode() + b"\n")
                parts = iter(lambda: connection.recv(65536), b"")
                return b"".join(parts).decode(errors="replace")
        except OSError as error:
            raise Problem(
                "The gateway's HAProxy does not answer at its socket",
                f"{self.path}: {error.strerror or error}",
                "see why it does not run (systemctl status haproxy, or service haproxy status) and start it; where the "
                "role gateway was never applied, apply it; become root if permission is denied",
                "gateway_down",
            ) from None

    def servers(self):
        """All servers of the gateway, list of _haproxy.Server."""
        return _haproxy.servers(self.ask("show servers state"), self.ask("show stat"))

    def process(self):
        """The id of the process that answers, and its age in seconds."""
        return _haproxy.process(self.ask("show info"))

    def set_state(self, server, state):
        """Sets a server (_haproxy.Server) to _haproxy.READY, DRAIN or MAINT."""
        command = f"set server {server.backend}/{server.name} state {state}"
        answer = self.ask(command).strip()
        if answer:
            raise Problem(
                f"HAProxy does not set {server.backend}/{server.name} to {state}",
                answer,
                "apply the role gateway again: its socket gives the level admin",
                "gateway_refused",
            )

    def save(self, path, config=""):
        """Writes the states of all servers to the file that HAProxy reads when it starts.

        Returns whether the file says something new about which servers are to get requests.

        config: text of a configuration whose servers are to be in the file as well. Then the file is also written
        where no HAProxy runs: what it says already is kept.
        """
        with _locked(path + ".lock"):
            try:
                known = self.ask("show servers state")
            except Problem:
                if not config:
                    raise
                known = _read(path)
            before, text = _read(path), _haproxy.state_file(known, config)
            _write(path, text)
            return _haproxy.wished(before) != _haproxy.wished(text)


@contextlib.contextmanager
def _locked(path):
    # Hosts of one batch are drained at the same time: each file must hold what the one before wrote.
    with open(path, "a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _read(path):
    try:
        with open(path) as file:
            return file.read()
    except FileNotFoundError:
        return ""


def _write(path, text):
    """Replaces the file at once or not at all."""
    descriptor, temporary = tempfile.mkstemp(dir=os.path.dirname(path), prefix=os.path.basename(path) + ".")
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.chmod(temporary, 0o644)
    os.replace(temporary, path)
