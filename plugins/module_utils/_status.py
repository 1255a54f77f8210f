# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""Who serves what, as tables for people.

Private to the collection: breaking changes at any time.
"""

from __future__ import annotations

from ansible_collections.llmops.nim.plugins.module_utils import _lock, _table
from ansible_collections.llmops.nim.plugins.module_utils._clock import age
from ansible_collections.llmops.nim.plugins.module_utils._models import LABEL

HEADINGS = ("HOST", "MODEL", "RELEASE", "HEALTH", "DRIFT", "AGE", "PORT", "PROFILE")
BYTES = ("HOST", "RELEASE", "WEIGHTS", "MANIFEST", "IMAGE")
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
        release["profile_name"] or "-",
    ]


def manifest(release):
    """The digest of all files (str) that a release (dict of nim_release_info) serves, shortened."""
    return release["labels"].get(LABEL + "manifest", "-")[:SHORT]


def image_of(release):
    """The image (str) of a release (dict of nim_release_info), as image() has it."""
    labels = release["labels"]
    # What has come in a bundle is known by its id.
    return image(labels.get(LABEL + "image_name") or release["image"], labels.get(LABEL + "nim_version", ""))


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
    """The tables (str) of hosts: list of (host, result of nim_release_info); a host without any release says so.

    Who serves and how; of which bytes; and below them what the drift is, and which host is locked.
    """
    parts = [_table.table(HEADINGS, [cells for host, found in hosts for cells in _rows(host, found)], _table.WIDTH)]
    served = [
        [host, one["release"] or "-", weights(one), manifest(one), image_of(one)]
        for host, found in hosts
        for one in found["releases"]
    ]
    if served:
        parts.append(_table.table(BYTES, served, _table.WIDTH))
    notes = [
        f"{host} {one['model']} {one['release'] or one['container']}: {one['what']}"
        for host, found in hosts
        for one in found["drift"]
    ]
    notes += [f"{host}: {_lock.describe(found['lock'])}" for host, found in hosts if found["lock"]]
    if notes:
        parts.append("\n".join(line for note in notes for line in _table.wrapped(note, _table.WIDTH)))
    return "\n\n".join(parts)
