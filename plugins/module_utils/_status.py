# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""Who serves what, as a table for people.

Private to the collection: breaking changes at any time.
"""

from __future__ import annotations

from ansible_collections.llmops.nim.plugins.module_utils._models import LABEL

HEADINGS = ("HOST", "MODEL", "RELEASE", "HEALTH", "AGE", "PORT", "COMMIT", "IMAGE", "PROFILE")
COMMIT_LENGTH = 12


def age(seconds):
    """A length of time (int seconds, or None) in its two greatest units: C(3d 4h), C(12m 5s)."""
    if seconds is None:
        return "-"
    parts = []
    for name, size in (("d", 86400), ("h", 3600), ("m", 60), ("s", 1)):
        count, seconds = divmod(seconds, size)
        if count or parts:
            parts.append(f"{count}{name}")
    return " ".join(parts[:2]) or "0s"


def image(pinned, version):
    """An image by name and NIM version, without the registry: C(llama-3.2-1b-instruct:1.8.4)."""
    name = (pinned or "-").partition("@")[0].rpartition("/")[2]
    return f"{name}:{version}" if version else name


def row(host, release):
    """The cells (list of str) of a release (dict of nim_release_info) on a host."""
    return [
        host,
        release["model"],
        release["release"] or "-",
        release["health"],
        age(release["age_seconds"]),
        str(release["port"] or "-"),
        (release["commit"] or "-")[:COMMIT_LENGTH],
        image(release["image"], release["labels"].get(LABEL + "nim_version", "")),
        release["profile_name"] or "-",
    ]


def table(hosts):
    """The table (str) of hosts: list of (host, its releases); a host without any says so."""
    rows = [list(HEADINGS)]
    for host, releases in hosts:
        rows += [row(host, release) for release in releases] or [[host, "no release"] + [""] * (len(HEADINGS) - 2)]
    widths = [max(len(cells[column]) for cells in rows) for column in range(len(HEADINGS))]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(cells, widths)).rstrip() for cells in rows)
    return "\n".join(lines)
