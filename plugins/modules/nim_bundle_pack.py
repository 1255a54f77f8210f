#!/usr/bin/python
# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: nim_bundle_pack
short_description: Pack all that the releases of this host are made of, for servers that reach neither hub nor registry
version_added: 0.1.0
author: The llmops.nim authors (@llmops)
description:
  - A bundle is a directory with C(bundle.json), its manifest, and the images, snapshots of weights and NIM caches that
    the manifest names, each file with its size and sha256. Any program that copies files can carry it.
    M(llmops.nim.nim_bundle_info) reads it on the control node, M(llmops.nim.nim_bundle_unpack) takes it in on a server.
  - What is packed is what the host has. NIM fills its cache, with an NGC key, where a release is listed and started. So
    pack on a host where the releases serve.
  - Weights are hard links to those of the snapshot, or share their blocks, where the file system can do that; else they
    are copies. The manifest is written last, so a directory with a manifest is a whole bundle.
attributes:
  check_mode:
    support: full
    description: Makes all checks, and writes nothing.
  diff_mode:
    support: none
    description: What it writes is not for reading.
  idempotent:
    support: none
    description: It packs anew each time.
options:
  directory:
    description: The absolute path of the bundle. What is there already must be a bundle, or empty, and is replaced.
    type: path
    required: true
  models:
    description: What is to be packed, as the filter P(llmops.nim.to_bundle#filter) returns it.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: The model.
        type: str
        required: true
      image:
        description: What the image is, one of RV(llmops.nim.nim_image_info#module:images).
        type: dict
        required: true
      weights:
        description: The C(repo), C(revision), C(commit) and C(snapshot) (its name) of the weights.
        type: dict
        required: true
      checkpoint:
        description: What the checkpoint is, one of RV(llmops.nim.nim_weights_info#module:checkpoints).
        type: dict
        default: {}
      engine:
        description: The engine that the release uses. Others in the cache stay behind.
        type: str
  caches:
    description: Whether to pack the models' NIM caches. Images that fetch nothing from NGC do without.
    type: bool
    default: true
  weights_dir:
    description: The absolute path of the directory that holds objects and snapshots.
    type: path
    default: /var/lib/nim/weights
  home:
    description: The directory of the models' caches.
    type: path
    default: /var/lib/nim
  reserve_bytes:
    description: The free space in bytes that must be left on the disk of O(directory).
    type: int
    default: 1073741824
  docker:
    description: The docker command.
    type: str
    default: docker
notes:
  - Needs Linux.
  - Archives have mode 0600 and belong to the user who logged in (by C(SUDO_UID)), so that M(ansible.builtin.fetch) can
    take them without becoming another user, and thus without loading them into memory.
seealso:
  - module: llmops.nim.nim_bundle_info
  - module: llmops.nim.nim_bundle_unpack
"""

EXAMPLES = r"""
- name: Pack what serves here
  llmops.nim.nim_bundle_pack:
    directory: /var/lib/nim/weights/bundle
    models: "{{ nim_plan | llmops.nim.to_bundle(ngc_images.images, weights_revisions) }}"
  register: packed
"""

RETURN = r"""
files:
  description: The paths of all files in the bundle, relative to O(directory), the manifest last.
  type: list
  elements: str
  returned: success, and not in check mode
digest:
  description: The digest (64 hex digits) that stands for the whole bundle.
  type: str
  returned: success, and not in check mode
bytes:
  description: The size of the bundle in bytes; in check mode an estimate.
  type: int
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

from ansible_collections.llmops.nim.plugins.module_utils import _bundle_pack
from ansible_collections.llmops.nim.plugins.module_utils._problem import Problem, Refused, report

ARGUMENT_SPEC = {
    "directory": {"type": "path", "required": True},
    "models": {
        "type": "list",
        "elements": "dict",
        "required": True,
        "options": {
            "name": {"type": "str", "required": True},
            "image": {"type": "dict", "required": True},
            "weights": {"type": "dict", "required": True},
            "checkpoint": {"type": "dict", "default": {}},
            "engine": {"type": "str"},
        },
    },
    "caches": {"type": "bool", "default": True},
    "weights_dir": {"type": "path", "default": "/var/lib/nim/weights"},
    "home": {"type": "path", "default": "/var/lib/nim"},
    "reserve_bytes": {"type": "int", "default": 1024**3},
    "docker": {"type": "str", "default": "docker"},
}


def main():
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    os.umask(0o022)
    try:
        packing = _bundle_pack.Packing(module.params)
        packing.look()
        result = {"bytes": packing.bytes}
        if not module.check_mode:
            document = packing.write()
            files = document["files"]
            total = sum(file["size"] for file in files.values())
            result = {"files": [*files, _bundle_pack.MANIFEST], "digest": document["digest"], "bytes": total}
        module.exit_json(changed=True, **result)
    except (Problem, Refused) as error:
        problems = error.problems if isinstance(error, Refused) else [error]
        told = [problem.as_dict() for problem in problems]
        module.fail_json(msg=report(problems), problem=told[0], problems=told)


if __name__ == "__main__":
    main()
