#!/usr/bin/python
# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: weights_export
short_description: Make a parcel of a snapshot of weights, to be brought to another host
version_added: 0.1.0
author: The llmops.nim authors (@llmops)
description:
  - A parcel is a directory with C(manifest.json), the snapshot's manifest, and C(files/<sha256>), each file of the
    snapshot once, named by its content. Any program that copies files can carry it. M(llmops.nim.weights_import)
    proves and publishes it.
  - The files are hard links to those of the snapshot, or share their blocks, where the file system can do that; else
    they are copies.
  - The snapshot is checked by names, sizes, modes and modification times, and with O(deep) read again as a whole.
  - The manifest is written last, so a directory with a manifest is a whole parcel.
extends_documentation_fragment:
  - llmops.nim.selection
  - llmops.nim.snapshot
attributes:
  check_mode:
    support: full
    description: Makes all checks, and tells whether anything would be written.
  diff_mode:
    support: none
    description: What it writes is not for reading.
  idempotent:
    support: full
    description: A parcel that is whole is left as it is.
options:
  commit:
    description: The commit (40 hex digits). Its snapshot must be on the host.
    type: str
    required: true
  directory:
    description: The absolute path of the parcel. What is there already must be a parcel, or empty.
    type: path
    required: true
  deep:
    description: Whether to read all files again and compare their sha256 with the manifest.
    type: bool
    default: false
  reserve_bytes:
    description: The free space in bytes that must be left on the disk of O(directory), where files must be copied.
notes:
  - Needs Linux.
seealso:
  - module: llmops.nim.weights_import
  - module: llmops.nim.lfs_snapshot
"""

EXAMPLES = r"""
- name: Make a parcel of the weights
  llmops.nim.weights_export:
    repo: nvidia/OpenMath2-Llama3.1-8B
    commit: 0a4c7e01b2d9c3f4a5b6c7d8e9f0011223344556
    directory: /var/lib/nim/weights/parcel
  register: parcel
"""

RETURN = r"""
directory:
  description: The absolute path of the parcel.
  type: str
  returned: success
manifest_sha256:
  description: The digest of the snapshot, by which O(llmops.nim.weights_import#module:manifest_sha256) knows it again.
  type: str
  returned: success
files:
  description: The number of files in the parcel, the manifest left aside. Equal files count once.
  type: int
  returned: success
bytes_total:
  description: Their size in bytes.
  type: int
  returned: success
copied:
  description: The sha256 of each file that had to be copied, and takes its space twice on this host.
  type: list
  elements: str
  returned: success
problems:
  description: What stands in the way, each with evidence and remedy.
  type: list
  elements: dict
  returned: failure
  contains:
    code:
      description: A stable word for programs.
      type: str
      sample: no_access
    what:
      description: What is wrong.
      type: str
    evidence:
      description: What was seen.
      type: str
    remedy:
      description: What to do.
      type: str
    source:
      description: Where the rule comes from.
      type: str
problem:
  description: The first of RV(problems).
  type: dict
  returned: failure
"""

import os

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.llmops.nim.plugins.module_utils import _hub, _links, _parcel, _selection, _snapshot
from ansible_collections.llmops.nim.plugins.module_utils._problem import Problem, Refused, report

ARGUMENT_SPEC = {
    "repo": {"type": "str", "required": True},
    "commit": {"type": "str", "required": True},
    "weights_dir": {"type": "path", "default": "/var/lib/nim/weights"},
    "directory": {"type": "path", "required": True},
    **_selection.ARGUMENT_SPEC,
    "deep": {"type": "bool", "default": False},
    "reserve_bytes": {"type": "int", "default": 1024**3},
}


def export(wanted, check_mode):
    """Have the parcel; what the module returns (dict)."""
    _hub.check_commit(wanted["repo"], wanted["commit"])
    selection = _selection.Selection(wanted["include"], wanted["exclude"])
    spot = _snapshot.place(wanted["weights_dir"], wanted["repo"], wanted["commit"] + selection.suffix)
    document, directory = _parcel.proven(spot, wanted["deep"]), wanted["directory"]
    sizes = _parcel.contents(document)
    changed = not os.path.isdir(directory) or not _parcel.is_whole(directory, document)
    copied = []
    if changed and os.stat(_links.there(directory)).st_dev != os.stat(spot.path).st_dev:
        problems = _links.need_space(directory, sum(sizes.values()), wanted["reserve_bytes"])
        if problems:
            raise Refused(problems)
    if changed and not check_mode:
        copied = _parcel.write(spot, document, directory)
    return {
        "changed": changed,
        "directory": directory,
        "manifest_sha256": document["digest"],
        "files": len(sizes),
        "bytes_total": sum(sizes.values()),
        "copied": copied,
    }


def main():
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    os.umask(0o027)
    try:
        result = export(module.params, module.check_mode)
    except Refused as refused:
        problems = refused.problems
    except Problem as problem:
        problems = [problem]
    else:
        module.exit_json(**result)
    told = [problem.as_dict() for problem in problems]
    module.fail_json(msg=report(problems), problem=told[0], problems=told)


if __name__ == "__main__":
    main()
