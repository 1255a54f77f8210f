# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""Which engines are carried between hosts: the pure function of _engines, for playbooks."""

from __future__ import annotations

from ansible_collections.llmops.nim.plugins.module_utils import _engines


def engines_to_carry(hosts):
    """Which engine goes from which host to which others; see engines_to_carry.yml beside this file."""
    return _engines.to_carry(hosts)


class FilterModule:
    """The filter of this file."""

    def filters(self):
        return {"engines_to_carry": engines_to_carry}
