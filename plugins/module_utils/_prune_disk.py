# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""Snapshots, objects and engines on the disk: what there is, how many bytes it frees, and removing it.

Private to the collection: breaking changes at any time.

Whatever goes is first renamed to what no release would take for whole, so that a run that is killed leaves nothing half
there under a good name; the next one removes what it left.
"""

from __future__ import annotations

import collections
import contextlib
import os
import re
import shutil
import time

from ansible_collections.llmops.nim.plugins.module_utils import _files, _lfs, _snapshot
from ansible_collections.llmops.nim.plugins.module_utils._problem import Problem

# document: the manifest (dict) or None. age: seconds since it was published.
Snapshot = collections.namedtuple("Snapshot", "name path document age")
# What a run that was cut off has left of what it was bringing here. held: whether a process works on it.
Leftover = collections.namedtuple("Leftover", "name path age held")
Engine = collections.namedtuple("Engine", "model name path age")

_COMMIT = re.compile(r"([0-9a-f]{40}(?:-[0-9a-f]{8})?)(\.manifest\.json)?")
_MANIFEST = ".manifest.json"
# lfs_snapshot removes what bears this, too.
_GOING = ".partial-pruned"
_ENGINE_GOING = ".pruned-"


def snapshots(weights_dir):
    """What there is of snapshots (list of Snapshot), whole or not; one that is half removed is its manifest alone."""
    found = []
    for home in _directories(weights_dir):
        commits = {match[1] for match in map(_COMMIT.fullmatch, os.listdir(home)) if match}
        for path in (os.path.join(home, commit) for commit in sorted(commits)):
            document = _snapshot.read_manifest(path + _MANIFEST)
            repo = document["repo"] if document else os.path.basename(home).replace("--", "/", 1)
            newest = next(one for one in (path + _MANIFEST, path) if os.path.lexists(one))
            found.append(Snapshot(f"{repo}@{os.path.basename(path)}", path, document, _age(newest)))
    return found


def _directories(parent):
    """The directories in parent (sorted paths), without symbolic links."""
    if not os.path.isdir(parent):
        return []
    return sorted(entry.path for entry in os.scandir(parent) if entry.is_dir(follow_symlinks=False))


def _age(path):
    return int(time.time() - os.lstat(path).st_ctime)


def engines(model, cache):
    """The engines (list of Engine) that a model's cache (path) holds."""
    place = os.path.join(cache, "local_cache")
    # The container owns the cache: a link in this place would lead root elsewhere.
    if os.path.realpath(place) != os.path.join(os.path.realpath(cache), "local_cache"):
        return []
    return [Engine(model, os.path.basename(path), path, _age(path)) for path in _directories(place)]


def is_half_removed(engine):
    """Whether a run that was killed has left this (Engine)."""
    return engine.name.startswith(_ENGINE_GOING)


def objects(snapshot):
    """The oids (set) of a snapshot's large files."""
    return {file["sha256"] for file in snapshot.document["files"] if file["lfs"]} if snapshot.document else set()


def orphans(go, stay):
    """The oids (list of set) that go with each snapshot of go (list): those that none of stay (list) names.

    What two that go share goes with the last of them: a run that is killed between them leaves it to a manifest.
    Where the manifest of one that stays cannot be read, none goes.
    """
    if any(one.document is None for one in stay):
        return [set() for _one in go]
    taken, found = set().union(*map(objects, stay)), []
    for one in reversed(go):
        found.append(objects(one) - taken)
        taken |= found[-1]
    return found[::-1]


class Freed:
    """Counts the bytes of files that go, each once: a file with several names goes with the last of them."""

    def __init__(self):
        self._left = {}

    def bytes(self, paths):
        """The bytes (int) that are free once the trees at paths (iterable), and what was asked before, are gone."""
        total = 0
        for path in paths:
            for file in _files_of(path):
                status = os.lstat(file)
                inode = (status.st_dev, status.st_ino)
                # As many names as it had at first: those that were counted may be gone by now.
                self._left[inode] = self._left.get(inode, status.st_nlink) - 1
                if self._left[inode] == 0:
                    total += status.st_size
        return total


def _files_of(path):
    if os.path.isdir(path) and not os.path.islink(path):
        for directory, _subdirectories, names in os.walk(path):
            yield from (os.path.join(directory, name) for name in names)
    elif os.path.lexists(path):
        yield path


def paths(weights_dir, snapshot, oids):
    """All paths (list) that go with a snapshot and these oids."""
    large = [_lfs.object_path(weights_dir, oid) for oid in sorted(oids)]
    return [snapshot.path, snapshot.path + _GOING, *large, snapshot.path + _MANIFEST]


def remove_snapshot(weights_dir, snapshot, oids):
    """Remove a snapshot and these objects; the lock of its repository is held.

    The manifest goes last: as long as it is there, what is left of the others is found again.
    """
    directory, going, *large, manifest = paths(weights_dir, snapshot, oids)
    if os.path.lexists(directory):
        _remove_sealed(going)
        os.rename(directory, going)
    _remove_sealed(going)
    for path in [*large, manifest]:
        with contextlib.suppress(FileNotFoundError):
            os.remove(path)


def _remove_sealed(path):
    if os.path.lexists(path):
        for directory, _names, _files in os.walk(path):
            os.chmod(directory, 0o750)
        shutil.rmtree(path)


def remove_engine(engine):
    """Remove an engine (Engine)."""
    going = engine.path
    if not is_half_removed(engine):
        going = os.path.join(os.path.dirname(engine.path), _ENGINE_GOING + engine.name)
        if os.path.lexists(going):
            shutil.rmtree(going)
        os.rename(engine.path, going)
    shutil.rmtree(going)


def leftovers(weights_dir):
    """What runs have left (list of Leftover) that were carrying weights from host to host, or a bundle to this one."""
    found = _directories(os.path.join(weights_dir, "fleet"))
    found += [path for path in _directories(weights_dir) if os.path.basename(path) == "bundle"]

    def held(path):
        lock = os.path.join(path, "lock")
        return _files.is_held(lock)

    return [Leftover(os.path.relpath(path, weights_dir), path, _age(path), held(path)) for path in found]


def remove_leftover(leftover):
    """Remove a Leftover, and the directory of all that were carried with the last of them."""
    shutil.rmtree(leftover.path)
    if leftover.name.startswith("fleet"):
        with contextlib.suppress(OSError):
            os.rmdir(os.path.dirname(leftover.path))


@contextlib.contextmanager
def still(weights_dir, dry):
    """Hold all repositories in weights_dir, so that nobody fetches meanwhile; yields None, or why that cannot be.

    Whoever fetches counts on objects that no snapshot names yet. dry: look, and hold nothing.
    """
    with contextlib.ExitStack() as stack:
        reason = None
        for home in _directories(weights_dir):
            lock = os.path.join(home, "lock")
            if os.path.basename(home) == "objects" or not os.path.exists(lock):
                continue
            if dry:
                busy = _files.is_held(lock)
            else:
                try:
                    stack.enter_context(_snapshot.locked(lock, 0))
                    busy = False
                except Problem:
                    busy = True
            if busy:
                reason = f"another run is fetching weights ({os.path.basename(home)})"
                break
        yield reason
