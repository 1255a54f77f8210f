# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""A snapshot: the files of a repository at a commit, on one host, read-only and proven.

Private to the collection: breaking changes at any time.

<weights_dir>/objects/<aa>/<bb>/<sha256>       LFS objects of all repositories
<weights_dir>/<org>--<repo>/<commit>/          the snapshot: hard links to objects, and the small files; its name is
                                               <commit>-<hash> where the selection of files is not the default
<weights_dir>/<org>--<repo>/<commit>.manifest.json
<weights_dir>/<org>--<repo>/git/               the clone, bare; downloads that are not complete lie in git/lfs
<weights_dir>/<org>--<repo>/lock               held by the run that works here, and by the git it started
"""

from __future__ import annotations

import collections
import concurrent.futures
import contextlib
import fcntl
import hashlib
import json
import os
import shutil
import time

from ansible_collections.llmops.nim.plugins.module_utils import _files, _lfs, _links
from ansible_collections.llmops.nim.plugins.module_utils._problem import Problem

Place = collections.namedtuple("Place", "store home path manifest git lock")

_MANIFEST_FORMAT = 1
# Behind a snapshot's path: the manifest of what a fetch is after, from before it begins until it is published. clean()
# knows it by its name.
PLANNED = ".partial-plan"


def place(weights_dir, repo, name):
    """The paths (Place) of a snapshot of a repository beneath weights_dir; name: the commit, and Selection.suffix."""
    home = os.path.join(weights_dir, repo.replace("/", "--"))
    path, git, lock = (os.path.join(home, name) for name in (name, "git", "lock"))
    return Place(weights_dir, home, path, path + ".manifest.json", git, lock)


def digest(files):
    """The sha256 (hex) that stands for all files (list of dict with path and sha256).

    It is what coreutils make of the snapshot:
    C(find . -type f -printf '%P\\0' | LC_ALL=C sort -z | xargs -0 sha256sum | sha256sum).
    """
    ordered = sorted(files, key=lambda file: file["path"].encode("utf-8"))
    listing = "".join(f"{file['sha256']}  {file['path']}\n" for file in ordered)
    return hashlib.sha256(listing.encode("utf-8")).hexdigest()


def manifest(repo, commit, selection, files):
    """The manifest (dict) of files (list of dict: path, size, sha256, lfs), which judge() completes.

    selection: the patterns (dict) that took them.
    """
    return {
        "format": _MANIFEST_FORMAT,
        "repo": repo,
        "commit": commit,
        "selection": selection,
        "digest": digest(files),
        "bytes_total": sum(file["size"] for file in files),
        "files": sorted(files, key=lambda file: file["path"].encode("utf-8")),
    }


def judge(document, facts, warnings):
    """Put into the manifest (document) what was found out about the checkpoint: facts (dict), warnings (Problems)."""
    document["checkpoint"] = facts
    document["checkpoint_warnings"] = [warning.as_dict() for warning in warnings]


def read_manifest(path):
    """The manifest at path (dict), or None where there is none that is whole."""
    found = _files.read_json(path)
    return found if found and is_whole(found) else None


def is_whole(document):
    """Whether a manifest (dict) is of a format that is known, and its digest that of its files."""
    try:
        return document["format"] == _MANIFEST_FORMAT and document["digest"] == digest(document["files"])
    except (AttributeError, KeyError, TypeError, ValueError):
        return False


def look(spot):
    """The manifest (dict) of the snapshot at spot (Place), None where there is none; and what is altered (list)."""
    found = read_manifest(spot.manifest)
    if not found or not os.path.isdir(spot.path):
        return None, []
    return found, altered(spot.path, found["files"])


def altered(path, files):
    """What is not as published in the snapshot at path (sorted list of str), by names, sizes and seals."""
    wanted = {file["path"]: file["size"] for file in files}
    wrong = {name for name, size in wanted.items() if not _lfs.is_sealed(os.path.join(path, name), size)}
    for directory, directories, names in os.walk(path):
        # os.walk lists a symbolic link to a directory among the directories
        links = [name for name in directories if os.path.islink(os.path.join(directory, name))]
        there = {os.path.relpath(os.path.join(directory, name), path) for name in names + links}
        wrong |= there - set(wanted)
    return sorted(wrong)


def rotten(path, files):
    """The files (sorted list of str) of the snapshot at path whose content is another: reads all of them."""

    def wrong(file):
        place_of = os.path.join(path, file["path"])
        return os.path.islink(place_of) or not os.path.isfile(place_of) or _lfs.sha256(place_of) != file["sha256"]

    with concurrent.futures.ThreadPoolExecutor(max_workers=min(4, os.cpu_count() or 1)) as pool:
        return sorted(file["path"] for file, bad in zip(files, pool.map(wrong, files)) if bad)


def told(spot, document, fetched, changed):
    """What a module returns (dict) of the snapshot at spot (Place) with that manifest (document).

    fetched: how many bytes of large files had to come for it.
    """
    return {
        "changed": changed,
        "path": spot.path,
        "commit": document["commit"],
        "manifest": spot.manifest,
        "manifest_sha256": document["digest"],
        "files": len(document["files"]),
        "bytes_total": document["bytes_total"],
        "bytes_fetched": fetched,
        "checkpoint": document["checkpoint"],
        "checkpoint_warnings": document.get("checkpoint_warnings", []),
        "diff": {
            "before": {} if changed else {spot.path: document["digest"]},
            "after": {spot.path: document["digest"]},
        },
    }


@contextlib.contextmanager
def locked(path, patience, sign=lambda: None):
    """Hold the lock file at path, whose directory is made if need be; yields its descriptor.

    Raises a Problem after patience seconds in which sign(), by which whoever holds it shows that it works, has not
    changed. A child process that is given the descriptor holds the lock as well: it
    stays closed until the last one ends, so what a killed run has left is touched only once nobody works on it.
    """
    end, last = time.monotonic() + patience, sign()
    while True:
        os.makedirs(os.path.dirname(path), mode=0o750, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o640)
        try:
            if _taken(descriptor, path):
                os.ftruncate(descriptor, 0)
                os.pwrite(descriptor, str(os.getpid()).encode(), 0)
                yield descriptor
                return
            holder = os.pread(descriptor, 100, 0).decode("ascii", "replace")
        finally:
            os.close(descriptor)
        if sign() != last:
            end, last = time.monotonic() + patience, sign()
        if time.monotonic() >= end:
            raise Problem(
                "Another run is working on this repository.",
                f"{path} is held, last by process {holder or 'unknown'}; waited {patience} s",
                "Wait for it to end, then run again; or let this run wait longer (lock_timeout).",
                "locked",
            )
        time.sleep(0.2)


def _taken(descriptor, path):
    """Whether the lock was free and is now ours, and still the file at path: a refused run removes it, see forget()."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return os.path.samestat(os.fstat(descriptor), os.stat(path))
    except (BlockingIOError, FileNotFoundError):
        return False


def is_new(spot):
    """Whether nothing but the lock, which is held, is there of the repository at spot (Place)."""
    return os.listdir(spot.home) == [os.path.basename(spot.lock)]


def forget(spot):
    """Remove all there is of a repository of which nothing was published."""
    shutil.rmtree(spot.home)
    for directory in (os.path.join(spot.store, "objects"), spot.store):
        with contextlib.suppress(OSError):  # in use by others
            os.rmdir(directory)


def publish(spot, document, blocks):
    """Make the snapshot at spot (Place) from proven objects and small files; the paths (list) that are copies.

    blocks: from a file of the manifest (document) that is no LFS object to its content (iterable of bytes). It appears
    complete or not at all: the manifest comes first, the directory by one rename after it, and only both together
    count. An altered snapshot that stood there goes away.
    """
    staging = f"{spot.path}.partial-{os.getpid()}"
    copied = _stage(staging, spot.store, document["files"], blocks)
    temporary = f"{spot.manifest}.partial-{os.getpid()}"
    write_manifest(temporary, document)
    os.rename(temporary, spot.manifest)
    if os.path.lexists(spot.path):
        os.rename(spot.path, f"{spot.path}.partial-old")
    os.rename(staging, spot.path)
    _sync(spot.home)
    clean(spot.home)
    return copied


def write_manifest(path, document):
    """Have the manifest (document) in a new file at path, on the disk."""
    with open(path, "w", encoding="utf-8") as stream:
        json.dump(document, stream, indent=1, sort_keys=True)
        stream.write("\n")
        stream.flush()
        os.fchmod(stream.fileno(), 0o440)
        os.fsync(stream.fileno())


def _stage(staging, store, files, blocks):
    copied, directories = [], {staging}
    os.mkdir(staging, 0o750)
    for file in files:
        target = os.path.join(staging, file["path"])
        parent = os.path.dirname(target)
        os.makedirs(parent, mode=0o750, exist_ok=True)
        while parent not in directories:
            directories.add(parent)
            parent = os.path.dirname(parent)
        if not file["lfs"]:
            _write(target, file, blocks(file))
        elif not _links.place(_lfs.object_path(store, file["sha256"]), target, file["sha256"]):
            copied.append(file["path"])
    for directory in sorted(directories, key=len, reverse=True):
        _sync(directory)
        os.chmod(directory, 0o550)
    return copied


def _write(target, file, blocks):
    """Write a small file, sealed, if its blocks (iterable of bytes) are what the manifest says of it."""
    digest = hashlib.sha256()
    with open(target, "xb") as stream:
        for block in blocks:
            digest.update(block)
            stream.write(block)
    if digest.hexdigest() != file["sha256"]:
        raise Problem(
            f"{file['path']} is not what the manifest says of it.",
            f"its sha256 is {digest.hexdigest()}, not {file['sha256']}",
            "Run again: nothing was published.",
            "file_altered",
        )
    _lfs.seal(target)


def clean(home):
    """Remove what unfinished runs have left beneath home (a directory whose lock is held)."""
    for name in os.listdir(home):
        path = os.path.join(home, name)
        if ".partial-" not in name and not name.endswith(".tmp"):
            continue
        if os.path.isdir(path) and not os.path.islink(path):
            for directory, _directories, _names in os.walk(path):
                os.chmod(directory, 0o750)
            shutil.rmtree(path)
        else:
            os.remove(path)
    # git's own locks: whoever held them is gone, or would still hold ours.
    for directory, _directories, names in os.walk(os.path.join(home, "git")):
        for name in names:
            if name.endswith(".lock"):
                os.remove(os.path.join(directory, name))


def _sync(directory):
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
