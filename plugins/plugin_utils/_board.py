# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""Where a task that waits tells the callback of the same run how far its host is.

Private to the collection: breaking changes at any time.

A task runs in a process that Ansible has forked, and Ansible hears of it only at its end. So there is a directory
that both know from the environment, with a small file a host in it.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import tempfile

from ansible_collections.llmops.nim.plugins.module_utils import _files

_VARIABLE = "LLMOPS_NIM_PROGRESS"


def put_up():
    """Have a board for this process and those that it will fork; returns its directory."""
    os.environ[_VARIABLE] = tempfile.mkdtemp(prefix="nim-progress-")
    return os.environ[_VARIABLE]


def take_down(directory):
    """Remove the board."""
    shutil.rmtree(directory, ignore_errors=True)


def is_up():
    """Whether anybody wants to know."""
    return _VARIABLE in os.environ


def tell(host, action, told):
    """Tell how far host (str) is with the action (str) of its task: list of dict, as Far.of_told takes it."""
    if is_up():
        with contextlib.suppress(OSError):  # it is only told
            _files.write_json(_path(os.environ[_VARIABLE], host), {"action": action, "told": told})


def hear(directory, host):
    """What was told of host last: (action, list of dict); (None, []) where nothing was."""
    words = _files.read_json(_path(directory, host)) or {}
    return words.get("action"), words.get("told", [])


def _path(directory, host):
    # A name may be anything that an inventory takes.
    return os.path.join(directory, hashlib.sha256(host.encode()).hexdigest() + ".json")
