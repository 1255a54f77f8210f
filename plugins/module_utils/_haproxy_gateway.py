# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""Admitting and draining at a gateway: the order of the steps, and what is waited for.

Private to the collection: breaking changes at any time.
"""

from __future__ import annotations

import hashlib
import os
import time

from ansible_collections.llmops.nim.plugins.module_utils import _aside, _haproxy, _haproxy_processes
from ansible_collections.llmops.nim.plugins.module_utils._haproxy import DRAIN, MAINT, READY
from ansible_collections.llmops.nim.plugins.module_utils._haproxy_socket import Runtime
from ansible_collections.llmops.nim.plugins.module_utils._problem import Problem

POLL_SECONDS = 0.2


class Gateway:
    """One pass over the servers of a host.

    wanted: the options of the module nim_gateway, dict. aside: who is told how far it is (Aside). After a pass, changed
    (bool) is whether anything was, and cut (int) how many requests still ran when the time to drain was over. Methods
    raise Problem.
    """

    def __init__(self, wanted, aside):
        self.wanted, self.aside = wanted, aside
        self.runtime = Runtime(wanted["socket"])
        self.changed = False
        self.cut = 0

    def servers(self):
        """The servers in question, list of _haproxy.Server; raises Problem when the gateway does not know them."""
        known = self.runtime.servers()
        model, host = self.wanted["model"], self.wanted["host"]
        found = known
        if model:
            found = [one for one in found if one.backend == _haproxy.backend_name(model)]
            if not found:
                raise _unknown(f"model {model}", sorted({one.backend for one in known}))
        if host:
            names = [_haproxy.server_name(host, slot) for slot in _haproxy.SLOTS]
            of_model = found
            found = [one for one in found if one.name in names]
            if not found:
                raise _unknown(f"host {host}" + (f" of model {model}" if model else ""), [one.name for one in of_model])
        return found

    def _set_state(self, server, state):
        if server.state != state:
            self.runtime.set_state(server, state)
            self.changed = True

    def _save(self):
        # Also where nothing was changed: a run that was killed may have changed a server and saved nothing.
        self.runtime.save(self.wanted["state_file"])

    def run(self, step):
        """Runs a step (such as Gateway.admit) until one process of HAProxy has answered from its beginning to its end.

        While HAProxy reloads, a change can reach the process that is about to leave.
        """
        while True:
            begun = self.runtime.process()[0]
            step(self)
            if self.runtime.process()[0] == begun:
                return

    def admit(self):
        """Gives the slot requests once a check has passed, then takes them from the other slot."""
        name = _haproxy.server_name(self.wanted["host"], self.wanted["slot"])
        (chosen,) = [one for one in self.servers() if one.name == name]
        if chosen.state == MAINT:
            # Straight from maintenance to ready, it would get requests before the first check.
            self._set_state(chosen, DRAIN)
        try:
            self._wait_for_check(name)
        except Problem:
            if chosen.state == MAINT:
                self.runtime.set_state(chosen, MAINT)
            raise
        if chosen.state != READY:
            self.runtime.set_state(chosen, READY)
            self.changed = True
        self._save()
        self.drain([one for one in self.servers() if one.name != name])

    def _wait_for_check(self, name):
        end = time.monotonic() + self.wanted["up_timeout"]
        while True:
            (server,) = [one for one in self.servers() if one.name == name]
            if server.proven:
                return
            self.aside.tell("waiting for a check of the gateway")
            if time.monotonic() > end:
                raise Problem(
                    f"{name} gets no requests at the gateway: no check has passed within "
                    f"{self.wanted['up_timeout']:g} s",
                    f"GET http://{server.address}:{server.port}/v1/health/ready from the gateway: "
                    f"{server.check or 'no check has ended'}",
                    "see that the release is ready, and that the gateway reaches this address and port (firewall, "
                    "address in gateway_models)",
                    "not_up",
                )
            time.sleep(POLL_SECONDS)

    def drain_host(self):
        """Takes the host out, both slots."""
        self.drain(self.servers())

    def drain(self, servers):
        """Takes new requests from the servers, waits for those that run, and takes the servers out."""
        names = [one.name for one in servers]
        for server in servers:
            if server.state == READY:
                self._set_state(server, DRAIN)
        self._save()
        end = time.monotonic() + self.wanted["drain_timeout"]
        most = 0
        while True:
            servers = [one for one in self.servers() if one.name in names]
            running, settled = self._running(servers)
            self.cut = sum(running.values())
            if (settled and not self.cut) or time.monotonic() > end:
                break
            most = max(most, self.cut)
            self.aside.tell("draining", most - self.cut, most, _aside.REQUESTS)
            time.sleep(POLL_SECONDS)
        for server in servers:
            self._set_state(server, MAINT)
        self._save()

    def _running(self, servers):
        """Requests on each server by name, and whether none can come from a process of before a reload."""
        pid, age = self.runtime.process()
        others = _haproxy_processes.others(pid)
        older = _haproxy_processes.requests(others, servers)
        settled = not others or age >= _haproxy_processes.SETTLE_SECONDS
        return {one.name: one.sessions + older[one.name] for one in servers}, settled

    def save_all(self):
        """Writes the states of all servers, once each was checked, and the ones that only the configuration names."""
        try:
            with open(self.wanted["config"]) as file:
                config = file.read()
        except OSError as error:
            raise Problem(
                "The gateway's configuration cannot be read",
                f"{self.wanted['config']}: {error.strerror}",
                "apply the role gateway",
                "gateway_config_missing",
            ) from None
        end = time.monotonic() + self.wanted["up_timeout"]
        while self._unsettled() and time.monotonic() < end:
            time.sleep(POLL_SECONDS)
        self.changed = self.runtime.save(self.wanted["state_file"], config)

    def _unsettled(self):
        """Whether HAProxy runs and its new process does not answer yet, or has not checked each server."""
        try:
            if self.runtime.process()[0] == self.wanted["replaced"]:
                return True
            return any(one.state != MAINT and not one.checked for one in self.runtime.servers())
        except Problem:
            return False

    def pid(self):
        """The id of the process that answers, or None where HAProxy does not run."""
        try:
            return self.runtime.process()[0]
        except Problem:
            return None

    def outdated(self):
        """The files (list of str) of which the process that answers has not read what they should say."""
        begun = time.time() - self.runtime.process()[1]
        return [path for path, digest in self.wanted["files"].items() if not _read_as(path, digest, begun)]

    def report(self):
        """What the module returns of the servers, dict."""
        servers = self.servers()
        running, _settled = self._running(servers)
        shown = [
            {
                "backend": one.backend,
                "name": one.name,
                "address": f"{one.address}:{one.port}",
                "state": one.state,
                "up": one.up,
                "check": one.check,
                "sessions": running[one.name],
            }
            for one in servers
        ]
        if not self.wanted["model"]:
            return {"servers": shown}
        backend = _haproxy.backend_name(self.wanted["model"])
        serving = [one for one in self.runtime.servers() if one.backend == backend and one.up and one.state == READY]
        return {"servers": shown, "serving": len(serving)}

    def foreseen(self):
        """Whether the wished state differs from what is, bool."""
        admitted = self.wanted["state"] == "admitted"
        chosen = _haproxy.server_name(self.wanted["host"], self.wanted["slot"]) if admitted else None
        return any(one.state != (READY if one.name == chosen else MAINT) for one in self.servers())


def _read_as(path, digest, begun):
    """Whether a file has a sha256 (str), and had it when a process began (seconds since the epoch)."""
    try:
        with open(path, "rb") as file:
            return hashlib.sha256(file.read()).hexdigest() == digest and os.stat(path).st_mtime <= begun
    except OSError:
        return False


def _unknown(what, known):
    return Problem(
        f"The gateway does not know {what}",
        "it knows " + (", ".join(known) or "none"),
        "apply the role gateway: it has not been since the inventory was changed",
        "gateway_outdated",
    )
