#!/usr/bin/python
# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: nim_ready
short_description: Wait until a NIM container is ready, and know why when it never will be
version_added: 0.1.0
author: The llmops.nim authors (@llmops)
description:
  - Waits until C(/v1/health/ready) of a NIM answers 200. Only the status code counts, since the wording of the answer
    differs between NIM versions.
  - Fails as soon as the container has ended or is restarted by Docker, with the last lines of its log.
attributes:
  check_mode:
    support: full
    description: Reads only. In check mode it does not wait.
  diff_mode:
    support: none
    description: Changes nothing.
  idempotent:
    support: full
    description: Changes nothing.
options:
  container:
    description: Name of the container.
    type: str
    required: true
  url:
    description: The address that answers 200 when the service is ready, as seen from the host.
    type: str
    required: true
  timeout:
    description:
      - Seconds to wait at most.
      - A first start that downloads or builds an engine has been seen to take an hour.
    type: int
    default: 3600
  log_lines:
    description: How many of the log's last lines are returned, and quoted by a failure.
    type: int
    default: 25
  docker:
    description: The docker command.
    type: str
    default: docker
"""

EXAMPLES = r"""
- name: Wait for the model
  llmops.nim.nim_ready:
    container: nim-openmath2-8b-1a2b3c4d
    url: http://127.0.0.1:8000/v1/health/ready
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
  description: The phases seen while waiting, in order, each with its length in seconds.
  returned: always
  type: list
  elements: dict
  sample: [{"phase": "building the engine", "seconds": 84.1}, {"phase": "loading", "seconds": 3.2}]
problem:
  description: What stands in the way, with C(what), C(evidence), C(remedy), C(code) and C(source).
  returned: failure
  type: dict
"""

import time
from datetime import datetime, timezone

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.llmops.nim.plugins.module_utils._container import Container, age
from ansible_collections.llmops.nim.plugins.module_utils._health import is_ready
from ansible_collections.llmops.nim.plugins.module_utils._problem import Problem
from ansible_collections.llmops.nim.plugins.module_utils._readiness import Progress, verdict

POLL_SECONDS = 0.5


def wait(params, container, progress, begin):
    """The container's state (dict) once it is ready; raises Problem when it never will be, or time is up."""
    restarts = container.state()["RestartCount"]
    while True:
        now = time.monotonic()
        state = container.state()
        never = verdict(state, restarts)
        if never and state["Status"] == "running":
            # Started again already, it has forgotten how it ended.
            never = verdict(dict(state, ExitCode=container.last_exit()), restarts)
        if never:
            raise Problem(
                f"Container {container.name} did not become ready: {never}",
                "\n".join(container.log(params["log_lines"])),
                f"the cause usually stands above the last line; whole log: docker logs {container.name}",
                "container_ended",
            )
        # While it does not run, another service may answer at its address.
        if state["Status"] == "running" and is_ready(params["url"]):
            progress.ready(now)
            return state
        progress.read(container.log(40), now)
        if now - begin > params["timeout"]:
            raise Problem(
                f"Container {container.name} is not ready after {params['timeout']} s (phase: {progress.phase})",
                "\n".join(container.log(params["log_lines"])),
                "raise nim_container_ready_timeout if it still makes progress",
                "not_ready",
            )
        time.sleep(POLL_SECONDS)


def main():
    module = AnsibleModule(
        argument_spec={
            "container": {"type": "str", "required": True},
            "url": {"type": "str", "required": True},
            "timeout": {"type": "int", "default": 3600},
            "log_lines": {"type": "int", "default": 25},
            "docker": {"type": "str", "default": "docker"},
        },
        supports_check_mode=True,
    )
    if module.check_mode:
        module.exit_json(changed=False, seconds=0.0, phases=[], log=[])
    params, begin = module.params, time.monotonic()
    container, progress = Container(module.run_command, params["docker"], params["container"]), Progress(begin)
    try:
        state = wait(params, container, progress, begin)
    except Problem as problem:
        module.fail_json(msg=str(problem), problem=problem.as_dict(), phases=progress.phases(time.monotonic()))
    module.exit_json(
        changed=False,
        seconds=round(age(state["StartedAt"], datetime.now(timezone.utc)), 1),
        phases=progress.phases(time.monotonic()),
        log=container.log(params["log_lines"]),
    )


if __name__ == "__main__":
    main()
