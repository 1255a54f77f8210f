#!/usr/bin/python
# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: nim_ready
short_description: Start a NIM container, wait until it is ready, and know why when it never will be
version_added: 0.1.0
author: The llmops.nim authors (@llmops)
description:
  - Waits until C(/v1/health/ready) of a NIM answers 200, and if wished until it completes a text. Of the health only
    the status code counts, since the wording of the answer differs between NIM versions.
  - Knows from the log and the growth of the cache how far the service is, and goes on waiting while it gets on.
  - Fails within seconds when the container has ended, when Docker restarts it again and again, or when its log says
    that it will never be ready; then with what is known of the cause, and what to do.
extends_documentation_fragment:
  - llmops.nim.watching
  - llmops.nim.commands
  - llmops.nim.progress
attributes:
  check_mode:
    support: full
    description: In check mode it neither starts nor waits.
  diff_mode:
    support: none
    description: Changes nothing.
  idempotent:
    support: full
    description: A container that runs is not started again.
options:
  start:
    description: Whether to start it first, where it does not run.
    type: bool
    default: false
  instead_of:
    description:
      - Name of a container to stop right before; implies O(start=true). Between the two nobody serves, so the host ends
        what was begun even when the control node is lost.
    type: str
  stop_timeout:
    description: Seconds that O(instead_of) has to end by itself.
    type: int
    default: 60
  timeout:
    description:
      - Seconds to wait at most, however well it gets on.
      - A first start that downloads or builds an engine has been seen to take an hour.
    type: int
    default: 7200
  budgets:
    description:
      - Seconds by phase for which nothing may happen, no new line in the log and no growth of the cache; in C(download)
        only the growth counts.
      - Phases that are not named have C(start) 1800, C(download) 600, C(build) 3600, C(load) 1800, C(warm_up) 1800.
    type: dict
    default: {}
  probe:
    description: >-
      A text to complete at C(/v1/completions) beside O(url) before it counts as ready. None by default, for callers
      that ask it themselves. Where there is no answer it is asked again, for as many seconds as its C(timeout) says.
"""

EXAMPLES = r"""
- name: Wait for the model
  llmops.nim.nim_ready:
    container: nim-openmath2-8b-1a2b3c4d
    url: http://127.0.0.1:8000/v1/health/ready

- name: Have it take the place of another
  llmops.nim.nim_ready:
    container: nim-openmath2-8b-1a2b3c4d
    start: true
    instead_of: nim-openmath2-8b-99f0e1d2
    url: http://127.0.0.1:8000/v1/health/ready

- name: Wait until a model that takes long to load completes a text
  llmops.nim.nim_ready:
    container: nim-nemotron-70b-1a2b3c4d
    url: http://127.0.0.1:8000/v1/health/ready
    budgets: {load: 3600}
    probe:
      model: nemotron-70b
"""

RETURN = r"""
seconds:
  description: Time from the container's start until it was seen ready, in seconds.
  returned: success
  type: float
log:
  description: The last lines of its log, O(log_lines) of them at most.
  returned: success
  type: list
  elements: str
phases:
  description: >-
    The phases seen while waiting, in order, each with its length in seconds: V(start), V(download), V(build) (of the
    engine), V(load), V(warm_up).
  returned: always
  type: list
  elements: dict
  sample: [{"phase": "build", "seconds": 84.1}, {"phase": "load", "seconds": 3.2}]
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

import time
from datetime import datetime, timezone

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.llmops.nim.plugins.module_utils import _aside, _circumstances, _log_text, _phases
from ansible_collections.llmops.nim.plugins.module_utils._container import Container, age
from ansible_collections.llmops.nim.plugins.module_utils._failures import explain_lines, told
from ansible_collections.llmops.nim.plugins.module_utils._health import PROBE_OPTION, is_ready, why_no_completion
from ansible_collections.llmops.nim.plugins.module_utils._problem import Problem
from ansible_collections.llmops.nim.plugins.module_utils._readiness import verdict

POLL_SECONDS = 0.5
# The cache may have many files.
MEASURE_SECONDS = 5
# A service that has said that it cannot go on gets so long to end by itself, which tells more.
DOOMED_SECONDS = 10
# Of the log at each look; a failure is explained from more of it.
WINDOW_LINES = 400

ARGUMENTS = {
    "container": {"type": "str", "required": True},
    "start": {"type": "bool", "default": False},
    "instead_of": {"type": "str"},
    "stop_timeout": {"type": "int", "default": 60},
    "url": {"type": "str", "required": True},
    "timeout": {"type": "int", "default": 7200},
    "budgets": {"type": "dict", "default": {}},
    "probe": PROBE_OPTION,
    "log_lines": {"type": "int", "default": 25},
    "docker": {"type": "str", "default": "docker"},
    **_aside.ARGUMENT_SPEC,
}


class Wait:
    """One wait for a container (Container), with the params of the module; begins when it is made.

    aside: who is told how far it is (Aside).
    """

    def __init__(self, params, container, aside):
        self.params, self.aside = params, aside
        self.container = container
        self.begin = time.monotonic()
        self.progress = _phases.Progress(self.begin, params["budgets"])
        self.causes = []
        self._window = set()
        self._recent = []
        self._doomed = self._measured = self._asked = None

    def until_ready(self):
        """The container's state (dict) once it is ready; raises Problem when it never will be, or time is up."""
        before = self.container.state()
        cache = self.container.cache()
        while True:
            now = time.monotonic()
            state = self.container.state()
            self.look(state, before)
            # While it does not run, another service may answer at its address.
            if state["Status"] == "running" and is_ready(self.params["url"]) and self.answers(now):
                self.progress.enter(_phases.READY, now)
                return state
            self.follow(before, cache, now)
            self.judge(before, now)
            self.tell(now)
            time.sleep(POLL_SECONDS)

    def tell(self, now):
        """Say how far it is; of a download by how much the cache has grown."""
        phase, size = self.progress.phase, self.progress.growth
        grows = {"done": size, "rate": self.progress.rate(now)} if phase == _phases.DOWNLOAD else {}
        self.aside.tell(_phases.WORDS[phase], **grows)

    def look(self, state, before):
        """Raises Problem where a container in this state will never be ready; before: its state at the beginning."""
        never = verdict(state, before["RestartCount"])
        if not never:
            return
        if state["Status"] == "running":
            # Started again already, it has forgotten how it ended.
            state = dict(state, Status="restarting", **self.container.last_end())
            never = verdict(state, before["RestartCount"])
        raise self.problem(f"did not become ready: {never}", state, before, "container_ended")

    def answers(self, now):
        """Whether it completes a text, where one is to be completed; raises Problem when it has been asked too long."""
        probe = self.params["probe"]
        if not probe:
            return True
        self.progress.enter(_phases.WARM_UP, now)
        self._asked = self._asked or now
        question = {name: probe[name] for name in ("model", "prompt", "max_tokens")}
        reason = why_no_completion(self.params["url"], question, probe["timeout"])
        if reason and now - self._asked > probe["timeout"]:
            what = f"Container {self.container.name} says that it is ready, and completes no text"
            raise told(what, reason, "no_completion", f"whole log: docker logs {self.container.name}")
        return reason is None

    def follow(self, before, cache, now):
        """Takes what is new in the log and the cache into account."""
        window = self.container.dated_log(WINDOW_LINES, before["StartedAt"])
        fresh = [line for line in window if line not in self._window]
        self._window = set(window)
        if fresh:
            lines = _log_text.lines("\n".join(line for _time, line in fresh))
            phase = self.progress.phase
            self.progress.read(lines, now)
            self._recent = [*self._recent, *lines][-WINDOW_LINES:]
            if self._doomed and self.progress.phase != phase:
                # What gets on after it has said so has helped itself.
                self._doomed, self._recent = None, []
            elif not self._doomed and any(cause.ends for cause in explain_lines(self._recent)):
                self._doomed = now
        if self._measured is None or now - self._measured >= MEASURE_SECONDS:
            self._measured = now
            self.progress.grown(_phases.size(cache), now)

    def judge(self, before, now):
        """Raises Problem where there is no hope, no progress, or no time left."""
        phase = self.progress.phase
        if self._doomed and now - self._doomed > DOOMED_SECONDS:
            raise self.problem("says that it will not become ready, and does not end", {}, before, "container_doomed")
        idle = self.progress.stuck(now)
        if idle is not None and phase == _phases.DOWNLOAD:
            raise self.problem(
                f"is not ready: its download stands still, the cache has not grown for {idle:.0f} s",
                {},
                before,
                "download_stalled",
                "start it again, which resumes the download (docker restart), and see to the network; where it is "
                "slower than that, raise nim_container_ready_budgets.download",
            )
        if idle is not None:
            raise self.problem(
                f"is not ready, and nothing has happened for {idle:.0f} s (phase: {phase})",
                {},
                before,
                "no_progress",
                f"if it takes that long, raise nim_container_ready_budgets.{phase}",
            )
        if now - self.begin > self.params["timeout"]:
            rate = self.progress.rate(now)
            growing = f", and its cache grows by {rate / 1e6:.1f} MB/s" if rate else ""
            raise self.problem(
                f"is not ready after {self.params['timeout']} s (phase: {phase}{growing})",
                {},
                before,
                "not_ready",
                "raise nim_container_ready_timeout if it still makes progress",
            )

    def problem(self, what, state, before, code, remedy=""):
        """The Problem of the container, explained from its log."""
        what = f"Container {self.container.name} {what}"
        found, self.causes = _circumstances.ended(what, self.container, state, before["StartedAt"], code)
        if not self.causes and remedy:
            found.remedy = remedy
        return found


def begin(params, container):
    """Starts the container where that is wished, in the place of another or beside it: whether it was (bool)."""
    if not (params["start"] or params["instead_of"]):
        return False
    running = container.state()["Running"]
    if params["instead_of"]:
        Container(container.run, container.docker, params["instead_of"]).stop(params["stop_timeout"])
    container.start()
    return not running


def main():
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)
    params = module.params
    if module.check_mode:
        module.exit_json(changed=params["start"] or bool(params["instead_of"]), seconds=0.0, phases=[], log=[])
    container = Container(module.run_command, params["docker"], params["container"])
    wait = Wait(params, container, _aside.Aside(params["progress_file"]))
    try:
        with wait.aside:
            changed = begin(params, container)
            state = wait.until_ready()
    except Problem as problem:
        module.fail_json(
            msg=str(problem),
            problem=problem.as_dict(),
            phases=wait.progress.phases(time.monotonic()),
            causes=[cause.as_dict() for cause in wait.causes],
        )
    module.exit_json(
        changed=changed,
        seconds=round(age(state["StartedAt"], datetime.now(timezone.utc)), 1),
        phases=wait.progress.phases(time.monotonic()),
        log=container.log(params["log_lines"], state["StartedAt"]),
    )


if __name__ == "__main__":
    main()
