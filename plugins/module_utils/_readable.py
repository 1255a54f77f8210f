# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""Whether a user who is not there may read and write what a container mounts, told by modes and owners.

Private to the collection: breaking changes at any time.
"""

from __future__ import annotations

import os
import stat

READ, WRITE, SEARCH = 4, 2, 1
# A cache may have many files; so many are looked at.
MOST_FILES = 20_000


def ids(user):
    """The uid and gid (ints) of a container's user as Docker has it (C(1000:0), C(1000)), or None for a name."""
    uid, _colon, gid = (user or "0").partition(":")
    return (int(uid), int(gid or 0)) if uid.isdigit() and (gid or "0").isdigit() else None


def may(status, uid, gid, wanted):
    """Whether uid of group gid may do what is wanted (sum of READ, WRITE, SEARCH) with a file of this status."""
    if uid == 0:
        return True
    shift = 6 if status.st_uid == uid else 3 if status.st_gid == gid else 0
    return status.st_mode >> shift & wanted == wanted


def denied(path, uid, gid, writable):
    """What uid of group gid may not do beneath path (list of str, such as C(may not read /x/y)); empty: all is well.

    writable: whether directories have to be writable too. Only inside the container is the path's own way searched:
    Docker mounts it as root.
    """
    if not os.path.isdir(path):
        return [f"there is no directory {path}"]
    wrong, seen = [], 0
    for folder, folders, names in os.walk(path):
        wanted = READ | SEARCH | (WRITE if writable else 0)
        if not _may(folder, uid, gid, wanted):
            verb = "write to" if _may(folder, uid, gid, READ | SEARCH) else "open"
            wrong.append(f"may not {verb} {folder}")
            folders.clear()
            continue
        for name in names:
            file = os.path.join(folder, name)
            if not _may(file, uid, gid, READ):
                wrong.append(f"may not read {file}")
        seen += len(names)
        if seen > MOST_FILES:
            break
    return wrong


def _may(path, uid, gid, wanted):
    try:
        status = os.stat(path)
    except OSError:  # it is gone meanwhile, or a link into the container
        return True
    return not stat.S_ISREG(status.st_mode) and not stat.S_ISDIR(status.st_mode) or may(status, uid, gid, wanted)
