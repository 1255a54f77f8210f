# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""Runs an action plugin as Ansible does, on the control node."""

from __future__ import annotations

from ansible.errors import AnsibleActionFail
from ansible.parsing.dataloader import DataLoader
from ansible.playbook.play_context import PlayContext
from ansible.playbook.task import Task
from ansible.plugins.loader import connection_loader
from ansible.template import Templar


def act(module, args, check_mode=False):
    """The result (dict) of the plugin in a module of plugins/action with args (dict); of a failure, failed and msg."""
    task = Task()
    task.args, task.check_mode = args, check_mode
    play, loader = PlayContext(), DataLoader()
    action = module.ActionModule(task, connection_loader.get("local", play), play, loader, Templar(loader), None)
    try:
        return action.run(task_vars={})
    except AnsibleActionFail as failure:
        return {"failed": True, "msg": str(failure)}
