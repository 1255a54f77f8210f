# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""Repeats the module's calls until the transfers are over. Its documentation is the module's."""

from __future__ import annotations

from ansible.plugins.action import ActionBase

from ansible_collections.llmops.nim.plugins.plugin_utils import _board


class ActionModule(ActionBase):
    """Asks sooner at first, so that a short transfer is waited for shortly."""

    TRANSFERS_FILES = False
    _supports_check_mode = True
    _PATIENCE = 10  # seconds, the module's default

    def run(self, tmp=None, task_vars=None):
        result = super().run(tmp, task_vars)
        longest, patience = int(self._task.args.get("patience", self._PATIENCE)), 1
        while True:
            wanted = {**self._task.args, "patience": min(patience, longest)}
            looked = self._execute_module(module_args=wanted, task_vars=task_vars)
            _board.tell(task_vars["inventory_hostname"], self._task.action, looked.get("transfers", []))
            if looked.get("failed") or looked.get("over"):
                return {**result, **looked}
            patience *= 2
