#!/usr/bin/python
# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: nim_release_info
short_description: Read which releases a host has, and which of them serve
version_added: 0.1.0
author: The llmops.nim authors (@llmops)
description:
  - Reads the containers of this collection, running or not, and asks each running one on the host itself whether it
    is ready.
extends_documentation_fragment:
  - llmops.nim.reads_only
options:
  timeout:
    description: Seconds to wait for the health of a release.
    type: int
    default: 5
  docker:
    description: The docker command.
    type: str
    default: docker
"""

EXAMPLES = r"""
- name: Read the releases
  llmops.nim.nim_release_info:
  register: found
"""

RETURN = r"""
releases:
  description: >-
    The releases, by model, running ones first, newest first. Each has C(model), C(release), C(container), C(running),
    C(status), C(image), C(weights), C(commit), C(profile), C(profile_name), C(gpus), C(port), C(served_name),
    C(started), C(labels), C(health) (V(ready), V(not ready), or the container's status where it does not run) and
    C(age_seconds) (since its start; null where it does not run).
  returned: success
  type: list
  elements: dict
problem:
  description: What stands in the way, with C(what), C(evidence), C(remedy), C(code) and C(source).
  returned: failure
  type: dict
"""

from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timezone

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.llmops.nim.plugins.module_utils import _host, _host_docker
from ansible_collections.llmops.nim.plugins.module_utils._health import is_ready, url
from ansible_collections.llmops.nim.plugins.module_utils._models import LABEL
from ansible_collections.llmops.nim.plugins.module_utils._problem import Problem


def releases(docker):
    """The releases on the host; raises Problem when Docker does not answer."""
    listed = _host.run(_host_docker.commands(docker, ())["ps"])
    if listed.rc:
        error = listed.err.strip()
        raise _host_docker.unreachable({"installed": not listed.missing, "error": error})
    inspect = _host_docker.inspect_command(docker, _host_docker.ps(listed))
    return _host_docker.releases(_host.run(inspect)) if inspect else []


def age(started, now):
    """Seconds (int) between a start as Docker prints it and now (datetime with a time zone)."""
    # Docker prints nanoseconds, which no datetime takes.
    begin = datetime.strptime(started[:19], "%Y-%m-%dT%H:%M:%S").replace(tzinfo=timezone.utc)
    return int((now - begin).total_seconds())


def observed(release, timeout, now):
    """The release with C(health) and C(age_seconds)."""
    if not release["running"]:
        return dict(release, health=release["status"], age_seconds=None)
    ready = is_ready(url(release["port"], release["labels"][LABEL + "address"]), timeout)
    return dict(release, health="ready" if ready else "not ready", age_seconds=age(release["started"], now))


def main():
    module = AnsibleModule(
        argument_spec={"timeout": {"type": "int", "default": 5}, "docker": {"type": "str", "default": "docker"}},
        supports_check_mode=True,
    )
    try:
        found = releases(module.params["docker"])
    except Problem as problem:
        module.fail_json(msg=str(problem), problem=problem.as_dict())
    now = datetime.now(timezone.utc)
    with ThreadPoolExecutor(max_workers=8) as pool:
        seen = list(pool.map(lambda release: observed(release, module.params["timeout"], now), found))
    module.exit_json(changed=False, releases=seen)


if __name__ == "__main__":
    main()
