#!/usr/bin/python
# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: nim_bundle_unpack
short_description: Have the images and NIM caches of a bundle on this host
version_added: 0.1.0
author: The llmops.nim authors (@llmops)
description:
  - In check mode tells which files of the bundle have to be brought to this host, and refuses where they do not belong
    here or have no room. Then, with those files in O(directory), proves each by its sha256, loads the images and
    unpacks the caches. The weights among the files are left to M(llmops.nim.weights_import).
  - The files are not believed. An image must have the config that its id says, and a cache must hold files, directories
    and links within it, and nothing else. Everything is proven before anything is loaded.
  - What the caches of this host have already stays as it is. In a cache it acts with the rights of its owner.
extends_documentation_fragment:
  - llmops.nim.nim_models
attributes:
  check_mode:
    support: full
    description: Tells in RV(missing) what has yet to come, and does not mind that it has.
  diff_mode:
    support: none
    description: What it writes is not for reading.
  idempotent:
    support: full
    description: Images and caches that are there are left as they are.
options:
  manifest:
    description: The manifest of the bundle, RV(llmops.nim.nim_bundle_info#module:manifest).
    type: dict
    required: true
  directory:
    description: The absolute path of the directory on this host that has, or will have, the files of the bundle.
    type: path
    required: true
  weights_dir:
    description: The absolute path of the directory that holds objects and snapshots.
    type: path
    default: /var/lib/nim/weights
  home:
    description: The directory of the models' caches, which must be there by the time they are unpacked.
    type: path
    default: /var/lib/nim
  reserve_bytes:
    description: The free space in bytes that must be left on each disk.
    type: int
    default: 1073741824
  docker:
    description: The docker command.
    type: str
    default: docker
notes:
  - Needs Linux, and a Docker that names images by their config, as all do that don't use the containerd image store.
seealso:
  - module: llmops.nim.nim_bundle_info
  - module: llmops.nim.weights_import
"""

EXAMPLES = r"""
- name: See what has to be brought here
  llmops.nim.nim_bundle_unpack:
    manifest: "{{ bundle.manifest }}"
    directory: /var/lib/nim/weights/bundle
    models: "{{ nim_models }}"
  check_mode: true
  register: lacking

- name: Load the images and unpack the caches
  llmops.nim.nim_bundle_unpack:
    manifest: "{{ bundle.manifest }}"
    directory: /var/lib/nim/weights/bundle
    models: "{{ nim_models }}"
"""

RETURN = r"""
missing:
  description: The paths of the files that have yet to come, relative to O(directory).
  type: list
  elements: str
  returned: success
images:
  description: The ids of the images that were loaded, or would be.
  type: list
  elements: str
  returned: success
caches:
  description: The models whose caches were unpacked, or would be.
  type: list
  elements: str
  returned: success
problems:
  description: What stands in the way, each with C(code), C(what), C(evidence), C(remedy) and C(source).
  type: list
  elements: dict
  returned: failure
problem:
  description: The first of RV(problems).
  type: dict
  returned: failure
"""

import os

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.llmops.nim.plugins.module_utils import _bundle, _bundle_unpack
from ansible_collections.llmops.nim.plugins.module_utils._models import MODELS_SPEC
from ansible_collections.llmops.nim.plugins.module_utils._problem import Problem, Refused, report

ARGUMENT_SPEC = {
    "models": MODELS_SPEC,
    "manifest": {"type": "dict", "required": True},
    "directory": {"type": "path", "required": True},
    "weights_dir": {"type": "path", "default": "/var/lib/nim/weights"},
    "home": {"type": "path", "default": "/var/lib/nim"},
    "reserve_bytes": {"type": "int", "default": 1024**3},
    "docker": {"type": "str", "default": "docker"},
}


def ensure(wanted, check_mode):
    """What the module returns (dict)."""
    fault = _bundle.fault(wanted["manifest"])
    if fault:
        raise Problem("The bundle's manifest is refused.", fault, "Make the bundle anew.", "bundle_invalid")
    unpacking = _bundle_unpack.Unpacking(wanted, wanted["manifest"])
    unpacking.look()
    if not check_mode:
        unpacking.prove()
        unpacking.act()
    return {
        "changed": bool(unpacking.images or unpacking.caches),
        "missing": list(unpacking.missing),
        "images": sorted(unpacking.images),
        "caches": sorted(unpacking.caches),
    }


def main():
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    os.umask(0o022)
    try:
        module.exit_json(**ensure(module.params, module.check_mode))
    except (Problem, Refused) as error:
        problems = error.problems if isinstance(error, Refused) else [error]
        told = [problem.as_dict() for problem in problems]
        module.fail_json(msg=report(problems), problem=told[0], problems=told)


if __name__ == "__main__":
    main()
