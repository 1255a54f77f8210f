# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""Engines packed and unpacked: a tar of names and contents alone, so that packing again makes the same archive.

Private to the collection: breaking changes at any time.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
import tarfile
from typing import NamedTuple

from ansible_collections.llmops.nim.plugins.module_utils import _engines
from ansible_collections.llmops.nim.plugins.module_utils._problem import Problem

_DIRECTORY, _FILE = 0o770, 0o660
_BLOCK = 1024**2


class Archive(NamedTuple):
    """What identifies a packed engine. bytes: of the whole tar."""

    sha256: str
    bytes: int


def digest(stream):
    """The Archive that an open file is, read to its end."""
    found, size = hashlib.sha256(), 0
    for block in iter(lambda: stream.read(_BLOCK), b""):
        found.update(block)
        size += len(block)
    return Archive(found.hexdigest(), size)


# --- packing ---


class Sink:
    """What a tar is written to: counts, hashes and hands on to target (a binary stream, or None)."""

    def __init__(self, target):
        self.target, self.hash, self.size = target, hashlib.sha256(), 0

    def write(self, data):
        if self.target:
            self.target.write(data)
        self.hash.update(data)
        self.size += len(data)

    def tell(self):
        return self.size

    def archive(self):
        """What was written (Archive)."""
        return Archive(self.hash.hexdigest(), self.size)


def pack(cache, name, target=None, reserve=0):
    """Write the engine called name to target (an open file); its Archive. With no target nothing is written.

    Raises a Problem when there is no such engine, it holds more than files and directories, it is being changed, or
    the disk is too small to leave reserve bytes free.
    """
    engine = _engines.find(cache, name)
    with _engines.as_owner(cache):
        found = _walk(engine, name)
        if target:
            size = sum(file.st_size for file in found.values() if stat.S_ISREG(file.st_mode))
            _engines.need_space(os.fstatvfs(target.fileno()), target.name, size, reserve, name)
        sink = Sink(target)
        with tarfile.TarFile(fileobj=sink, mode="w", format=tarfile.PAX_FORMAT, copybufsize=_BLOCK) as archive:
            for path, file in found.items():
                _add(archive, path, os.path.join(name, os.path.relpath(path, engine)), file)
        if _state(_walk(engine, name)) != _state(found):
            raise Problem(
                f"Engine {name} was changed while it was packed.",
                f"sizes or times differ in {engine}",
                "Run again when the server has finished building it.",
                "engine_changing",
            )
    return sink.archive()


def _walk(engine, name):
    """What is in the engine: path -> os.stat_result, parents first."""

    def stop(error):
        raise error

    found = {engine: os.lstat(engine)}
    for directory, directories, names in os.walk(engine, onerror=stop):
        for one in names + directories:
            path = os.path.join(directory, one)
            found[path] = os.lstat(path)
    for path, file in found.items():
        if not stat.S_ISREG(file.st_mode) and not stat.S_ISDIR(file.st_mode):
            raise Problem(
                f"Engine {name} holds what is not carried.",
                f"{path} is neither a file nor a directory ({stat.filemode(file.st_mode)})",
                "Let each server build the engine itself.",
                "engine_refused",
            )
    return dict(sorted(found.items()))


def _state(found):
    return {path: (file.st_size, file.st_mtime_ns) for path, file in found.items()}


def _add(archive, path, name, file):
    member = tarfile.TarInfo(os.path.normpath(name))
    if stat.S_ISDIR(file.st_mode):
        member.type, member.mode = tarfile.DIRTYPE, _DIRECTORY
        archive.addfile(member)
        return
    member.size, member.mode = file.st_size, _FILE
    with open(os.open(path, os.O_RDONLY | os.O_NOFOLLOW), "rb") as stream:
        archive.addfile(member, stream)


# --- unpacking ---


def check(cache, name, stream, sha256, reserve=0):
    """The members (list of TarInfo) of a packed engine (an open file), proven and fit to be unpacked.

    Raises a Problem when it isn't what sha256 says, would unpack anything but files below name, something is in the
    engine's place, or the disk is too small to leave reserve bytes free.
    """
    engine = _engines.place(cache, name)
    if os.path.lexists(engine):
        raise _taken(engine, name)
    found = digest(stream)
    if found.sha256 != sha256.strip().lower():
        raise Problem(
            f"The archive of engine {name} was cut or altered.",
            f"{stream.name} has {found.bytes} bytes and sha256 {found.sha256}, wanted is {sha256.strip()}",
            "Pack and copy it again, or let the server build the engine itself.",
            "archive_altered",
        )
    stream.seek(0)
    try:
        with tarfile.TarFile(fileobj=stream) as archive:
            members = archive.getmembers()
    except tarfile.TarError as error:
        raise Problem(
            f"The archive of engine {name} is no tar.",
            f"{stream.name}: {error}",
            "Pack it with state packed.",
            "archive_invalid",
        ) from error
    for member in members:
        inside = member.name == name or member.name.startswith(name + "/")
        if not inside or ".." in member.name.split("/") or not (member.isreg() or member.isdir()):
            raise _refused(name, f"{member.name!r} (type {member.type!r})")
    if not any(member.isreg() and _is_engine(name, member.name) for member in members):
        raise _refused(name, f"no {_engines.ENGINE} in {stream.name}")
    _engines.need_space(os.statvfs(cache), cache, sum(member.size for member in members), reserve, name)
    return members


def _is_engine(name, path):
    folder, file = os.path.split(path)
    return folder == os.path.join(name, "trtllm_engine") and file.endswith(".engine")


def _refused(name, evidence):
    return Problem(
        f"The archive of engine {name} holds something else than files and directories of an engine below {name}.",
        evidence,
        "Pack it with state packed.",
        "archive_refused",
    )


def unpack(cache, name, stream, members):
    """Have the engine called name in the cache, from an open file and what check() said of it: whole or not at all.

    True when it was unpacked, False when somebody else had one ready. Raises a Problem when something else came there.
    """
    engine = _engines.place(cache, name)
    home = os.path.dirname(engine)
    # Nobody looks for an engine two levels down, so an unfinished one is not found.
    partial = os.path.join(home, f".partial-{name}")
    with _engines.as_owner(cache):
        os.makedirs(home, _DIRECTORY, exist_ok=True)
        shutil.rmtree(partial, ignore_errors=True)  # left by a run that was killed
        os.mkdir(partial, 0o700)
        stream.seek(0)
        try:
            with tarfile.TarFile(fileobj=stream) as archive:
                for member in members:
                    _extract(archive, member, os.path.join(partial, member.name))
            return _publish(os.path.join(partial, name), engine, cache, name)
        finally:
            shutil.rmtree(partial, ignore_errors=True)


def _extract(archive, member, path):
    if member.isdir():
        os.makedirs(path, _DIRECTORY, exist_ok=True)
        return
    os.makedirs(os.path.dirname(path), _DIRECTORY, exist_ok=True)
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _FILE), "wb") as target:
        shutil.copyfileobj(archive.extractfile(member), target, _BLOCK)
        target.flush()
        os.fsync(target.fileno())


def _publish(ready, engine, cache, name):
    try:
        os.rename(ready, engine)  # fails where there is an engine by now
        return True
    except OSError as error:
        if _engines.is_there(cache, name):
            return False
        if os.path.lexists(engine):
            raise _taken(engine, name) from error
        raise


def _taken(engine, name):
    return Problem(
        f"What is in the place of engine {name} is no engine.",
        f"{engine} has no {_engines.ENGINE}",
        "Wait if a server is building it, else remove it.",
        "engine_incomplete",
    )
