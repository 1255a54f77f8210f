# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""What was pruned, as tables for people.

Private to the collection: breaking changes at any time.
"""

from __future__ import annotations

import re

from ansible_collections.llmops.nim.plugins.module_utils import _table


def size(count):
    """A number of bytes (int) for people (str)."""
    for unit in ("B", "KiB", "MiB"):
        if count < 1024:
            return f"{count:.0f} {unit}"
        count /= 1024
    return f"{count:.1f} GiB"


def _short(name):
    """The name with commits and digests cut to their first 12 digits."""
    return re.sub(r"\b([0-9a-f]{12})[0-9a-f]{28,52}\b", r"\1", name)


def table(found, dry=False):
    """What went and what stays (str), of found: list of (host, result of nim_prune). dry: it only would go."""
    gone, kept = [], []
    for host, result in found:
        gone += [[host, one["kind"], _short(one["name"]), size(one["bytes"])] for one in result["removed"]]
        kept += [[host, one["kind"], _short(one["name"]), one["reason"]] for one in result["kept"]]
    freed = [f"{host}: {size(result['bytes_freed'])} {'to free' if dry else 'freed'}" for host, result in found]
    verb = "WOULD GO" if dry else "GONE"
    parts = [_table.table(("HOST", verb, "NAME", "BYTES"), gone)] if gone else []
    parts += [_table.table(("HOST", "KEPT", "NAME", "WHY"), kept)] if kept else []
    return "\n\n".join([*parts, "\n".join(freed)])
