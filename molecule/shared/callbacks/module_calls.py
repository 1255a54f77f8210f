"""Counts the module calls of each playbook run, so that a test can go red when one is added.

A line of JSON a run in the file LAB_CALLS: {"playbook": "deploy", "calls": {"gpu1": {"llmops.nim.gpu_host_info": 1}}}.
What is delegated counts for the host that does it. What never leaves the control process does not count.
"""

from __future__ import annotations

import json
import os
from collections import Counter, defaultdict
from pathlib import Path

from ansible.plugins.callback import CallbackBase

AT_HOME = {
    "add_host",
    "assert",
    "debug",
    "fail",
    "include_role",
    "include_tasks",
    "meta",
    "llmops.nim.nim_completion",
    "llmops.nim.nim_verify",
    "set_fact",
    "validate_argument_spec",
}


class CallbackModule(CallbackBase):
    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "module_calls"
    CALLBACK_NEEDS_ENABLED = True

    def v2_playbook_on_start(self, playbook):
        self.playbook = Path(playbook._file_name).stem
        self.calls = defaultdict(Counter)

    def count(self, result):
        action = result.task.action.rpartition("ansible.builtin.")[2]
        if action not in AT_HOME:
            told = result.result.get("_ansible_delegated_vars") or {}
            self.calls[told.get("ansible_delegated_host") or result.host.get_name()][action] += 1

    v2_runner_item_on_ok = v2_runner_item_on_failed = count

    def v2_runner_on_ok(self, result):
        if not result.task.loop:  # whose items have been counted
            self.count(result)

    def v2_runner_on_failed(self, result, ignore_errors=False):
        self.v2_runner_on_ok(result)

    def v2_playbook_on_stats(self, stats):
        with open(os.environ["LAB_CALLS"], "a") as file:
            file.write(json.dumps({"playbook": self.playbook, "calls": self.calls}) + "\n")
