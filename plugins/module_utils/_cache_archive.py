# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""The cache that NIM filled, packed and unpacked: files, directories and the links between them.

NIM fills it where it has a key and reaches NGC, and starts from it without a key where it reaches nothing (documented).
Beside small files of the model it holds engines: one is wanted, the others stay behind.

Private to the collection: breaking changes at any time.
"""

from __future__ import annotations

import os
import posixpath
import shutil
import stat
import tarfile

from ansible_collections.llmops.nim.plugins.module_utils import _engine_archive, _engines
from ansible_collections.llmops.nim.plugins.module_utils._contract import CACHE_MOUNT
from ansible_collections.llmops.nim.plugins.module_utils._problem import Problem

_ENGINES = "local_cache"
_DIRECTORY, _FILE = 0o770, 0o660
_BLOCK = 1024**2


def link_fault(path, target):
    """What is wrong with a link at path (in the cache) to target, as the container sees both; or an empty str."""
    place = posixpath.normpath(posixpath.join(CACHE_MOUNT, posixpath.dirname(path), target))
    return "" if place.startswith(CACHE_MOUNT + "/") else f"{path} is a link that leads out of the cache, to {target}"


def path_fault(path):
    """What is wrong with a path that is to lie in the cache, or an empty str."""
    whole = path and not path.startswith("/") and posixpath.normpath(path) == path and path.split("/")[0] != ".."
    return "" if whole else f"{ascii(path)[:200]} is no path in a cache"


# --- packing ---


def walk(cache, engine):
    """What is to be packed (dict of path relative to the cache -> os.stat_result), parents first.

    engine: the name of the engine that is wanted (str, or None). What is no file, directory or link stays behind.
    """
    found = {}
    for directory, directories, names in os.walk(cache):
        here = os.path.relpath(directory, cache)
        if here == _ENGINES:
            directories[:] = [name for name in directories if name == engine]
        for name in directories + names:
            path = os.path.normpath(os.path.join(here, name))
            status = os.lstat(os.path.join(cache, path))
            if any(kind(status.st_mode) for kind in (stat.S_ISREG, stat.S_ISDIR, stat.S_ISLNK)):
                found[path] = status
    return dict(sorted(found.items()))


def pack(cache, engine, target):
    """Write the cache to target (an open file): the Archive, and the paths (list) in it that are no directories.

    Raises a Problem where a link leads out of it, or NIM writes to it meanwhile.
    """
    with _engines.as_owner(cache):
        found = walk(cache, engine)
        sink = _engine_archive.Sink(target)
        with tarfile.TarFile(fileobj=sink, mode="w", format=tarfile.PAX_FORMAT, copybufsize=_BLOCK) as archive:
            for path, status in found.items():
                _add(archive, cache, path, status)
        if _state(walk(cache, engine)) != _state(found):
            raise Problem(
                "The cache was changed while it was packed.",
                f"sizes or times differ in {cache}",
                "Run again when the model is ready and has nothing left to build.",
                "cache_changing",
            )
    return sink.archive(), [path for path, status in found.items() if not stat.S_ISDIR(status.st_mode)]


def _state(found):
    return {path: (one.st_size, one.st_mtime_ns) for path, one in found.items() if stat.S_ISREG(one.st_mode)}


def _add(archive, cache, path, status):
    member = tarfile.TarInfo(path)
    if stat.S_ISDIR(status.st_mode):
        member.type, member.mode = tarfile.DIRTYPE, _DIRECTORY
        archive.addfile(member)
    elif stat.S_ISLNK(status.st_mode):
        member.type, member.linkname = tarfile.SYMTYPE, os.readlink(os.path.join(cache, path))
        fault = link_fault(path, member.linkname)
        if fault:
            raise Problem("The cache cannot be carried.", f"{cache}: {fault}", "Remove the link.", "cache_refused")
        archive.addfile(member)
    else:
        member.mode = _FILE
        with open(os.open(os.path.join(cache, path), os.O_RDONLY | os.O_NOFOLLOW), "rb") as stream:
            member.size = os.fstat(stream.fileno()).st_size
            archive.addfile(member, stream)


# --- unpacking ---


def missing(cache, paths):
    """Those of paths (list of str) that the cache lacks."""
    return [path for path in paths if not os.path.lexists(os.path.join(cache, path))]


def members(path):
    """The members (list of TarInfo) of the archive at path, fit to be unpacked into a cache; raises Problem."""
    try:
        with tarfile.open(path, "r:") as archive:
            found = archive.getmembers()
        faults = [_member_fault(member) for member in found]
        links = {member.name for member in found if member.issym()}
        faults += [
            f"{one.name} lies beneath a link" for one in found if any(map(links.__contains__, _parents(one.name)))
        ]
        evidence = next(filter(None, faults), "")
    except tarfile.TarError as error:
        evidence = str(error)
    if evidence:
        raise Problem(
            "The archive is not one of a cache.",
            f"{path}: {evidence}",
            "Make the bundle anew.",
            "cache_archive_refused",
        )
    return found


def _member_fault(member):
    if not (member.isreg() or member.isdir() or member.issym()):
        return f"{ascii(member.name)[:200]} is neither file, directory nor link"
    return path_fault(member.name) or (link_fault(member.name, member.linkname) if member.issym() else "")


def _parents(path):
    while "/" in path:
        path = path.rpartition("/")[0]
        yield path


def unpack(cache, path):
    """Have all of the archive at path in the cache; what the cache has already stays as it is.

    Each directory that was not there appears as a whole, so nobody finds half an engine.
    """
    found = members(path)
    partial = os.path.join(cache, ".partial-bundle")
    with open(path, "rb") as stream, _engines.as_owner(cache):
        shutil.rmtree(partial, ignore_errors=True)  # left by a run that was killed
        os.mkdir(partial, 0o700)
        try:
            with tarfile.TarFile(fileobj=stream) as archive:
                for member in found:
                    _extract(archive, member, os.path.join(partial, member.name))
            _merge(partial, cache)
        finally:
            shutil.rmtree(partial, ignore_errors=True)


def _extract(archive, member, path):
    parent = path if member.isdir() else os.path.dirname(path)
    os.makedirs(parent, _DIRECTORY, exist_ok=True)
    if member.issym():
        os.symlink(member.linkname, path)
    elif member.isreg():
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _FILE), "wb") as target:
            shutil.copyfileobj(archive.extractfile(member), target, _BLOCK)
            target.flush()
            os.fsync(target.fileno())


def _merge(source, target):
    for name in sorted(os.listdir(source)):
        ours, theirs = os.path.join(source, name), os.path.join(target, name)
        if not os.path.lexists(theirs):
            os.rename(ours, theirs)
        elif not os.path.islink(ours) and os.path.isdir(ours) and not os.path.islink(theirs) and os.path.isdir(theirs):
            _merge(ours, theirs)
