#!/usr/bin/python
# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: weights_import
short_description: Prove a parcel of weights and publish the snapshot that it holds
version_added: 0.1.0
author: The llmops.nim authors (@llmops)
description:
  - Takes a parcel, as M(llmops.nim.weights_export) makes it, and leaves the same as M(llmops.nim.lfs_snapshot) would
    have done, without a hub and without git. Objects in the store, and a read-only snapshot that appears complete or
    not at all.
  - The parcel is not believed. The sha256 of each file is compared with the manifest, the manifest's digest with
    O(manifest_sha256), and the checkpoint is judged as after a download. A file that is missing, altered or not named
    in the manifest, a link, or a path that leads out of the snapshot is an error, and nothing is published.
  - Large files that the host has already, proven, need not be in the parcel.
extends_documentation_fragment:
  - llmops.nim.selection
  - llmops.nim.snapshot
  - llmops.nim.snapshot.published
attributes:
  check_mode:
    support: full
    description:
      - Reads the manifest and compares sizes. Tells in RV(missing) what has yet to come, and does not mind that it has.
  diff_mode:
    support: full
    description: Shows the digest of the snapshot before and after.
  idempotent:
    support: full
    description: Where the snapshot is complete the parcel is not looked at, and with O(move) removed.
options:
  directory:
    description: The absolute path of the parcel.
    type: path
    required: true
  repo:
    description: The repository, as C(organisation/name), that the parcel must be of.
  commit:
    description: The commit (40 hex digits) that the parcel must be of.
    type: str
    required: true
  manifest_sha256:
    description: The digest that the snapshot must have, if it is known from elsewhere.
    type: str
  move:
    description:
      - Whether the parcel may be used up. It is then removed once the snapshot is there.
      - In any case its large files are linked into the store where that can be done, and become read-only by that.
        They are copied where they belong to another user or lie on another file system.
    type: bool
    default: false
notes:
  - Needs Linux.
seealso:
  - module: llmops.nim.weights_export
  - module: llmops.nim.lfs_snapshot
"""

EXAMPLES = r"""
- name: Ask what has yet to come, with the manifest alone in the directory
  llmops.nim.weights_import:
    directory: /var/lib/nim/weights/parcel
    repo: nvidia/OpenMath2-Llama3.1-8B
    commit: 0a4c7e01b2d9c3f4a5b6c7d8e9f0011223344556
  check_mode: true
  register: parcel

- name: Prove and publish the weights, once the files are there
  llmops.nim.weights_import:
    directory: /var/lib/nim/weights/parcel
    repo: nvidia/OpenMath2-Llama3.1-8B
    commit: 0a4c7e01b2d9c3f4a5b6c7d8e9f0011223344556
    move: true
"""

RETURN = r"""
missing:
  description:
    - The files that would have to come, or to come again. In check mode by their sizes, and on failure by their sha256
      as well. Empty once the snapshot is there.
  type: list
  elements: dict
  returned: once the manifest was read
  contains:
    sha256:
      description: The sha256 (64 hex digits), which is also the name in C(files/) of the parcel.
      type: str
    size:
      description: The size in bytes.
      type: int
path:
  description:
    - The absolute path of the snapshot. In check mode, where it would be.
  type: str
  returned: success
  sample: /var/lib/nim/weights/lab--Llama-3.2-1B-capitals/0a4c7e01b2d9c3f4a5b6c7d8e9f00112233445566
commit:
  description: The commit, 40 hex digits.
  type: str
  returned: success
manifest:
  description: The path of the manifest, which names each file with its size and sha256.
  type: str
  returned: success
manifest_sha256:
  description:
    - The digest of all file names and contents. In the snapshot,
      C(find . -type f -printf '%P\\0' | LC_ALL=C sort -z | xargs -0 sha256sum | sha256sum) gives the same.
  type: str
  returned: success
files:
  description: The number of files.
  type: int
  returned: success
bytes_total:
  description: The size of all files in bytes.
  type: int
  returned: success
bytes_fetched:
  description:
    - The size in bytes of the large files that were not in the store; in check mode, that are not there yet.
  type: int
  returned: success
checkpoint:
  description:
    - What the files say about the model, by the same names as in C(checkpoints) of
      M(llmops.nim.nim_weights_info). What they do not say is null. In check mode, what the parcel's manifest says.
  type: dict
  returned: success
  sample: {"architecture": "LlamaForCausalLM", "precision": "bf16", "has_chat_template": true}
checkpoint_warnings:
  description:
    - What is doubtful about the checkpoint, each like one of RV(problems).
  type: list
  elements: dict
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

from ansible_collections.llmops.nim.plugins.module_utils import (
    _disk,
    _hub,
    _lfs,
    _parcel,
    _parcel_import,
    _selection,
    _snapshot,
)
from ansible_collections.llmops.nim.plugins.module_utils._problem import Problem, Refused, report

ARGUMENT_SPEC = {
    "directory": {"type": "path", "required": True},
    "repo": {"type": "str", "required": True},
    "commit": {"type": "str", "required": True},
    "manifest_sha256": {"type": "str"},
    **_selection.ARGUMENT_SPEC,
    "allow_pickle": {"type": "bool", "default": False},
    "weights_dir": {"type": "path", "default": "/var/lib/nim/weights"},
    "reserve_bytes": {"type": "int", "default": 1024**3},
    "lock_timeout": {"type": "int", "default": 600},
    "move": {"type": "bool", "default": False},
}


class Run:
    """One pass: observe, and where the snapshot is not complete, prove the parcel and publish it."""

    def __init__(self, module):
        self.module, self.wanted = module, module.params
        self.missing = None

    def ensure(self):
        """The module's result (dict)."""
        wanted = self.wanted
        _hub.check_commit(wanted["repo"], wanted["commit"])
        selection = _selection.Selection(wanted["include"], wanted["exclude"])
        self.spot = _snapshot.place(wanted["weights_dir"], wanted["repo"], wanted["commit"] + selection.suffix)
        found = self.published(say=True)
        if found:
            return self.result(found)
        expected = (wanted["repo"], wanted["commit"], selection.as_dict(), wanted["manifest_sha256"])
        document = _parcel.read(wanted["directory"], *expected)
        needed = _parcel.needed(self.spot.store, document)
        self.tell(needed, _parcel.absent(wanted["directory"], needed))
        if self.module.check_mode:
            return self.result(document, sum(_parcel_import.large(document, needed).values()), True)
        with _snapshot.locked(self.spot.lock, wanted["lock_timeout"]):
            found = self.published()
            if found:  # by the run that held the lock before
                return self.result(found)
            return self.make(document)

    def published(self, say=False):
        """The manifest (dict) of the snapshot if it is there and as published, else None."""
        found, altered = _snapshot.look(self.spot)
        if altered and say:
            verb = "would be" if self.module.check_mode else "is"
            self.module.warn(f"{self.spot.path} was altered and {verb} made anew: " + ", ".join(altered[:10]))
        if not found or altered:
            return None
        if self.wanted["manifest_sha256"] not in (None, found["digest"]):
            raise Problem(
                "The snapshot on this host is not the one that is wanted.",
                f"{self.spot.manifest} has the digest {found['digest']}, wanted is {self.wanted['manifest_sha256']}",
                "Find out which of the two is right; remove the snapshot if it is the other.",
                "snapshot_differs",
            )
        return found

    def tell(self, needed, missing):
        """Keep for the result what has yet to come: those of needed (sha256 -> size) named in missing."""
        self.missing = [{"sha256": sha256, "size": needed[sha256]} for sha256 in sorted(missing)]

    def make(self, document):
        """Prove and publish, with the lock held."""
        store, directory, new = self.spot.store, self.wanted["directory"], _snapshot.is_new(self.spot)
        _snapshot.clean(self.spot.home)
        _lfs.prove(store, [_lfs.Pointer(file["sha256"], file["size"]) for file in document["files"] if file["lfs"]])
        needed = _parcel.needed(store, document)
        parcel = _parcel_import.Import(self.spot, directory, document, needed)
        try:
            problems, again = _parcel.prove(directory, document, needed)
            self.tell(needed, again)
            if problems:
                raise Refused(problems)
            published = parcel.judge(self.wanted["allow_pickle"])
            parcel.need_space(self.wanted["reserve_bytes"])
        except (Problem, Refused):
            if new:  # a refusal leaves no trace
                _snapshot.forget(self.spot)
            raise
        copied = parcel.publish(published)
        if copied:
            self.module.warn("Copied, for want of hard links, and taking their space twice: " + ", ".join(copied))
        if self.wanted["move"]:
            _parcel.remove(directory, document)
        return self.result(published, parcel.fetched, True)

    def result(self, document, fetched=0, changed=False):
        """What the module returns for a manifest (dict) after so many bytes have come."""
        return {**_snapshot.told(self.spot, document, fetched, changed), "missing": self.missing or []}


def main():
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    os.umask(0o027)
    run = Run(module)
    try:
        result = run.ensure()
    except Refused as refused:
        problems = refused.problems
    except Problem as problem:
        problems = [problem]
    except OSError as error:
        problems = [_disk.problem(error)]
    else:
        module.exit_json(**result)
    told = [problem.as_dict() for problem in problems]
    known = {} if run.missing is None else {"missing": run.missing}
    module.fail_json(msg=report(problems), problem=told[0], problems=told, **known)


if __name__ == "__main__":
    main()
