#!/usr/bin/python
# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: nim_release_info
short_description: Read which releases a host has, which of them serve, and where that is not what its ledger says
version_added: 0.1.0
author: The llmops.nim authors (@llmops)
description:
  - Reads the containers of this collection, running or not, and asks each running one on the host itself whether it
    is ready.
  - Compares them with the ledger (see M(llmops.nim.nim_ledger)) and with the weights on the disk. What differs is
    drift.
extends_documentation_fragment:
  - llmops.nim.reads_only
options:
  home:
    description: The directory of the ledgers and the lock.
    type: path
    default: /var/lib/nim
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
drift:
  description: >-
    Where the host is not as its ledger says. Each has C(model), C(release), C(container), C(kind) and C(what), a
    sentence. The kinds are V(unrecorded) (it runs, and the model has no ledger), V(not current) (it runs, and the
    ledger names another), V(not running) (the ledger names it, and it does not run), V(several) (several releases of
    the model run), V(image) (its image is not the one it was started with) and V(weights) (they are gone, or altered
    on the disk; told by names, sizes, modes and modification times).
  returned: success
  type: list
  elements: dict
ledgers:
  description: A dictionary of model to what M(llmops.nim.nim_ledger) returns as C(current), C(previous) and C(last).
  returned: success
  type: dict
lock:
  description: The lock of the host, as M(llmops.nim.nim_ledger) returns it; null where nobody holds it.
  returned: success
  type: dict
problem:
  description: What stands in the way, with C(what), C(evidence), C(remedy), C(code) and C(source).
  returned: failure
  type: dict
"""

from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timezone

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.llmops.nim.plugins.module_utils import _clock, _drift, _host, _host_docker, _ledger, _lock
from ansible_collections.llmops.nim.plugins.module_utils._health import is_ready, url
from ansible_collections.llmops.nim.plugins.module_utils._models import LABEL
from ansible_collections.llmops.nim.plugins.module_utils._problem import Problem

ARGUMENTS = {
    "home": {"type": "path", "default": "/var/lib/nim"},
    "timeout": {"type": "int", "default": 5},
    "docker": {"type": "str", "default": "docker"},
}


def releases(docker):
    """The releases on the host, and the id of each one's image (dict of container to str).

    Raises Problem when Docker does not answer.
    """
    listed = _host.run(_host_docker.commands(docker, ())["ps"])
    if listed.rc:
        error = listed.err.strip()
        raise _host_docker.unreachable({"installed": not listed.missing, "error": error})
    inspect = _host_docker.inspect_command(docker, _host_docker.ps(listed))
    if not inspect:
        return [], {}
    result = _host.run(inspect)
    ids = {(one.get("Name") or "").lstrip("/"): one.get("Image") for one in _host_docker.json_lines(result.out)}
    return _host_docker.releases(result), ids


def image_names(docker, ids):
    """The names that each container's image has (dict of container to list of str), where the image is known.

    ids: dict of container to the id of its image.
    """
    wanted = sorted({identity for identity in ids.values() if identity})
    if not wanted:
        return {}
    result = _host.run([docker, "image", "inspect", "--format", "{{json .}}", *wanted])
    names = {
        one.get("Id"): (one.get("RepoDigests") or []) + (one.get("RepoTags") or [])
        for one in _host_docker.json_lines(result.out)
    }
    return {container: names[identity] for container, identity in ids.items() if identity in names}


def observed(release, timeout, now):
    """The release with C(health) and C(age_seconds)."""
    if not release["running"]:
        return dict(release, health=release["status"], age_seconds=None)
    ready = is_ready(url(release["port"], release["labels"][LABEL + "address"]), timeout)
    health = "ready" if ready else "not ready"
    return dict(release, health=health, age_seconds=_clock.seconds_since(release["started"], now))


def main():
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)
    home, docker = module.params["home"], module.params["docker"]
    try:
        found, ids = releases(docker)
    except Problem as problem:
        module.fail_json(msg=str(problem), problem=problem.as_dict())
    now = datetime.now(timezone.utc)
    with ThreadPoolExecutor(max_workers=8) as pool:
        seen = list(pool.map(lambda release: observed(release, module.params["timeout"], now), found))
    ledgers = {model: _ledger.read(home, model) for model in _ledger.models(home)}
    weights = {release["container"]: _drift.altered(release) for release in found}
    module.exit_json(
        changed=False,
        releases=seen,
        drift=_drift.drift(found, ledgers, image_names(docker, ids), weights),
        ledgers=ledgers,
        lock=_lock.read(_lock.path(home)),
    )


if __name__ == "__main__":
    main()
