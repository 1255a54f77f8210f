# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""LFS objects: pointers, the store that holds each object under its sha256, fetching into it, and proof.

Private to the collection: breaking changes at any time.

A proven object carries its proof as a seal: no write permission, and SEAL_TIME as its modification time. Only who has
read the whole file seals it, once it is flushed to the disk; whoever writes to the file breaks the seal. So a sealed
object is never read twice, and one of unknown origin is never trusted.
"""

from __future__ import annotations

import collections
import concurrent.futures
import contextlib
import hashlib
import os
import re
import stat

# A blob of this size or more is no pointer, to git-lfs as to us.
POINTER_LIMIT = 1024
# 2000-01-01 UTC: a round time that no download has, and late enough for tools that take none before 1980.
SEAL_TIME = 946684800

_POINTER = re.compile(
    rb"version https://(?:git-lfs\.github\.com|hawser\.github\.com)/spec/v1\n"
    rb"(?:ext-[^\n]+\n)*oid sha256:(?P<oid>[0-9a-f]{64})\nsize (?P<size>0|[1-9]\d{0,17})\n\Z"
)
_READ = 4 * 1024 * 1024

Pointer = collections.namedtuple("Pointer", "oid size")


def parse_pointer(blob):
    """The Pointer that blob (bytes) is the text of, or None."""
    match = _POINTER.match(blob) if len(blob) < POINTER_LIMIT else None
    return Pointer(match["oid"].decode(), int(match["size"])) if match else None


def object_path(store, oid):
    """Where the object lies beneath store (a directory), as git-lfs lays it out."""
    return os.path.join(store, "objects", oid[:2], oid[2:4], oid)


def is_sealed(path, size):
    """Whether the file at path is a proven one of that size (bytes)."""
    try:
        status = os.lstat(path)
    except FileNotFoundError:
        return False
    return (
        stat.S_ISREG(status.st_mode)
        and status.st_size == size
        and not status.st_mode & 0o222
        and status.st_mtime_ns == SEAL_TIME * 10**9
    )


def seal(path):
    """Mark the file at path as proven, once its content is on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
        os.fchmod(descriptor, 0o440)
    finally:
        os.close(descriptor)
    os.utime(path, (SEAL_TIME, SEAL_TIME))


def sha256(path):
    """The sha256 of the file at path, in hex."""
    digest = hashlib.sha256()
    with open(path, "rb", buffering=0) as stream:
        for block in iter(lambda: stream.read(_READ), b""):
            digest.update(block)
    return digest.hexdigest()


def prove(store, pointers):
    """Hash and seal those objects of store that are there and not sealed; the oids (set) that are not what they say.

    Wrong ones are removed from the store. Files are hashed several at a time, hashlib lets go of the interpreter.
    """

    def wrong(pointer):
        path = object_path(store, pointer.oid)
        if is_sealed(path, pointer.size) or not os.path.lexists(path):
            return None
        status = os.lstat(path)
        if stat.S_ISREG(status.st_mode) and status.st_size == pointer.size and sha256(path) == pointer.oid:
            seal(path)
            return None
        os.remove(path)
        return pointer.oid

    with concurrent.futures.ThreadPoolExecutor(max_workers=min(4, os.cpu_count() or 1)) as pool:
        return {oid for oid in pool.map(wrong, set(pointers)) if oid}


def missing(store, pointers):
    """Those of pointers (a set of Pointer) whose object is not in store."""
    return {pointer for pointer in pointers if not os.path.exists(object_path(store, pointer.oid))}


def incomplete(directory, pointers):
    """The bytes that git-lfs has in directory of objects not complete yet: oid -> size of the largest part."""
    return {oid: size for oid, (size, _name) in _largest_parts(directory, pointers).items()}


def adopt(directory, pointers):
    """Let git-lfs go on where a killed run stopped; nobody else may be downloading into directory.

    git-lfs downloads into a file <oid><random> and renames it to <oid>.part, the only one that it resumes, when it
    ends in good order. Older releases (2.x) write to <oid>.tmp and resume that: it keeps its name.
    """
    best = _largest_parts(directory, pointers)
    discard(directory, {pointer.oid for pointer in pointers}, keep={name for _size, name in best.values()})
    for oid, (_size, name) in best.items():
        if not name.endswith(".tmp"):
            os.rename(os.path.join(directory, name), os.path.join(directory, oid + ".part"))


def discard(directory, oids, keep=()):
    """Forget what git-lfs has in directory of the objects named oids, but for the file names in keep."""
    for name in _names(directory):
        if name[:64] in oids and name not in keep:
            os.remove(os.path.join(directory, name))


def _largest_parts(directory, pointers):
    sizes, best = {pointer.oid: pointer.size for pointer in pointers}, {}
    for name in _names(directory):
        with contextlib.suppress(FileNotFoundError):  # git-lfs may be at work
            size = os.path.getsize(os.path.join(directory, name))
            if size < sizes.get(name[:64], 0):
                best[name[:64]] = max((size, name), best.get(name[:64], (0, "")))
    return best


def _names(directory):
    return os.listdir(directory) if os.path.isdir(directory) else []
