# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""Why a task failed, in words, for roles."""

from __future__ import annotations

from ansible_collections.llmops.nim.plugins.module_utils import _explained


def explained(result, what):
    """Why a task failed; see explained.yml beside this file."""
    return _explained.explained(result, what)


class FilterModule:
    """The filters of this file."""

    def filters(self):
        return {"explained": explained}
