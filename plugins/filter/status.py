# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""The table of playbooks/status.yml, and the same as data."""

from __future__ import annotations

from ansible_collections.llmops.nim.plugins.module_utils import _status


def status(found, hosts):
    """Who serves what; see status.yml beside this file."""
    return _status.table(list(zip(hosts, found)))


def status_data(found, hosts):
    """Who serves what, for programs; see status_data.yml beside this file."""
    return {
        host: {key: one[key] for key in ("releases", "drift", "ledgers", "lock")} for host, one in zip(hosts, found)
    }


class FilterModule:
    """The filters of this file."""

    def filters(self):
        return {"status": status, "status_data": status_data}
