#!/usr/bin/python
# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: nim_prune
short_description: Remove old releases from a host, and nothing that a release which is kept needs
version_added: 0.1.0
author: The llmops.nim authors (@llmops)
description:
  - Removes stopped containers of old releases, and what no release needs any more, that is snapshots of weights,
    engines that NIM built, and images.
  - Always kept are what runs, the current release and the one before it (see M(llmops.nim.nim_ledger)), and what is
    staged and waits to be activated; and all that these need. Then come those that served last, then those that never
    served, until there are O(keep) of a model.
  - A snapshot that a container which is none of this collection's has mounted is kept, and so is an image that such a
    container uses or that has another name.
  - Large files go with the last snapshot that names them. The clones of repositories, with the small files, stay.
  - What runs have left that were cut off while they carried weights from host to host, or a bundle to this one, goes as
    well.
  - It holds the lock of the host meanwhile. Staging does not take that lock; so what nobody has used yet is kept for
    O(grace_seconds), and while weights are being fetched no snapshot goes.
  - Nothing is forced. What cannot be removed is among RV(kept), with Docker's or the system's own words.
extends_documentation_fragment:
  - llmops.nim.home
  - llmops.nim.commands
attributes:
  check_mode:
    support: full
    description: Tells what would go, and how much that would free.
  diff_mode:
    support: none
    description: The result lists what went.
  idempotent:
    support: full
    description: What is gone is not removed again.
options:
  weights_dir:
    description: The directory of the snapshots.
    type: path
    default: /var/lib/nim/weights
  models:
    description: The models to prune; all if it is empty. What the others have is kept.
    type: list
    elements: str
    default: []
  keep:
    description: How many releases of a model to keep, 1 or more.
    type: int
    default: 3
  releases:
    description:
      - Ids of releases. If there are any, these go and O(keep) has no say; with what no release needs any more.
      - One that runs, is current or is the way back is refused.
    type: list
    elements: str
    default: []
  grace_seconds:
    description:
      - For how many seconds a snapshot or an engine that no release has used yet is kept, and what a run that was cut
        off has left.
    type: int
    default: 86400
  run:
    description: An id of the run. A lock that this run holds already is used, and kept.
    type: str
  who:
    description: Who started the run, for the lock.
    type: str
  controller:
    description: The name of the control node, for the lock.
    type: str
  break_lock:
    description: Take the lock over from another run, one that is dead.
    type: bool
    default: false
"""

EXAMPLES = r"""
- name: Keep the current release and the one before
  llmops.nim.nim_prune:
    keep: 2

- name: Remove a release that never became ready
  llmops.nim.nim_prune:
    models: [openmath2-8b]
    releases: [1a2b3c4d]
"""

RETURN = r"""
removed:
  description: >-
    What went, or would go in check mode. Each has C(kind) (V(container), V(engine), V(snapshot), V(leftover) or
    V(image)), C(model) (null where it is nobody's), C(name) and C(bytes).
  returned: success
  type: list
  elements: dict
  sample: [{"kind": "snapshot", "model": null, "name": "nvidia/OpenMath2-Llama3.1-8B@0123…", "bytes": 16070000000}]
kept:
  description: What stays, each with C(kind), C(model), C(name) and C(reason).
  returned: success
  type: list
  elements: dict
bytes_freed:
  description: >-
    The bytes of RV(removed) together. Of an image they are its whole size; the layers that it shares with others stay.
  returned: success
  type: int
problem:
  description: What stands in the way, with C(what), C(evidence), C(remedy), C(code) and C(source).
  returned: failure
  type: dict
"""

import glob
import os
import uuid

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.llmops.nim.plugins.module_utils import (
    _clock,
    _host,
    _host_docker,
    _ledger,
    _lock,
    _prune,
    _prune_disk,
)
from ansible_collections.llmops.nim.plugins.module_utils._models import cache_dir
from ansible_collections.llmops.nim.plugins.module_utils._problem import Problem

ARGUMENTS = {
    "weights_dir": {"type": "path", "default": "/var/lib/nim/weights"},
    "home": {"type": "path", "default": "/var/lib/nim"},
    "models": {"type": "list", "elements": "str", "default": []},
    "keep": {"type": "int", "default": 3},
    "releases": {"type": "list", "elements": "str", "default": []},
    "grace_seconds": {"type": "int", "default": 86400},
    "run": {"type": "str"},
    "who": {"type": "str"},
    "controller": {"type": "str"},
    "break_lock": {"type": "bool", "default": False},
    "docker": {"type": "str", "default": "docker"},
}


class Docker:
    """The docker command of the host."""

    def __init__(self, command):
        self.command = command

    def __call__(self, *options):
        """The Result of the command with options; raises Problem when Docker does not answer."""
        result = _host.run([self.command, *options], timeout=600)
        lines = [line for line in result.err.splitlines() if line.strip()]
        # What vanished since it was listed is no matter; anything else may hide a container that is there.
        if result.missing or (result.rc and not (lines and all("no such" in line.lower() for line in lines))):
            raise _host_docker.unreachable({"installed": not result.missing, "error": result.err.strip()})
        return result

    def containers(self):
        """All containers, as _prune.containers()."""
        ids = self("ps", "--all", "--quiet", "--no-trunc").out.split()
        return _prune.containers(self("inspect", "--type", "container", "--format", "{{json .}}", *ids)) if ids else []

    def layer(self, container):
        """The bytes (int) that a container itself has written."""
        result = _host.run([self.command, "inspect", "--size", "--format", "{{.SizeRw}}", container], timeout=60)
        return int(result.out) if result.out.strip().isdigit() else 0

    def images(self, references):
        """What C(docker image inspect) says (dict of reference to dict) of those references that are there."""
        if not references:
            return {}
        inspected = _host_docker.json_lines(self("image", "inspect", "--format", "{{json .}}", *sorted(references)).out)
        named = {
            _host_docker.normal(name): one
            for one in inspected
            for name in filter(None, [one.get("Id"), *(one.get("RepoDigests") or [])])
        }
        return {reference: named[reference] for reference in sorted(references) if reference in named}

    def remove(self, *options):
        """Why a removal failed (str), or None."""
        result = _host.run([self.command, *options], timeout=600)
        return result.err.strip() if result.rc and "no such" not in result.err.lower() else None


class Prune:
    """One pass over a host."""

    def __init__(self, wanted, dry):
        self.wanted, self.dry = wanted, dry
        self.docker = Docker(wanted["docker"])
        self.freed = _prune_disk.Freed()
        self.removed, self.kept = [], []

    def __call__(self):
        """The module's result (dict)."""
        home, weights_dir = self.wanted["home"], self.wanted["weights_dir"]
        found = self.docker.containers()
        ours = sorted({one["model"] for one in found if one["model"]} | set(_ledger.models(home)))
        ledgers = {model: _ledger.read(home, model) for model in ours}
        histories = {model: _ledger.records(home, model) for model in ours}
        known = _prune.used(found, histories, weights_dir)
        stay = self.containers(found, ledgers, histories)
        needed = _prune.needs(stay, ledgers, weights_dir)
        self.engines(needed, known)
        self.snapshots(needed, known)
        self.leftovers()
        self.images(stay, needed, known)
        total = sum(one["bytes"] for one in self.removed)
        return {"changed": bool(self.removed), "removed": self.removed, "kept": self.kept, "bytes_freed": total}

    def keep(self, kind, model, name, reason):
        self.kept.append({"kind": kind, "model": model, "name": name, "reason": reason})

    def remove(self, kind, model, name, size, action):
        """Remove one thing by action (function that returns why it failed, or None); whether it is gone."""
        reason = None
        if not self.dry:
            try:
                reason = action()
            except OSError as error:
                reason = str(error)
        if reason:
            self.keep(kind, model, name, f"cannot be removed: {reason}")
        else:
            self.removed.append({"kind": kind, "model": model, "name": name, "bytes": size})
        return not reason

    def containers(self, found, ledgers, histories):
        """Remove the containers that go; those that stay, ours or not (list of dicts of _prune.containers())."""
        chosen = [one for one in found if one["model"] and one["model"] in (self.wanted["models"] or ledgers)]
        asked = self.wanted["releases"]
        _prune.check_asked(asked, chosen)
        go = []
        for model in sorted({one["model"] for one in chosen}):
            of_model = [one for one in chosen if one["model"] == model]
            gone, stay = _prune.releases(of_model, ledgers[model], histories[model], self.wanted["keep"], asked)
            go += gone
            for one, reason in stay:
                self.keep("container", model, one["container"], reason)
        stay = [one for one in found if one not in go]
        for one in go:
            size = self.docker.layer(one["id"])
            size += self.freed.bytes(glob.glob(glob.escape(one["log"]) + "*") if one["log"] else [])
            if not self.remove("container", one["model"], one["container"], size, lambda one=one: self.gone(one)):
                stay.append(one)
        return stay

    def gone(self, container):
        return self.docker.remove("rm", "--volumes", container["id"])

    def engines(self, needed, known):
        home = self.wanted["home"]
        names = sorted(os.listdir(home)) if os.path.isdir(home) else []
        for model in self.wanted["models"] or names:
            for engine in _prune_disk.engines(model, cache_dir(model, home)):
                reason = None
                if not _prune_disk.is_half_removed(engine):
                    reason = _prune.engine_reason(
                        model, engine.name, engine.age, needed, known, self.wanted["grace_seconds"]
                    )
                if reason:
                    self.keep("engine", model, engine.name, reason)
                    continue
                size = self.freed.bytes([engine.path])
                self.remove("engine", model, engine.name, size, lambda one=engine: _prune_disk.remove_engine(one))

    def snapshots(self, needed, known):
        weights_dir, grace = self.wanted["weights_dir"], self.wanted["grace_seconds"]
        with _prune_disk.still(weights_dir, self.dry) as busy:
            found = _prune_disk.snapshots(weights_dir)
            judged = [(one, _prune.snapshot_reason(one.path, one.age, needed, known, grace) or busy) for one in found]
            go, stay = ([one for one, reason in judged if bool(reason) == kept] for kept in (False, True))
            for one, reason in judged:
                if reason:
                    self.keep("snapshot", None, one.name, reason)
            for one, oids in zip(go, _prune_disk.orphans(go, stay)):
                size = self.freed.bytes(_prune_disk.paths(weights_dir, one, oids))
                self.remove(
                    "snapshot",
                    None,
                    one.name,
                    size,
                    lambda one=one, oids=oids: _prune_disk.remove_snapshot(weights_dir, one, oids),
                )

    def leftovers(self):
        for one in _prune_disk.leftovers(self.wanted["weights_dir"]):
            reason = _prune.leftover_reason(one, self.wanted["grace_seconds"])
            if reason:
                self.keep("leftover", None, one.name, reason)
                continue
            size = self.freed.bytes([one.path])
            self.remove("leftover", None, one.name, size, lambda one=one: _prune_disk.remove_leftover(one))

    def images(self, stay, needed, known):
        # By digest or id: what a tag means may have changed.
        references = {reference for reference in known.images if "sha256:" in reference}
        for reference, image in self.docker.images(references).items():
            reason = _prune.image_reason(reference, image, stay, needed)
            if reason:
                self.keep("image", None, reference, reason)
                continue
            size = image.get("Size") or 0
            self.remove("image", None, reference, size, lambda one=reference: self.docker.remove("image", "rm", one))


def locked(wanted, dry):
    """What the pass comes to, with the host's lock held."""
    path, run = _lock.path(wanted["home"]), wanted["run"] or f"prune-{uuid.uuid4()}"
    mine = dict.fromkeys(_lock.KEYS)
    mine.update(run=run, who=wanted["who"], controller=wanted["controller"], why="prune", at=_clock.now())
    taken, broken = _lock.take(path, mine, wanted["break_lock"], dry)
    try:
        return Prune(wanted, dry)(), broken
    finally:
        if taken and not dry:
            _lock.release(path, run)


def main():
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)
    try:
        _prune.check(module.params["keep"])
        result, broken = locked(module.params, module.check_mode)
    except Problem as problem:
        module.fail_json(msg=str(problem), problem=problem.as_dict())
    if broken:
        module.warn("Broken: " + _lock.describe(broken))
    module.exit_json(**result)


if __name__ == "__main__":
    main()
