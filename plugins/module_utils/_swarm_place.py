# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""Where a host's part in the carrying of a snapshot lies, what became of it, and how it is ended.

Private to the collection: breaking changes at any time.

<weights_dir>/fleet/<org>--<repo>@<commit>/parcel/        what has come so far, see _parcel
<weights_dir>/fleet/<org>--<repo>@<commit>/status.json    what the part does, every second
<weights_dir>/fleet/<org>--<repo>@<commit>/plan.json      the manifest of what is to come
<weights_dir>/fleet/<org>--<repo>@<commit>/lock           held by the process that plays the part
"""

from __future__ import annotations

import collections
import contextlib
import os
import shutil
import signal

from ansible_collections.llmops.nim.plugins.module_utils import _files, _lfs, _parcel, _snapshot

Place = collections.namedtuple("Place", "directory parcel status plan lock")

_PATIENCE = 30  # seconds for a process to end


def place(weights_dir, repo, commit):
    """The paths (Place) beneath weights_dir."""
    return _place(os.path.join(weights_dir, "fleet", f"{repo.replace('/', '--')}@{commit}"))


def _place(directory):
    return Place(directory, *(os.path.join(directory, name) for name in ("parcel", "status.json", "plan.json", "lock")))


def make(spot):
    """Have the directories of spot (Place), for root alone."""
    os.makedirs(os.path.join(spot.parcel, _parcel.FILES), mode=0o700, exist_ok=True)


def tell(spot, **words):
    """Leave in the status file what the part does."""
    _files.write_json(spot.status, words)


def hear(spot):
    """What the status file says (dict), and whether the process that writes it lives."""
    lives = _files.is_held(spot.lock)  # before the file is read: a process may tell its last and end
    return _files.read_json(spot.status) or {}, lives


def hand_over(lock, process):
    """Note in the lock (descriptor), which the process (its id) has from this one, that it is that one's now."""
    os.ftruncate(lock, 0)
    os.pwrite(lock, str(process).encode(), 0)


def living(spot):
    """The parts that this host plays at spot and beside it: what each tells (dict), by its Place (dict)."""
    fleet = os.path.dirname(spot.directory)
    spots = [_place(os.path.join(fleet, name)) for name in (os.listdir(fleet) if os.path.isdir(fleet) else [])]
    heard = {one: hear(one) for one in spots}
    return {one: words for one, (words, lives) in heard.items() if lives}


def oust(spot, problem):
    """End the part at spot, and leave word of the Problem by which it ends for its run."""
    run = hear(spot)[0].get("run")
    end(spot)
    tell(spot, run=run, phase="failed", problems=[problem.as_dict()])


def end(spot):
    """End the process that plays the part at spot, if there is one; whether there was."""
    if not _files.is_held(spot.lock):
        return False
    with open(spot.lock, encoding="ascii") as lock, contextlib.suppress(ProcessLookupError):
        os.kill(int(lock.read()), signal.SIGTERM)
    with _snapshot.locked(spot.lock, _PATIENCE):
        return True


def unsay(spot):
    """Remove the word of a part that was ended at spot, which has been heard: it says nothing about a later one."""
    with contextlib.suppress(FileNotFoundError):
        os.remove(spot.status)


def forget(spot):
    """Remove all that lies at spot; whether there was something."""
    if not os.path.isdir(spot.directory):
        return False
    shutil.rmtree(spot.directory)
    with contextlib.suppress(OSError):  # another snapshot is under way
        os.rmdir(os.path.dirname(spot.directory))
    return True


def bytes_there(spot, snapshot):
    """How many bytes of a snapshot (Place of _snapshot) are on this host, proven or on their way.

    Counted is what some earlier run has learned the names of.
    """
    document = _files.read_json(snapshot.path + _snapshot.PLANNED) or _files.read_json(spot.plan)
    if not document or _parcel.fault(document):
        return 0
    incomplete = os.path.join(snapshot.git, "lfs", "incomplete")
    pointers = {_lfs.Pointer(sha256, size) for sha256, size in _parcel.contents(document).items()}
    there = {one for one in pointers if os.path.exists(_lfs.object_path(snapshot.store, one.oid))}
    parts = _lfs.incomplete(incomplete, pointers - there)
    return sum(one.size for one in there) + sum(parts.values())
