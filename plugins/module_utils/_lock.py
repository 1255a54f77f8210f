# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""The lock of a host: which run is working there, so that no two work at the same time.

Private to the collection: breaking changes at any time.

It is a file that outlives the module that made it, since a run is many modules. A run that was killed leaves it; it
then says whose it was, and is broken on purpose only.
"""

from __future__ import annotations

import contextlib
import os
from datetime import datetime, timezone

from ansible_collections.llmops.nim.plugins.module_utils import _clock, _files
from ansible_collections.llmops.nim.plugins.module_utils._models import NIM_HOME
from ansible_collections.llmops.nim.plugins.module_utils._problem import Problem

KEYS = ("who", "controller", "run", "why", "at", "pid")


def path(home=NIM_HOME):
    """Where the lock lies beneath home, a path."""
    return os.path.join(home, "lock")


def read(path):
    """The lock at path: dict of KEYS (pid: int or None, the others str or None); None where nobody holds it."""
    if not os.path.lexists(path):
        return None
    found = _files.read_json(path) or {}
    return {key: found.get(key) for key in KEYS}


def check(held, run):
    """Raise a Problem when held (dict of read(), or None) is the lock of another run than run (str)."""
    if held is None or (run and held["run"] == run):
        return
    raise Problem("Another run is working on this host.", *_told(held), "locked")


def take(path, wanted, break_lock=False, dry=False):
    """Have the lock at path for wanted (dict of KEYS): (whether that changed it, the lock (dict) that was broken).

    dry: only tell. Raises a Problem when another run holds it, unless break_lock.
    """
    return _change(path, wanted["run"], break_lock, dry, wanted)


def release(path, run, break_lock=False, dry=False):
    """Give up the lock of run (str) at path; returns and raises as take() does."""
    return _change(path, run, break_lock, dry, None)


def _change(path, run, break_lock, dry, wanted):
    with contextlib.nullcontext() if dry else _files.guarded(os.path.dirname(path)):
        held = read(path)
        if not break_lock:
            check(held, run)
        broken = held if held and held["run"] != run else None
        changed = (held is None or broken is not None) if wanted else held is not None
        if changed and not dry:
            if wanted:
                _files.write_json(path, wanted)
            else:
                os.remove(path)
        return changed, broken


def describe(held):
    """Who holds the lock (dict of read()), since when and why, in one line."""
    since = _clock.age(_clock.seconds_since(held["at"], datetime.now(timezone.utc)))
    process = f", process {held['pid']} there" if held["pid"] else ""
    return (
        f"locked by {held['who'] or 'somebody'} from {held['controller'] or 'an unknown control node'} "
        f"(run {held['run'] or 'unknown'}{process}) since {held['at'] or 'an unknown time'} ({since}): "
        f"{held['why'] or 'no reason given'}"
    )


def _told(held):
    where = held["controller"] or "its control node"
    dead = f"the process {held['pid']} on {where}" if held["pid"] else f"ansible-playbook on {where}"
    remedy = f"Wait for that run to end. If it is dead (look for {dead}), take the lock over: -e nim_break_lock=true."
    return describe(held), remedy
