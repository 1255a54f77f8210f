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
  - llmops.nim.home
  - llmops.nim.commands
options:
  timeout:
    description: Seconds to wait for the health of a release.
    type: int
    default: 5
  deep:
    description:
      - Whether to read all files of the weights that serve, and compare their sha256 with the manifest. That takes as
        long as the disk needs for them.
    type: bool
    default: false
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
    on the disk; told by names, sizes, modes and modification times, and with O(deep) by their content, each file by
    name).
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

from ansible_collections.llmops.nim.plugins.module_utils import _drift, _host_releases, _ledger, _lock
from ansible_collections.llmops.nim.plugins.module_utils._problem import Problem

ARGUMENTS = {
    "home": {"type": "path", "default": "/var/lib/nim"},
    "timeout": {"type": "int", "default": 5},
    "deep": {"type": "bool", "default": False},
    "docker": {"type": "str", "default": "docker"},
}


def main():
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)
    home, docker = module.params["home"], module.params["docker"]
    try:
        found, ids = _host_releases.releases(docker, _host_releases.containers(docker))
    except Problem as problem:
        module.fail_json(msg=str(problem), problem=problem.as_dict())
    now = datetime.now(timezone.utc)
    with ThreadPoolExecutor(max_workers=8) as pool:
        seen = list(pool.map(lambda release: _host_releases.observed(release, module.params["timeout"], now), found))
    ledgers = {model: _ledger.read(home, model) for model in _ledger.models(home)}
    weights = {one["container"]: _drift.altered(one, module.params["deep"] and one["running"]) for one in found}
    module.exit_json(
        changed=False,
        releases=seen,
        drift=_drift.drift(found, ledgers, _host_releases.image_names(docker, ids), weights),
        ledgers=ledgers,
        lock=_lock.read(_lock.path(home)),
    )


if __name__ == "__main__":
    main()
