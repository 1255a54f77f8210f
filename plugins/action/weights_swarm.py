# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""The module's call, of which is told how far it is. Its documentation is the module's."""

from __future__ import annotations

from ansible_collections.llmops.nim.plugins.plugin_utils._listening import ListeningAction


class ActionModule(ListeningAction):
    """Adds nothing."""
