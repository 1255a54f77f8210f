# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""What is to go into a bundle: the pure function of _bundle_wishes, for playbooks."""

from __future__ import annotations

from ansible_collections.llmops.nim.plugins.module_utils import _bundle_wishes


class FilterModule:
    """The filter of this file."""

    def filters(self):
        return {"to_bundle": _bundle_wishes.wishes}
