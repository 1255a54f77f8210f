# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""Who serves what, as a table for people.

Private to the collection: breaking changes at any time.
"""

from __future__ import annotations

from ansible_collections.llmops.nim.plugins.module_utils import _lock, _table
from ansible_collections.llmops.nim.plugins.module_utils._clock import age
from ansible_collections.llmops.nim.plugins.module_utils._models import LABEL

HEADINGS = ("HOST", "MODEL", "RELEASE", "HEALTH", "DRIFT", "AGE", "PORT", "WEIGHTS", "MANIFEST", "IMAGE", "PROFILE")
SHORT = 12


def image(reference, version):
    """An image by name and NIM version, without the registry: C(llama-3.2-1b-instruct:1.8.4)."""
    name = (reference or "-").partition("@")[0].rpartition("/")[2].partition(":")[0]
    return f"{name}:{version}" if version else name


def weights(release):
    """Which bytes a release (dict of nim_release_info) serves: C(org/name@commit), shortened."""
    return f"{release['weights'] or '-'}@{release['commit'][:SHORT]}" if release["commit"] else "-"


def row(host, release, drift):
    """The cells (list of str) of a release (dict of nim_release_info) on a host, with its drift (list of dict)."""
    return [
        host,
        release["model"],
        release["release"] or "-",
        release["health"],
        _kinds(drift),
        age(release["age_seconds"]),
        str(release["port"] or "-"),
        weights(release),
        release["labels"].get(LABEL + "manifest", "-")[:SHORT],
        image(
            release["labels"].get(LABEL + "image_name") or release["image"],
            release["labels"].get(LABEL + "nim_version", ""),
        ),
        release["profile_name"] or "-",
    ]


def _kinds(drift):
    return ", ".join(one["kind"] for one in drift) or "-"


def _rows(host, found):
    """The rows of a host's result of nim_release_info; a release that is gone but for the ledger has one as well."""
    releases, drift = found["releases"], found["drift"]
    there = {one["container"] for one in releases}
    rows = [row(host, one, [other for other in drift if other["container"] == one["container"]]) for one in releases]
    for gone in (one for one in drift if one["container"] not in there):
        rows.append([host, gone["model"], gone["release"] or "-", "gone", _kinds([gone])])
    rows = rows or [[host, "no release"]]
    return [cells + [""] * (len(HEADINGS) - len(cells)) for cells in rows]


def table(hosts):
    """The table (str) of hosts: list of (host, result of nim_release_info); a host without any release says so.

    Below it stands what the drift is, and which host is locked.
    """
    shown = _table.table(HEADINGS, [cells for host, found in hosts for cells in _rows(host, found)])
    notes = [
        f"{host} {one['model']} {one['release'] or one['container']}: {one['what']}"
        for host, found in hosts
        for one in found["drift"]
    ]
    notes += [f"{host}: {_lock.describe(found['lock'])}" for host, found in hosts if found["lock"]]
    return "\n".join([shown, "", *notes]) if notes else shown
