#!/usr/bin/python
# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: nim_bundle_info
short_description: Read what images and weights mean by a bundle, where neither registry nor hub can be asked
version_added: 0.1.0
author: The llmops.nim authors (@llmops)
description:
  - Reads the manifest of a bundle, as M(llmops.nim.nim_bundle_pack) makes it, and answers what
    M(llmops.nim.nim_image_info) and M(llmops.nim.nim_weights_info) answer elsewhere.
  - Refuses a bundle whose manifest was altered, one that lacks files or has files of another size, and one that does
    not hold what is wished for.
extends_documentation_fragment:
  - llmops.nim.reads_only
  - llmops.nim.selection
options:
  directory:
    description: The path of the bundle.
    type: path
    required: true
  digest:
    description: The digest that the bundle must have, if it is known from elsewhere, as M(llmops.nim.nim_bundle_pack)
      returned it.
    type: str
  images:
    description: The image references that are wished for.
    type: list
    elements: str
    default: []
  weights:
    description: The repositories and revisions that are wished for.
    type: list
    elements: dict
    default: []
    suboptions:
      repo:
        description: The repository, as C(organisation/name).
        type: str
        required: true
      revision:
        description: The branch, tag or commit, as it was when the bundle was made.
        type: str
        default: main
  deep:
    description: Whether to read all files and compare their sha256 with the manifest.
    type: bool
    default: false
seealso:
  - module: llmops.nim.nim_bundle_pack
"""

EXAMPLES = r"""
- name: Prove a bundle
  llmops.nim.nim_bundle_info:
    directory: /media/disk/bundle
    deep: true
"""

RETURN = r"""
images:
  description: >-
    As RV(llmops.nim.nim_image_info#module:images), but that C(pinned) is the image's id, C(archive_bytes) the size of
    its archive, and C(engines) the names of the engines in the bundle's caches.
  type: dict
  returned: success
commits:
  description: As RV(llmops.nim.nim_weights_info#module:commits).
  type: dict
  returned: success
snapshots:
  description: As RV(llmops.nim.nim_weights_info#module:snapshots).
  type: list
  elements: str
  returned: success
selection:
  description: As RV(llmops.nim.nim_weights_info#module:selection).
  type: str
  returned: success
checkpoints:
  description: As RV(llmops.nim.nim_weights_info#module:checkpoints), from when the bundle was made.
  type: dict
  returned: success
parcels:
  description: Where in the bundle the snapshots are, by C(repo@revision), each C(directory) and C(manifest_sha256).
  type: dict
  returned: success
manifest:
  description: The manifest, for M(llmops.nim.nim_bundle_unpack).
  type: dict
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

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.llmops.nim.plugins.module_utils import _bundle, _bundle_wishes, _selection
from ansible_collections.llmops.nim.plugins.module_utils._problem import Problem, Refused, report

ARGUMENT_SPEC = {
    "directory": {"type": "path", "required": True},
    "digest": {"type": "str"},
    "images": {"type": "list", "elements": "str", "default": []},
    "weights": {
        "type": "list",
        "elements": "dict",
        "default": [],
        "options": {
            "repo": {"type": "str", "required": True},
            "revision": {"type": "str", "default": "main"},
        },
    },
    **_selection.ARGUMENT_SPEC,
    "deep": {"type": "bool", "default": False},
}


def look(wanted):
    """What the module returns (dict) for its options (dict); raises Problem and Refused."""
    selection = _selection.Selection(wanted["include"], wanted["exclude"])
    document = _bundle.read(wanted["directory"], wanted["digest"])
    weights = [(one["repo"], one["revision"]) for one in wanted["weights"]]
    found = _bundle_wishes.resolved(document, wanted["images"], weights, selection)
    problems = _bundle.damage(wanted["directory"], document, wanted["deep"])
    if problems:
        raise Refused(problems)
    return dict(found, manifest=document)


def main():
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    try:
        module.exit_json(changed=False, **look(module.params))
    except (Problem, Refused) as error:
        problems = error.problems if isinstance(error, Refused) else [error]
        told = [problem.as_dict() for problem in problems]
        module.fail_json(msg=report(problems), problem=told[0], problems=told)


if __name__ == "__main__":
    main()
