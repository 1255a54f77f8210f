# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""A snapshot: the files of a repository at a commit, on one host, read-only and proven.

Private to the collection: breaking changes at any time.

<weights_dir>/objects/<aa>/<bb>/<sha256>       LFS objects of all repositories
<weights_dir>/<org>--<repo>/<commit>/          the snapshot: hard links to objects, and the small files
<weights_dir>/<org>--<repo>/<commit>.manifest.json
<weights_dir>/<org>--<repo>/git/               the clone, bare; downloads that are not complete lie in git/lfs
<weights_dir>/<org>--<repo>/lock               held by the run that works here, and by the git it started
"""

from __future__ import annotations

import collections
import contextlib
import errno
import fcntl
import hashlib
import json
import os
import shutil
import time

from ansible_collections.llmops.nim.plugins.module_utils import _clone, _lfs
from ansible_collections.llmops.nim.plugins.module_utils._problem import Problem

Place = collections.namedtuple("Place", "store home path manifest git lock")

_MANIFEST_FORMAT = 1
_LINK_REFUSED = (errno.EXDEV, errno.EMLINK, errno.EPERM, errno.ENOTSUP, errno.ENOSYS)


def place(weights_dir, repo, commit):
    """The paths (Place) of a repository's commit beneath weights_dir."""
    home = os.path.join(weights_dir, repo.replace("/", "--"))
    path, git, lock = (os.path.join(home, name) for name in (commit, "git", "lock"))
    return Place(weights_dir, home, path, path + ".manifest.json", git, lock)


def digest(files):
    """The sha256 (hex) that stands for all files (list of dict with path and sha256).

    It is what coreutils make of the snapshot:
    C(find . -type f -printf '%P\\0' | LC_ALL=C sort -z | xargs -0 sha256sum | sha256sum).
    """
    ordered = sorted(files, key=lambda file: file["path"].encode("utf-8"))
    listing = "".join(f"{file['sha256']}  {file['path']}\n" for file in ordered)
    return hashlib.sha256(listing.encode("utf-8")).hexdigest()


def manifest(repo, commit, files):
    """The manifest (dict) of files (list of dict: path, size, sha256, lfs); judge() completes it."""
    return {
        "format": _MANIFEST_FORMAT,
        "repo": repo,
        "commit": commit,
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
    try:
        with open(path, encoding="utf-8") as stream:
            found = json.load(stream)
        whole = found["format"] == _MANIFEST_FORMAT and found["digest"] == digest(found["files"])
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return None
    return found if whole else None


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


@contextlib.contextmanager
def locked(path, patience):
    """Hold the lock file at path, whose directory is made if need be; yields its descriptor.

    Raises a Problem after patience seconds. A child process that is given the descriptor holds the lock as well: it
    stays closed until the last one ends, so what a killed run has left is touched only once nobody works on it.
    """
    end = time.monotonic() + patience
    while True:
        os.makedirs(os.path.dirname(path), mode=0o755, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            if _taken(descriptor, path):
                os.ftruncate(descriptor, 0)
                os.pwrite(descriptor, str(os.getpid()).encode(), 0)
                yield descriptor
                return
            holder = os.pread(descriptor, 100, 0).decode("ascii", "replace")
        finally:
            os.close(descriptor)
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


def publish(spot, entries, document, git_dir):
    """Make the snapshot at spot (Place) from proven objects and the blobs of git_dir; the paths (list) that are copies.

    It appears complete or not at all: the manifest (document) comes first, the directory by one rename after it, and
    only both together count. An altered snapshot that stood there goes away.
    """
    staging = f"{spot.path}.partial-{os.getpid()}"
    copied = _stage(staging, spot.store, {entry.path: entry for entry in entries}, document["files"], git_dir)
    temporary = f"{spot.manifest}.partial-{os.getpid()}"
    with open(temporary, "w", encoding="utf-8") as stream:
        json.dump(document, stream, indent=1, sort_keys=True)
        stream.write("\n")
        stream.flush()
        os.fchmod(stream.fileno(), 0o444)
        os.fsync(stream.fileno())
    os.rename(temporary, spot.manifest)
    if os.path.lexists(spot.path):
        os.rename(spot.path, f"{spot.path}.partial-old")
    os.rename(staging, spot.path)
    _sync(spot.home)
    clean(spot.home)
    return copied


def _stage(staging, store, entries, files, git_dir):
    copied, directories = [], {staging}
    os.mkdir(staging, 0o755)
    with _clone.Blobs(git_dir) as blobs:
        for file in files:
            target = os.path.join(staging, file["path"])
            parent = os.path.dirname(target)
            os.makedirs(parent, mode=0o755, exist_ok=True)
            while parent not in directories:
                directories.add(parent)
                parent = os.path.dirname(parent)
            if file["lfs"]:
                if not _link(_lfs.object_path(store, file["sha256"]), target):
                    copied.append(file["path"])
                continue
            with open(target, "xb") as stream:
                for block in blobs.blocks(entries[file["path"]]):
                    stream.write(block)
            _lfs.seal(target)
    for directory in sorted(directories, key=len, reverse=True):
        _sync(directory)
        os.chmod(directory, 0o555)
    return copied


def clean(home):
    """Remove what unfinished runs have left beneath home (a directory whose lock is held)."""
    for name in os.listdir(home):
        path = os.path.join(home, name)
        if ".partial-" not in name:
            continue
        if os.path.isdir(path) and not os.path.islink(path):
            for directory, _directories, _names in os.walk(path):
                os.chmod(directory, 0o755)
            shutil.rmtree(path)
        else:
            os.remove(path)
    # git's own locks: whoever held them is gone, or would still hold ours.
    for directory, _directories, names in os.walk(os.path.join(home, "git")):
        for name in names:
            if name.endswith(".lock"):
                os.remove(os.path.join(directory, name))


def _link(source, target):
    """Hard-link source at target; where that cannot be, copy and return False."""
    try:
        os.link(source, target)
        return True
    except OSError as error:
        if error.errno not in _LINK_REFUSED:
            raise
    shutil.copyfile(source, target)
    if _lfs.sha256(target) != os.path.basename(source):
        raise Problem(f"The copy of {source} went wrong.", f"at {target}", "Check the disk.", "copy_broken")
    _lfs.seal(target)
    return False


def _sync(directory):
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
