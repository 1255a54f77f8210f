# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""The table of playbooks/status.yml."""

from __future__ import annotations

from ansible_collections.llmops.nim.plugins.module_utils import _status


def status(found, hosts):
    """Who serves what; see status.yml beside this file."""
    return _status.table([(host, one["releases"]) for host, one in zip(hosts, found)])


class FilterModule:
    """The filter of this file."""

    def filters(self):
        return {"status": status}
