# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""What playbooks/check.yml has found, in words and as data."""

from __future__ import annotations

KEYS = ("problems", "warnings_found", "disks", "checked_at")


def checked(found, hosts):
    """What is wrong; see checked.yml beside this file."""
    return "\n".join(f"{host}: " + one["report"].replace("\n", "\n  ") for host, one in zip(hosts, found))


def checked_data(found, hosts):
    """What is wrong, for programs; see checked_data.yml beside this file."""
    return {host: {key: one[key] for key in KEYS} for host, one in zip(hosts, found)}


class FilterModule:
    """The filters of this file."""

    def filters(self):
        return {"checked": checked, "checked_data": checked_data}
