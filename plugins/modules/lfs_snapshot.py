#!/usr/bin/python
# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: lfs_snapshot
short_description: Have the files of a hub repository at a commit on the host, proven and read-only
version_added: 0.1.0
author: The llmops.nim authors (@llmops)
description:
  - Fetches a model repository of the Hugging Face hub, or of any server that speaks git over HTTP with Git LFS, and
    publishes it as a read-only directory named by the commit. The directory appears complete or not at all.
  - The repository is cloned without large files and judged first. A missing C(config.json), tokenizer or shard, a
    pointer in the place of a file, a symbolic link or a full disk is told before anything large is downloaded.
  - Large files are fetched by C(git lfs fetch) into one store for all repositories, beneath O(weights_dir)C(/objects),
    and linked from there into the snapshot, so there is one copy on the disk and a shard that several commits share
    is fetched once. The sha256 of each is compared with the pointer before it is linked.
  - A download that was cut, or whose run was killed, goes on where it stopped. A hub that is busy is asked again when
    it wants to be, an address that has expired is asked for anew.
  - The work is done by a process of its own, which goes on when the connection of the control node ends. The next run
    waits for it, and finds what it has done.
  - How far it is stands in C(progress.json) beside the snapshots, a JSON object that is replaced every second while
    bytes come. Its keys are C(repo), C(commit), C(phase) (C(fetching), C(proving), then C(published) or C(failed)),
    C(bytes) and C(total) of the large files, C(rate) in bytes a second, C(seconds_left) or null, and C(updated), a time
    in UTC.
  - Where the snapshot is complete nothing is written, and with a commit as O(revision) nothing is connected to. The
    check compares names, sizes, modes and modification times, and does not read the files again.
extends_documentation_fragment:
  - llmops.nim.selection
  - llmops.nim.snapshot
  - llmops.nim.snapshot.published
  - llmops.nim.transfer
  - llmops.nim.transfer.begins
  - llmops.nim.progress
attributes:
  check_mode:
    support: full
    description:
      - Reads the small part of the repository into a temporary directory, makes all checks that come before the
        download, and tells what would be fetched. Where git is not installed yet, the sizes are unknown.
  diff_mode:
    support: full
    description: Shows the digest of the snapshot before and after.
  idempotent:
    support: full
    description: Nothing is changed where the snapshot is complete.
options:
  revision:
    description:
      - A branch, a tag or a commit. A commit (40 hex digits) is best, since it means the same everywhere and always.
    type: str
    default: main
  endpoint:
    description: The address of the hub.
    type: str
    default: https://huggingface.co
  token:
    description:
      - The token for repositories that are gated or private. It is given to the address in O(endpoint) only, and
        written nowhere.
    type: str
  transfers:
    description: How many files to download at the same time.
    type: int
    default: 8
  retries:
    description:
      - How often in a row to ask again, after growing pauses, when the connection breaks or the hub is busy and no byte
        came in between. As long as bytes come, it goes on.
    type: int
    default: 3
requirements:
  - git and git-lfs on the host
notes:
  - Needs Linux.
seealso:
  - module: llmops.nim.nim_transfers
  - name: Git LFS
    description: The specification of pointers and the batch API.
    link: https://github.com/git-lfs/git-lfs/tree/main/docs
"""

EXAMPLES = r"""
- name: Have the fine-tuned weights on the host
  llmops.nim.lfs_snapshot:
    repo: nvidia/OpenMath2-Llama3.1-8B
    revision: main
    token: "{{ lookup('ansible.builtin.env', 'HF_TOKEN') }}"
  register: snapshot

- name: Show where they are
  ansible.builtin.debug:
    msg: "{{ snapshot.path }}: {{ snapshot.files }} files, {{ snapshot.manifest_sha256 }}"

- name: Begin to fetch them, and wait for nothing
  llmops.nim.lfs_snapshot:
    repo: nvidia/OpenMath2-Llama3.1-8B
    revision: 0a4c7e01b2d9c3f4a5b6c7d8e9f0011223344556
    wait: false
  register: begun
"""

RETURN = r"""
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
      Null where it is not known yet, in check mode or without O(wait).
  type: str
  returned: success
files:
  description: The number of files. Null where it is not known yet.
  type: int
  returned: success
bytes_total:
  description: The size of all files in bytes. Null where it is not known yet.
  type: int
  returned: success
bytes_fetched:
  description:
    - The size in bytes of the large files that were not in the store and had to be fetched; in check mode, that would
      have to be. Null where it is not known yet.
  type: int
  returned: success
checkpoint:
  description:
    - What the files say about the model, by the same names as in C(checkpoints) of
      M(llmops.nim.nim_weights_info). What they do not say is null, and in check mode what only the
      headers of weights say. Empty in check mode where nothing is known yet.
  type: dict
  returned: success
  sample: {"architecture": "LlamaForCausalLM", "precision": "bf16", "has_chat_template": true}
transfer:
  description: The name by which M(llmops.nim.nim_transfers) waits for it.
  type: str
  returned: where it is on its way, without O(wait)
  sample: weights-lab--Llama-3.2-1B-capitals@0a4c7e01b2d9c3f4a5b6c7d8e9f0011223344556
checkpoint_warnings:
  description:
    - What is doubtful about the checkpoint, each like one of RV(problems). Empty in check mode where it is not known
      yet.
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
import shutil
import tempfile

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.llmops.nim.plugins.module_utils import (
    _aside,
    _checkpoint,
    _checkpoint_local,
    _clone,
    _detached,
    _disk,
    _files,
    _hub,
    _lfs,
    _lfs_failures,
    _links,
    _patience,
    _progress,
    _selection,
    _snapshot,
    _transfers,
)
from ansible_collections.llmops.nim.plugins.module_utils._problem import Problem, Refused, report

ARGUMENT_SPEC = {
    "repo": {"type": "str", "required": True},
    "revision": {"type": "str", "default": "main"},
    "endpoint": {"type": "str", "default": _hub.HUB},
    "token": {"type": "str", "no_log": True},
    "weights_dir": {"type": "path", "default": "/var/lib/nim/weights"},
    **_selection.ARGUMENT_SPEC,
    "allow_pickle": {"type": "bool", "default": False},
    "transfers": {"type": "int", "default": 8},
    "reserve_bytes": {"type": "int", "default": 1024**3},
    "retries": {"type": "int", "default": 3},
    "lock_timeout": {"type": "int", "default": 600},
    **_transfers.BEGINS,
    **_aside.ARGUMENT_SPEC,
}


class Run:
    """One pass: observe, and where the snapshot is not complete, plan, fetch, prove and publish it."""

    def __init__(self, module, aside):
        self.module, self.aside = module, aside
        self.wanted = module.params
        self.token = module.params["token"] or None
        self.commit = None
        self.shares = True  # whether the snapshot takes no space beside the store, as far as it is known
        self.fetched = set()
        self.warnings = []

    def ensure(self):
        """The module's result (dict)."""
        wanted = self.wanted
        hub = (wanted["endpoint"], wanted["repo"], wanted["revision"], self.token)
        _hub.check(*hub)
        self.selection = _selection.Selection(wanted["include"], wanted["exclude"])
        self.commit = _hub.resolve(self.module.run_command, *hub)
        self.spot = _snapshot.place(wanted["weights_dir"], wanted["repo"], self.commit + self.selection.suffix)
        found = self.published(say=True)
        if found:
            return self.result(found)
        if self.module.check_mode:
            return self.foresee() if shutil.which("git") else self.unknown()
        if not wanted["wait"]:
            return self.begun()
        result, problems, head, self.warnings = _detached.call(lambda: (*self.told(self.work), self.warnings))
        if problems:
            found = [Problem(**problem) for problem in problems]
            raise Refused(found) if head else found[0]
        return result

    def told(self, act):
        """What act() returns, or None; the problems (list of dict) it raises, or None; what comes before them (str)."""
        try:
            return act(), None, ""
        except Refused as refused:
            head = f"{self.wanted['repo']} at {self.commit} is refused.\n"
            return None, [problem.as_dict() for problem in refused.problems], head
        except Problem as problem:
            return None, [problem.as_dict()], ""
        except OSError as error:
            return None, [_disk.problem(error).as_dict()], ""

    def work(self):
        """The module's result (dict), in a process that outlives the connection."""
        report_path = _progress.path(self.spot.home)
        patience = (self.wanted["lock_timeout"], lambda: _files.read_json(report_path))
        with _snapshot.locked(self.spot.lock, *patience) as descriptor:
            found = self.published()
            if found:  # by the run that held the lock before
                return self.result(found)
            return self.make(self.clone(self.spot.git, (descriptor,)))

    def begun(self):
        """Have it worked at, by a process that nobody waits for."""
        subject = {"repo": self.wanted["repo"], "commit": self.commit}
        name = "weights-" + "@".join((os.path.basename(self.spot.home), os.path.basename(self.spot.path)))
        what = "weights {repo} at {commit}".format(**subject)

        def work():
            return self.told(self.work)[1] or [], self.warnings

        begun = _transfers.begin(
            self.wanted["transfers_dir"], name, what, work, _progress.path(self.spot.home), subject
        )
        return {**self.unread(), "changed": begun, "transfer": name}

    def clone(self, git_dir, pass_fds=()):
        hub = (self.wanted["endpoint"], self.wanted["repo"], self.token)
        return _clone.Clone(self.module.run_command, *hub, self.commit, git_dir, pass_fds)

    def published(self, say=False):
        """The manifest (dict) of the snapshot if it is there and as published, else None."""
        found, altered = _snapshot.look(self.spot)
        if altered and say:
            verb = "would be" if self.module.check_mode else "is"
            self.warnings.append(f"{self.spot.path} was altered and {verb} made anew: " + ", ".join(altered[:10]))
        if altered or not found or found.get("selection") != self.selection.as_dict():
            return None
        return found

    def foresee(self):
        """What make() would do, from a clone of the small files in a temporary directory."""
        with tempfile.TemporaryDirectory(prefix="lfs_snapshot.") as scratch:
            document, _entries, pointers = self.plan(self.clone(os.path.join(scratch, "git")))
        self.fetched = _lfs.missing(self.spot.store, pointers.values())
        return self.result(document, changed=True)

    def make(self, clone):
        """Fetch, prove and publish, with the lock held."""
        new = _snapshot.is_new(self.spot)
        _snapshot.clean(self.spot.home)
        try:
            self.shares = _links.shares(self.spot.home)
            clone.link_store(self.spot.store)
            document, entries, pointers = self.plan(clone)
        except (Problem, Refused):
            if new:  # a refusal leaves no trace
                _snapshot.forget(self.spot)
            raise
        _snapshot.write_manifest(self.spot.path + _snapshot.PLANNED, document)
        with self.progress(clone, pointers) as progress:
            self.fetch(clone, pointers, entries)
            progress.turn(_progress.PROVING)
            self.publish(clone, document, entries, pointers)
        return self.result(document, changed=True)

    def publish(self, clone, document, entries, pointers):
        """Judge what was fetched, and publish it."""
        headers = {
            path: _checkpoint_local.header(path, _lfs.object_path(self.spot.store, pointer.oid))
            for path, pointer in pointers.items()
            if _checkpoint_local.is_safetensors(path)
        }
        _snapshot.judge(document, *self.inspect(headers))
        with _clone.Blobs(clone.git_dir) as blobs:
            copied = _snapshot.publish(self.spot, document, lambda file: blobs.blocks(entries[file["path"]]))
        if copied:
            self.warnings.append("Copied, for want of hard links, and taking their space twice: " + ", ".join(copied))

    def progress(self, clone, pointers):
        """The file (Progress) that tells others how far the fetch of pointers is."""
        wanted = set(pointers.values())
        total = sum(pointer.size for pointer in wanted)

        def measure():
            missing = _lfs.missing(self.spot.store, wanted)
            there = sum(_lfs.incomplete(clone.incomplete, missing).values())
            return total - sum(pointer.size for pointer in missing) + there, total

        subject = {"repo": self.wanted["repo"], "commit": self.commit}
        return _progress.Progress(_progress.path(self.spot.home), subject, measure, self.tell)

    def tell(self, words):
        """Say how far it is, by what the file of progress says (dict): of the bytes while they come."""
        what, pace = f"{words['phase']} weights", {key: words[key] for key in ("rate", "seconds_left")}
        if words["phase"] == _progress.FETCHING:
            self.aside.tell(what, words["bytes"], words["total"], **pace)
        else:
            self.aside.tell(what)

    def plan(self, clone):
        """The manifest to be (dict), path -> Entry, and path -> Pointer; raises all that is against it."""
        if not self.module.check_mode:
            clone.need_lfs()
        clone.fetch(self.wanted["retries"])
        entries, problems = clone.tree()
        chosen = self.selection.take([entry.path for entry in entries])
        entries = {entry.path: entry for entry in entries if entry.path in chosen}
        files, contents, pointers = clone.survey(entries.values(), _checkpoint.TEXTS)
        large = {path: pointers[path] for path in _checkpoint.TEXTS if path in pointers}
        if large and not self.module.check_mode:
            self.fetch(clone, large, entries)
        for path, pointer in large.items():
            if not _lfs.missing(self.spot.store, [pointer]):
                contents[path] = self.content(pointer)
        sizes = {file["path"]: file["size"] for file in files}
        self.material = (sizes, contents, clone.untracked(list(pointers)))
        facts, warnings = self.inspect({}, problems + self.space(pointers.values(), clone.incomplete))
        document = _snapshot.manifest(self.wanted["repo"], self.commit, self.selection.as_dict(), files)
        _snapshot.judge(document, facts, warnings)
        return document, entries, pointers

    def inspect(self, headers, problems=()):
        """The checkpoint's facts and warnings, from what plan() has read and the headers (path -> tensors or Problem).

        Raises what is wrong with it, the problems given included.
        """
        found, warnings, facts = _checkpoint_local.inspect(*self.material, headers, self.wanted["allow_pickle"])
        if problems or found:
            raise Refused([*problems, *found])
        return facts, warnings

    def space(self, pointers, incomplete):
        """What the disk says to fetching those of pointers that are not there yet (list of Problem)."""
        missing = _lfs.missing(self.spot.store, pointers)
        fetch = sum(pointer.size for pointer in missing) - sum(_lfs.incomplete(incomplete, missing).values())
        copies = 0 if self.shares else sum(pointer.size for pointer in pointers)
        return _links.need_space(self.spot.store, fetch, self.wanted["reserve_bytes"], copies)

    def fetch(self, clone, pointers, entries):
        """Have the objects of pointers (path -> Pointer) in the store, each proven; entries: path -> Entry."""
        store, wanted = self.spot.store, set(pointers.values())
        paths = {pointer.oid: path for path, pointer in pointers.items()}
        healed = _lfs.prove(store, wanted)
        if healed:
            self.warnings.append(
                "Not what they should be, and fetched anew: " + ", ".join(paths[oid] for oid in healed)
            )
        missing = _lfs.missing(store, wanted)
        if not missing:
            return
        self.fetched |= missing
        suspects = set()

        def progress():
            left = sum(pointer.size for pointer in _lfs.missing(store, missing))
            return sum(_lfs.incomplete(clone.incomplete, missing).values()) - left

        def attempt():
            _lfs.adopt(clone.incomplete, _lfs.missing(store, missing))
            worked, text = clone.fetch_objects(
                self.wanted["transfers"], self.wanted["retries"], [entries[path] for path in pointers], progress
            )
            wrong = _lfs_failures.mismatched(text)
            _lfs.discard(clone.incomplete, wrong)
            if wrong - suspects:  # bytes that an earlier run left may be at fault: once more, from the first byte
                suspects.update(wrong)
                return attempt()
            if worked:
                return None
            problem = _lfs_failures.explain(text, paths, *clone.hub, self.commit, self.token)
            left = _lfs.missing(store, missing)
            if problem.code == _hub.UNKNOWN and left:
                return clone.asked_for(paths[min(left).oid], problem)
            return problem

        problem = _patience.persist(attempt, progress, self.wanted["retries"], clone.wait_asked)
        if problem and problem.code == "token_invalid" and clone.accepted:
            problem = _hub.revoked(problem)
        if problem:
            raise problem
        wrong = _lfs.prove(store, missing) | {pointer.oid for pointer in _lfs.missing(store, missing)}
        if wrong:
            raise _lfs_failures.corrupt(
                wrong, paths, "git-lfs took it; its sha256 is another, and it is out of the store again"
            )

    def content(self, pointer):
        """The object's bytes."""
        with open(_lfs.object_path(self.spot.store, pointer.oid), "rb") as stream:
            return stream.read()

    def result(self, document, changed=False):
        """What the module returns for a manifest (dict)."""
        return _snapshot.told(self.spot, document, sum(pointer.size for pointer in self.fetched), changed)

    def unknown(self):
        """What can be said in check mode on a host without git."""
        self.warnings.append(f"git is not installed yet: what {self.wanted['repo']} needs is not known.")
        return self.unread()

    def unread(self):
        """The module's result, as long as no file of the snapshot was read."""
        return {
            "changed": True,
            "path": self.spot.path,
            "commit": self.commit,
            "manifest": self.spot.manifest,
            "checkpoint": {},
            "checkpoint_warnings": [],
            **dict.fromkeys(("manifest_sha256", "files", "bytes_total", "bytes_fetched")),
        }


def main():
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    os.umask(0o027)
    # What nobody waits for tells where nim_transfers looks.
    with _aside.Aside(module.params["progress_file"] if module.params["wait"] else None) as aside:
        run = Run(module, aside)
        result, problems, head = run.told(run.ensure)
    for warning in run.warnings:
        module.warn(warning)
    if result:
        module.exit_json(**result)
    message = head + report([Problem(**problem) for problem in problems])
    module.fail_json(msg=message, problem=problems[0], problems=problems)


if __name__ == "__main__":
    main()
