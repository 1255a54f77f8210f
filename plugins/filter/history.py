# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""The timeline of playbooks/history.yml, and the same as data."""

from __future__ import annotations

from ansible_collections.llmops.nim.plugins.module_utils import _history


def history(found, hosts, last=20):
    """What happened; see history.yml beside this file."""
    return _history.table(list(zip(hosts, found)), last)


def history_data(found, hosts, last=20):
    """What happened, for programs; see history_data.yml beside this file."""
    return _history.entries(list(zip(hosts, found)), last)


class FilterModule:
    """The filters of this file."""

    def filters(self):
        return {"history": history, "history_data": history_data}
