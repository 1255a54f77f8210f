# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""One proven file at a second place, without a second copy of its bytes where the file system can do that.

Private to the collection: breaking changes at any time.
"""

from __future__ import annotations

import errno
import fcntl
import os
import shutil

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


def need_space(directory, size, reserve):
    """The Problems (list) with putting size bytes beneath directory and leaving reserve bytes free."""
    place_of = there(directory)
    disk = os.statvfs(place_of)
    free = disk.f_bavail * disk.f_frsize
    if size + reserve <= free:
        return []
    return [
        Problem(
            f"The disk is too small: {_gib(size + reserve)} are needed, {_gib(free)} are free.",
            f"{_gib(size)} to come and {_gib(reserve)} to be left free (reserve_bytes), at {place_of}",
            "Remove releases that are no longer used, or put weights_dir on a larger disk.",
            "disk_too_small",
        )
    ]


def _gib(count):
    """A number of bytes for people (str)."""
    return f"{count / 1024**3:.2f} GiB"
