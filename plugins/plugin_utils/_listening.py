# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""Hears how far a module is while it works, where somebody watches.

Private to the collection: breaking changes at any time.

It reads the file that the module tells it in (_aside) with a command of its own, over the connection of the task. That
starts no Python on the host, and is no call of a module.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import shlex
import threading

from ansible.plugins.action import ActionBase

from ansible_collections.llmops.nim.plugins.module_utils import _aside
from ansible_collections.llmops.nim.plugins.plugin_utils import _board

_EVERY = 2.0  # seconds
# A connection that has died must not hold up what the task has to say of it.
_PATIENCE = 5.0


class ListeningAction(ActionBase):
    """The module's call, overheard."""

    TRANSFERS_FILES = False
    _supports_async = _supports_check_mode = True

    def run(self, tmp=None, task_vars=None):
        result = super().run(tmp, task_vars)
        if self._task.async_val or not _board.is_up():
            # An async task ends as soon as it has begun: there is nothing to hear meanwhile.
            return {**result, **self._execute_module(task_vars=task_vars, wrap_async=self._task.async_val)}
        host, action = task_vars["inventory_hostname"], self._task.action
        path = self._task.args.get("progress_file") or f"{_aside.DIRECTORY}/{_name(host, action)}.json"
        _board.tell(host, action, [])
        with listening(self._connection, path, lambda told: _board.tell(host, action, [told])):
            wanted = {**self._task.args, "progress_file": path}
            return {**result, **self._execute_module(module_args=wanted, task_vars=task_vars)}


def _name(host, action):
    """The same for each run, so that what a killed one has left is written over. Hosts may share a gateway."""
    return f"{action.rpartition('.')[2]}-{hashlib.sha256(host.encode()).hexdigest()[:12]}"


@contextlib.contextmanager
def listening(connection, path, hear):
    """Meanwhile have hear() called, now and then, with what the file at path says (dict), on the other side of
    connection."""
    over = threading.Event()

    def listen():
        while not over.wait(_EVERY):
            # Before the module has told anything there is no file; and nothing that goes wrong here is the task's.
            with contextlib.suppress(Exception):
                hear(json.loads(connection.exec_command(f"cat {shlex.quote(path)}", sudoable=False)[1]))

    thread = threading.Thread(target=listen, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join(_PATIENCE)
