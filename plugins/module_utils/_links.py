# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""One proven file at a second place, without a second copy of its bytes where the file system can do that.

Private to the collection: breaking changes at any time.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import shutil
import tempfile

from ansible_collections.llmops.nim.plugins.module_utils import _lfs
from ansible_collections.llmops.nim.plugins.module_utils._problem import Problem

_REFUSED = (errno.EXDEV, errno.EMLINK, errno.EPERM, errno.ENOTSUP, errno.ENOSYS)
_FICLONE = 0x40049409  # linux/fs.h: a file of its own that shares the other's blocks (btrfs, XFS, bcachefs)


def place(source, target, sha256, hard=True):
    """Have the file source, whose sha256 was proven, at target as well, sealed; whether that takes no space.

    The first choice is a hard link, then blocks that are shared, then a copy, which is proven. hard=False: no hard
    link, since others may write to source; what has come of it is proven in any case.
    """
    if hard:
        try:
            os.link(source, target)
            return True
        except OSError as error:
            if error.errno not in _REFUSED:
                raise
    shared = _share(source, target)
    if not shared:
        shutil.copyfile(source, target)
    if not (shared and hard) and _lfs.sha256(target) != sha256:
        os.remove(target)
        raise Problem(f"The copy of {source} went wrong.", f"at {target}", "Check the disk.", "copy_broken")
    _lfs.seal(target)
    return shared


def shares(directory):
    """Whether a file beneath directory takes no space at a second place there. It is tried, with files that go again.

    Raises a Problem where the file system does not keep what the seal and git-lfs need: modes, times, symbolic links.
    """
    trial = tempfile.mkdtemp(prefix="trial.partial-", dir=directory)  # _snapshot.clean() knows it by its name
    first, second, link = (os.path.join(trial, name) for name in ("first", "second", "link"))
    try:
        with open(first, "wb") as stream:
            stream.write(b"x")
        try:
            os.symlink(first, link)
            _lfs.seal(first)
        except OSError as error:
            if error.errno not in _REFUSED:
                raise
            raise _unfit(directory, str(error)) from None
        if not _lfs.is_sealed(first, 1):
            raise _unfit(directory, "a file that was made read-only and given a time is not so afterwards")
        return place(first, second, hashlib.sha256(b"x").hexdigest())
    finally:
        shutil.rmtree(trial)


def _unfit(directory, evidence):
    return Problem(
        f"The file system of {directory} cannot hold weights: it lacks modes, times or symbolic links.",
        evidence,
        "Put weights_dir on a file system of Linux, such as ext4, XFS or btrfs.",
        "file_system_unfit",
    )


def _share(source, target):
    with open(source, "rb") as old, open(target, "xb") as new:
        try:
            fcntl.ioctl(new.fileno(), _FICLONE, old.fileno())
        except OSError:
            return False
    return True


def there(directory):
    """directory, or the nearest of its parents that exists."""
    while not os.path.isdir(directory):
        directory = os.path.dirname(directory)
    return directory


def need_space(directory, size, reserve, copies=0):
    """The Problems (list) with putting size bytes beneath directory and leaving reserve bytes free.

    copies: the bytes (int) that they will take once more, where the file system does not share them.
    """
    place_of = there(directory)
    disk = os.statvfs(place_of)
    free = disk.f_bavail * disk.f_frsize
    if size + copies + reserve <= free:
        return []
    more = f", {_gib(copies)} for copies, for want of hard links," if copies else ""
    return [
        Problem(
            f"The disk is too small: {_gib(size + copies + reserve)} are needed, {_gib(free)} are free.",
            f"{_gib(size)} to come{more} and {_gib(reserve)} to be left free (reserve_bytes), at {place_of}",
            "Remove releases that are no longer used, or put weights_dir on a larger disk.",
            "disk_too_small",
        )
    ]


def _gib(count):
    """A number of bytes for people (str)."""
    return f"{count / 1024**3:.2f} GiB"
