#!/usr/bin/python
# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: nim_soak
short_description: Watch that a NIM container goes on serving
version_added: 0.1.0
author: The llmops.nim authors (@llmops)
description:
  - Watches a while that a container keeps running, without a restart, that C(/v1/health/ready) keeps answering 200, and
    if wished that it completes a text.
  - Fails as soon as the container has ended or was started again, or as too many checks in a row have failed, with
    what is known of the cause.
extends_documentation_fragment:
  - llmops.nim.watching
  - llmops.nim.commands
  - llmops.nim.progress
attributes:
  check_mode:
    support: full
    description: Reads only. In check mode it does not watch.
  diff_mode:
    support: none
    description: Changes nothing.
  idempotent:
    support: full
    description: Changes nothing.
options:
  seconds:
    description:
      - How long to watch. V(0) is one check.
      - It does not end with a check that failed, but goes on until one succeeds or too many have failed.
    type: int
    default: 60
  interval:
    description: Seconds between two checks of the service. The container itself is looked at each second at least.
    type: float
    default: 5
  failures_allowed:
    description: How many checks in a row may fail.
    type: int
    default: 2
  probe:
    description: A text to complete at each check, at C(/v1/completions) beside O(url). None by default.
"""

EXAMPLES = r"""
- name: Watch the first host's release for ten minutes
  llmops.nim.nim_soak:
    container: nim-openmath2-8b-1a2b3c4d
    url: http://127.0.0.1:8000/v1/health/ready
    seconds: 600
    probe:
      model: openmath2
"""

RETURN = r"""
seconds:
  description: How long it was watched, in seconds.
  returned: always
  type: float
checks:
  description: How many times the service was checked.
  returned: always
  type: int
failures:
  description: How many of the checks failed.
  returned: always
  type: int
log:
  description: The last lines of the container's log, O(log_lines) of them at most.
  returned: success
  type: list
  elements: str
causes:
  description: >-
    The known causes that the log and the container's end show, the likeliest first, each with C(phase), C(code),
    C(what), C(evidence), C(remedy) and C(source).
  returned: failure
  type: list
  elements: dict
problem:
  description: What stands in the way, with C(what), C(evidence), C(remedy), C(code) and C(source).
  returned: failure
  type: dict
"""

import math
import time

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.llmops.nim.plugins.module_utils import _aside, _circumstances
from ansible_collections.llmops.nim.plugins.module_utils._container import Container
from ansible_collections.llmops.nim.plugins.module_utils._health import PROBE_OPTION, why_no_completion, why_not_ready
from ansible_collections.llmops.nim.plugins.module_utils._problem import Problem
from ansible_collections.llmops.nim.plugins.module_utils._readiness import Misses, interruption

# How long an end of the container may stay unnoticed.
LOOK_SECONDS = 1.0

ARGUMENTS = {
    "container": {"type": "str", "required": True},
    "url": {"type": "str", "required": True},
    "seconds": {"type": "int", "default": 60},
    "interval": {"type": "float", "default": 5},
    "failures_allowed": {"type": "int", "default": 2},
    "probe": PROBE_OPTION,
    "log_lines": {"type": "int", "default": 25},
    "docker": {"type": "str", "default": "docker"},
    **_aside.ARGUMENT_SPEC,
}


class Soak:
    """One watch over a container (Container), with the params of the module; begins when it is made.

    aside: who is told how far it is (Aside).
    """

    def __init__(self, params, container, aside):
        self.params, self.aside = params, aside
        self.container = container
        self.begin = time.monotonic()
        self.checks = self.failures = 0
        self.causes = []

    @property
    def seconds(self):
        return round(time.monotonic() - self.begin, 1)

    def watch(self):
        """Returns when the time is over and the last check succeeded; raises Problem otherwise."""
        before = self.container.state()
        misses = Misses(self.params["failures_allowed"])
        due = self.begin
        while True:
            now = time.monotonic()
            if now >= due:
                due = now + self.params["interval"]
                misses.note(self.fault())
            # After the check, since a container that ended is the reason why it failed.
            self.look(before)
            if misses.too_many:
                what = f"failed {len(misses.reasons)} checks in a row"
                raise self.problem(what, misses.reasons, {}, before, "soak_failed")
            end = self.begin + self.params["seconds"]
            if time.monotonic() >= end and not misses.reasons:
                return
            self.tell(len(misses.reasons))
            next_step = due if misses.reasons else min(due, end)
            time.sleep(max(0.0, min(next_step - time.monotonic(), LOOK_SECONDS)))

    def tell(self, failed):
        """Say how far it is, after so many (int) checks that failed in a row."""
        what = f"watched, {failed} checks failed in a row" if failed else "watched"
        left = max(0.0, self.params["seconds"] - self.seconds)
        done = self.params["seconds"] - left
        self.aside.tell(what, int(done), self.params["seconds"], _aside.SECONDS, seconds_left=math.ceil(left))

    def fault(self):
        """One check of the service: why it failed (str), or None."""
        self.checks += 1
        reason = why_not_ready(self.params["url"])
        if reason:
            reason = f"{self.params['url']}: {reason}"
        elif self.params["probe"]:
            question = {name: self.params["probe"][name] for name in ("model", "prompt", "max_tokens")}
            reason = why_no_completion(self.params["url"], question, self.params["probe"]["timeout"])
        self.failures += bool(reason)
        return reason

    def look(self, before):
        """Raises Problem when the container is no longer what it was before (dict of its state)."""
        state = self.container.state()
        ended = interruption(state, before)
        if ended:
            if state["Status"] == "running":
                # Started again already, it has forgotten how it ended.
                state = dict(state, Status="restarting", **self.container.last_end())
            raise self.problem(f"did not last: {ended}", [], state, before, "container_ended")

    def problem(self, what, said, state, before, code):
        what = f"Container {self.container.name} {what}, after {self.seconds} s of watching"
        found, self.causes = _circumstances.ended(what, self.container, state, before["StartedAt"], code, said)
        return found


def main():
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)
    if module.check_mode:
        module.exit_json(changed=False, seconds=0.0, checks=0, failures=0, log=[])
    params = module.params
    container = Container(module.run_command, params["docker"], params["container"])
    soak = Soak(params, container, _aside.Aside(params["progress_file"]))
    try:
        with soak.aside:
            soak.watch()
    except Problem as problem:
        module.fail_json(
            msg=str(problem),
            problem=problem.as_dict(),
            seconds=soak.seconds,
            checks=soak.checks,
            failures=soak.failures,
            causes=[cause.as_dict() for cause in soak.causes],
        )
    module.exit_json(
        changed=False,
        seconds=soak.seconds,
        checks=soak.checks,
        failures=soak.failures,
        log=container.log(params["log_lines"]),
    )


if __name__ == "__main__":
    main()
