# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""How a run ended, as a table: who serves what on which host.

Private to the collection: breaking changes at any time.
"""

from __future__ import annotations

from ansible_collections.llmops.nim.plugins.module_utils._table import table

_HEADINGS = ("HOST", "MODEL", "SERVES", "OUTCOME")
_WORDS = {"activated": "activated", "rolled_back": "gone back"}


def rows(host, variables):
    """The rows (list of list of str) of a host.

    variables: what the run left there: C(nim_plan), C(nim_container_releases), C(nim_container_moved) and
    C(nim_container_failed), C(nim_container_gone) and C(nim_container_stranded), all but the first if they are there.
    """
    staged = {item["model"]["name"]: item for item in variables.get("nim_container_releases") or []}
    moved = {item["model"]["name"]: item for item in variables.get("nim_container_moved") or []}
    failed = None
    if variables.get("nim_container_failed"):
        # They go one after the other, and none after one that failed.
        failed = next((name for name in staged if name not in moved), None)
    return [
        [host, item["model"]["name"], *_cells(staged.get(item["model"]["name"], item), moved, failed, variables)]
        for item in variables.get("nim_plan") or []
    ]


def _cells(item, moved, failed, variables):
    name = item["model"]["name"]
    if item["action"] == "none":
        return [item["release"]["container"], "in sync"]
    if name in moved:
        last = moved[name]
        return [last["release"]["container"], f"{_WORDS[last['event']]}, {last['swap']['strategy']}"]
    before = item["predecessor"]["container"] if item["predecessor"] else "nothing"
    if name != failed:
        return [before, "not touched"]
    if variables.get("nim_container_gone"):
        return ["unknown", "cannot be reached any more"]
    if variables.get("nim_container_stranded"):
        return ["nothing", "failed, and its predecessor does not serve"]
    return [before, "failed, and taken back"]


def outcome(hosts):
    """The table (str) of hosts: list of (host, its variables)."""
    return table(_HEADINGS, [row for host, variables in hosts for row in rows(host, variables)])
