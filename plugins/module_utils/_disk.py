# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""What it means when a disk does not take what is to be written to it. Pure.

Private to the collection: breaking changes at any time.
"""

from __future__ import annotations

import errno

from ansible_collections.llmops.nim.plugins.module_utils._problem import Problem

# What is wrong, what to do, code.
_PROBLEMS = {
    errno.ENOSPC: ("The disk is full.", "Free space, then run again.", "disk_full"),
    errno.EDQUOT: ("The quota of the disk is used up.", "Raise it or free space, then run again.", "disk_full"),
    errno.EROFS: (
        "The disk is read-only.",
        "See why (dmesg, findmnt): the kernel makes it so after errors. Mount it for writing, then run again.",
        "disk_read_only",
    ),
    errno.EIO: ("The disk fails.", "See why (dmesg), replace what is broken, then run again.", "disk_broken"),
}


def problem(error):
    """The Problem that an OSError tells of the disk; raises error where it is about something else."""
    if error.errno not in _PROBLEMS:
        raise error
    what, remedy, code = _PROBLEMS[error.errno]
    return Problem(what, str(error), remedy, code)
