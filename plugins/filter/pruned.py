# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""The tables of playbooks/prune.yml."""

from __future__ import annotations

from ansible_collections.llmops.nim.plugins.module_utils import _prune_text


def pruned(found, hosts, dry=False):
    """What went and what stays; see pruned.yml beside this file."""
    return _prune_text.table(list(zip(hosts, found)), dry)


class FilterModule:
    """The filter of this file."""

    def filters(self):
        return {"pruned": pruned}
