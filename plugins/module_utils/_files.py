# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""Small files that are written whole or not at all, by one writer at a time.

Private to the collection: breaking changes at any time.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os


@contextlib.contextmanager
def guarded(directory):
    """Hold the directory (path), which is made if need be, against other writers of this collection."""
    os.makedirs(directory, mode=0o750, exist_ok=True)
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
        os.fsync(descriptor)
    finally:
        fcntl.flock(descriptor, fcntl.LOCK_UN)  # also of a process that was begun meanwhile
        os.close(descriptor)


def is_held(path):
    """Whether a process holds the lock file at path."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except (FileNotFoundError, NotADirectoryError):
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        return False
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)


def read_json(path):
    """The JSON object (dict) in the file at path; None where there is none, or none that is whole."""
    try:
        with open(path, encoding="utf-8") as stream:
            found = json.load(stream)
    except (OSError, ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def write_json(path, document, mode=0o640):
    """Put document (dict) in the place of the file at path; a reader sees the old or the new one, whole."""
    temporary = f"{path}.{os.getpid()}.tmp"
    try:
        with open(temporary, "w", encoding="utf-8") as stream:
            json.dump(document, stream, indent=1, sort_keys=True)
            stream.write("\n")
            stream.flush()
            os.fchmod(stream.fileno(), mode)
            os.fsync(stream.fileno())
        os.rename(temporary, path)
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.remove(temporary)


def reader():
    """The uid and gid of who logged in: those that sudo says, else our own."""
    if os.geteuid() == 0 and os.environ.get("SUDO_UID", "").isdigit():
        return int(os.environ["SUDO_UID"]), int(os.environ.get("SUDO_GID", "-1"))
    return os.geteuid(), os.getegid()


def admit_reader(directory):
    """Let who logged in reach what lies in directory (path): of it and those above, each that is closed to others is
    given to their group, which may enter and list it. Files keep their owners and modes.
    """
    _uid, gid = reader()
    while directory != os.path.dirname(directory):
        found = os.stat(directory)
        if not found.st_mode & 0o001 and found.st_gid != gid:
            os.chown(directory, -1, gid)
        directory = os.path.dirname(directory)


def lend(directory):
    """Let who logged in reach directory (path) and read all in it, which is given to them.

    So is what is linked from elsewhere. Groups and modes stay: containers read weights as members of group 0.
    """
    uid, _gid = reader()
    for parent, _directories, files in os.walk(directory):
        for path in (parent, *(os.path.join(parent, name) for name in files)):
            if os.stat(path).st_uid != uid:
                os.chown(path, uid, -1)
    admit_reader(directory)


def append_line(path, line):
    """Add line (str without a line break) to the file at path, mode 0640, and have it on the disk.

    What a writer that was killed has left of its line is closed first, so that it spoils no other. Raises OSError
    with the file as it was, where the disk is full.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o640)
    try:
        end = os.lseek(descriptor, 0, os.SEEK_END)
        torn = end > 0 and os.pread(descriptor, 1, end - 1) != b"\n"
        left = ("\n" if torn else "").encode() + line.encode("utf-8") + b"\n"
        try:
            while left:
                left = left[os.write(descriptor, left) :]
            os.fchmod(descriptor, 0o640)
            os.fsync(descriptor)
        except OSError:
            os.ftruncate(descriptor, end)
            raise
    finally:
        os.close(descriptor)
