# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""Transfers that processes of their own make, each known to others by its name.

Private to the collection: breaking changes at any time.

<directory>/<name>.json   what it is, since when, and how it ended
<directory>/<name>.lock   held by the process for as long as it lives
<directory>/<name>.progress.json  how far it is, where it has no other place to tell it (see _progress)

No secret is in either. The process alone knows by which token or key it fetches.
"""

from __future__ import annotations

import fcntl
import os
import traceback

from ansible_collections.llmops.nim.plugins.module_utils import _clock, _detached, _files
from ansible_collections.llmops.nim.plugins.module_utils._problem import Problem
from ansible_collections.llmops.nim.plugins.module_utils._secrets import masked

# In memory on every Linux: a transfer ends with the machine, and so does what is told of it.
DIRECTORY = "/run/nim-transfers"
ARGUMENT_SPEC = {"transfers_dir": {"type": "path", "default": DIRECTORY}}
# Of modules that can begin one.
BEGINS = {"wait": {"type": "bool", "default": True}, **ARGUMENT_SPEC}
# What is told of the bytes, where it is known.
KEYS = ("phase", "bytes", "total", "rate", "seconds_left")


def begin(directory, name, what, work, progress=None, subject=None):
    """Have work() done by a process of its own; whether that was begun, which it is not while one of that name lives.

    name: a file name (str). what: for people (str). work: from nothing to the problems (list of dict) and the warnings
    (list of str). progress: the path of the file of _progress by which it tells how far it is, if it does so, with
    subject (dict) in it.
    """
    os.makedirs(directory, mode=0o700, exist_ok=True)
    lock = os.open(_path(directory, name, "lock"), os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        words = {"what": what, "begun": _clock.now(), "progress": progress, "subject": subject or {}}
        _files.write_json(_path(directory, name, "json"), words)
        _detached.begin(lambda: _work(_path(directory, name, "json"), words, work))  # who has the lock from here
        return True
    except BlockingIOError:
        return False
    finally:
        os.close(lock)


def progress_path(directory, name):
    """Where a transfer tells how far it is that has no other place for it."""
    return _path(directory, name, "progress.json")


def hear(directory, name):
    """What is known of a transfer (dict).

    name, what: str. over: bool. begun, ended: times in UTC, or None. problems: list of dict. warnings: list of str.
    KEYS: as in the file of _progress, or None.

    One that nothing is known of is over: the machine was started anew since, or it never was.
    """
    lives = _files.is_held(_path(directory, name, "lock"))  # before the file is read: it may tell its last and end
    words = _files.read_json(_path(directory, name, "json")) or {}
    found = {key: words.get(key) for key in ("what", "begun", "ended")}
    found.update(name=name, what=found["what"] or name, over=not lives, warnings=words.get("warnings", []))
    found["problems"] = words.get("problems", [])
    if words and not lives and not words.get("ended"):
        found["problems"] = [_killed(found["what"]).as_dict()]
    return {**found, **_how_far(words)}


def _how_far(words):
    """KEYS of the transfer with such words (dict); of a file that an earlier one has left nothing is taken."""
    told = (_files.read_json(words["progress"]) if words.get("progress") else None) or {}
    ours = words.get("subject", {}).items() <= told.items()
    fresh = str(told.get("updated")) >= str(words.get("begun"))
    return {key: told.get(key) if ours and fresh else None for key in KEYS}


def _work(path, words, work):
    """In the process that works: do it, and leave word at path."""
    try:
        problems, warnings = work()
    except BaseException:  # whatever it is, who waits is to be told
        trace = masked(traceback.format_exc()[-2000:])
        problems, warnings = [Problem("The transfer broke down.", trace, "Run again.", "transfer_broken").as_dict()], []
    _files.write_json(path, {**words, "ended": _clock.now(), "problems": problems, "warnings": warnings})


def _killed(what):
    return Problem(
        "The process of a transfer was killed.", what, "Run again: what it has done so far is kept.", "killed"
    )


def _path(directory, name, kind):
    return os.path.join(directory, f"{name}.{kind}")
