# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""What a host has on its disks already: engines that NIM built, and snapshots of weights. Reads only.

Private to the collection: breaking changes at any time.
"""

from __future__ import annotations

import glob
import os
import re

from ansible_collections.llmops.nim.plugins.module_utils import _snapshot
from ansible_collections.llmops.nim.plugins.module_utils._problem import Problem

_SNAPSHOT = re.compile(r"([\w.-]+/[\w.-]+)@([0-9a-f]{40}(?:-[0-9a-f]{8})?)")


def engines(cache):
    """The names (sorted list of str) under which NIM has cached the engines it built, in a cache directory (path).

    Observed with 1.x: local_cache/<NIM_CUSTOM_MODEL_NAME>/trtllm_engine/*.engine.
    """
    found = glob.glob(os.path.join(glob.escape(cache), "local_cache", "*", "trtllm_engine", "*.engine"))
    return sorted({path.split(os.sep)[-3] for path in found if os.path.isfile(path)})


def parse_snapshot(text):
    """Repository and name of the snapshot in C(org/repo@commit); a Problem when it is none."""
    match = _SNAPSHOT.fullmatch(text)
    if not match:
        raise Problem(
            "snapshots does not say which commit of which repository.",
            evidence=f"snapshots: {text!r}",
            remedy="Write org/repo@commit with the whole commit, 40 hexadecimal digits.",
            code="snapshots_invalid",
        )
    return match.groups()


def is_published(weights_dir, repo, name):
    """Is there a whole snapshot of that name of the repository, as it was published?"""
    spot = _snapshot.place(weights_dir, repo, name)
    try:
        found, altered = _snapshot.look(spot)
        return bool(found) and not altered
    except OSError:
        return False
