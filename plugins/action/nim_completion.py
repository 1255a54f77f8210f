# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""nim_completion, as its module documents it.

An action, since the openai client takes long to load: Ansible loads an action once, in the process from which every
host's worker is forked, and a module once for every host.
"""

from __future__ import annotations

from ansible.errors import AnsibleActionFail
from ansible.module_utils.basic import missing_required_lib
from ansible.plugins.action import ActionBase

from ansible_collections.llmops.nim.plugins.module_utils._answers import median_ttft
from ansible_collections.llmops.nim.plugins.module_utils._completion import ARGUMENTS, openai, verify
from ansible_collections.llmops.nim.plugins.module_utils._problem import report
from ansible_collections.llmops.nim.plugins.plugin_utils._on_control_node import options, told


def judged(params, dry):
    """What came of all questions (dict of the RETURN block); dry: whether to ask none (bool)."""
    answers, found = verify(params, dry)
    result = {"changed": False, "answers": answers, "ttft_seconds": median_ttft(answers)}
    if found:
        problems = [one.as_dict() for one in found]
        result.update(failed=True, msg=report(found), problem=problems[0], problems=problems)
    return result


class ActionModule(ActionBase):
    """Asks from the control node; the host is not reached."""

    _requires_connection = False

    def run(self, tmp=None, task_vars=None):
        super().run(tmp, task_vars)
        if openai is None:
            raise AnsibleActionFail(missing_required_lib("openai"))
        params = options(ARGUMENTS, self._task.args)
        return told(judged(params, self._task.check_mode), ARGUMENTS, params)
