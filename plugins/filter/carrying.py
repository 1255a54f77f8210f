# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""Who hands on weights to whom: the pure functions of _carrying, for the role weights."""

from __future__ import annotations

from ansible_collections.llmops.nim.plugins.module_utils import _carrying


class FilterModule:
    """The filters of this file."""

    def filters(self):
        return {
            "weights_turn": _carrying.turn,
            "weights_wanted": _carrying.wanted,
        }
