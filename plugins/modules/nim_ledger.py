#!/usr/bin/python
# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: nim_ledger
short_description: Keep a host's ledger of releases, and the lock that lets one run work there at a time
version_added: 0.1.0
author: The llmops.nim authors (@llmops)
description:
  - Each model has a ledger on the host, O(home)C(/<model>/ledger.jsonl), to which a line of JSON is added for each
    release that is activated, rolled back or fails. C(releases.json) beside it has the current release and the one
    before, and is replaced in one step.
  - What a record says of a release is read from its container, so a ledger holds only what was on the host.
  - The lock, O(home)C(/lock), is one for the whole host. It outlives the module, and a run that was killed leaves it.
  - Neither holds a secret.
extends_documentation_fragment:
  - llmops.nim.home
  - llmops.nim.commands
attributes:
  check_mode:
    support: full
    description: Tells what it would do. A container that is not there yet is no error then.
  diff_mode:
    support: none
    description: A ledger is only added to.
  idempotent:
    support: full
    description:
      - The same event of the same container in the same run is recorded once. A run may take its own lock again.
options:
  state:
    description:
      - V(read) reads ledgers and lock.
      - V(recorded) has the event in the ledger.
      - V(locked) has the lock for this run.
      - V(unlocked) has no lock of this run.
    type: str
    choices: [read, recorded, locked, unlocked]
    default: read
  models:
    description: With O(state=read), the models to read; all that have a ledger if it is empty.
    type: list
    elements: str
    default: []
  last:
    description: With O(state=read), how many records of each ledger to return, the newest.
    type: int
    default: 20
  model:
    description: With O(state=recorded), the model.
    type: str
  container:
    description:
      - With O(state=recorded), the container of the release. With O(event=failed) it may be missing, since a release
        may fail before it has one.
    type: str
  event:
    description:
      - With O(state=recorded), what befell the release. V(activated), V(rolled_back) and V(found) make it the current
        one.
      - V(found) is for a release that serves and that no run has recorded, such as one that is older than the ledger.
        Where it is the current one already nothing is recorded.
      - V(benchmarked) changes nothing of what serves.
      - With O(state=read), return the records of this event alone.
    type: str
    choices: [activated, failed, rolled_back, found, benchmarked]
  from:
    description:
      - With O(state=recorded), the id of the release that served before. Where the ledger does not know it and its
        container is there, it is recorded as V(found) first.
    type: str
  strategy:
    description: With O(state=recorded), how the release was activated.
    type: str
  reason:
    description:
      - With O(state=recorded), why a release failed or was rolled back. With O(event=benchmarked), what in it a rollout
        has taken the release back for.
    type: str
  timings:
    description: With O(state=recorded), the seconds that each step took.
    type: dict
    default: {}
  verdicts:
    description: With O(state=recorded), what was judged of the answers, in any form.
    type: list
    elements: raw
    default: []
  measured:
    description: With O(event=benchmarked), what M(llmops.nim.nim_benchmark) has measured.
    type: dict
  run:
    description: An id of the run, other in each. Required unless O(state=read).
    type: str
  who:
    description: Who started the run.
    type: str
  controller:
    description: The name of the control node.
    type: str
  why:
    description: With O(state=locked), what the run does.
    type: str
  pid:
    description: With O(state=locked), the process of the run on the control node, for those who find the lock.
    type: int
  break_lock:
    description:
      - With O(state=locked), take the lock over from another run; with O(state=unlocked), remove another run's lock.
        Only for a run that is dead.
    type: bool
    default: false
"""

EXAMPLES = r"""
- name: Lock the host
  llmops.nim.nim_ledger:
    state: locked
    run: "{{ nim_run }}"
    who: "{{ lookup('ansible.builtin.env', 'USER') }}"
    controller: "{{ lookup('ansible.builtin.pipe', 'hostname') }}"
    why: deploy of openmath2-8b
    break_lock: "{{ nim_break_lock | default(false) | bool }}"

- name: Record that the release serves
  llmops.nim.nim_ledger:
    state: recorded
    model: openmath2-8b
    container: nim-openmath2-8b-1a2b3c4d
    event: activated
    from: 0f9e8d7c
    strategy: side_by_side
    timings: {start: 92.4, prove: 0.8, soak: 60}
    run: "{{ nim_run }}"

- name: Unlock the host
  llmops.nim.nim_ledger:
    state: unlocked
    run: "{{ nim_run }}"

- name: Read all ledgers
  llmops.nim.nim_ledger:
  register: ledgers
"""

RETURN = r"""
models:
  description: >-
    With O(state=read), a dictionary of model to C(current) and C(previous) (a release with C(at), or null), C(last)
    (the newest record, or null) and C(records) (the newest ones, oldest first).
  returned: success, with O(state=read)
  type: dict
current:
  description: >-
    With O(state=recorded), the release that serves now: C(id), C(container), C(image) (with its digest),
    C(nim_version), C(contract), C(weights), C(commit), C(manifest), C(profile), C(profile_name), C(engine), C(gpus),
    C(port), C(served_name) and C(at). Null where the ledger names none.
  returned: success, with O(state=recorded)
  type: dict
previous:
  description: With O(state=recorded), the release that served before it, as RV(current).
  returned: success, with O(state=recorded)
  type: dict
record:
  description: >-
    With O(state=recorded), the record: C(at) (UTC, ISO 8601), C(event), C(release) (as RV(current)), C(from),
    C(strategy), C(who), C(controller), C(run), C(reason), C(timings), C(verdicts) and, of a benchmark, C(measured).
  returned: success, with O(state=recorded)
  type: dict
lock:
  description: >-
    The lock as it is after the module: C(who), C(controller), C(run), C(why), C(at) and C(pid). Null where nobody
    holds it. In check mode, as it would be.
  returned: success, unless O(state=recorded)
  type: dict
broken:
  description: The lock of another run that was taken over or removed, as RV(lock); null where there was none.
  returned: success, with O(state=locked) or O(state=unlocked)
  type: dict
problem:
  description: What stands in the way, with C(what), C(evidence), C(remedy), C(code) and C(source).
  returned: failure
  type: dict
"""

import errno

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.llmops.nim.plugins.module_utils import _clock, _host, _host_docker, _ledger, _lock
from ansible_collections.llmops.nim.plugins.module_utils._problem import Problem

ARGUMENTS = {
    "state": {"type": "str", "choices": ["read", "recorded", "locked", "unlocked"], "default": "read"},
    "home": {"type": "path", "default": "/var/lib/nim"},
    "models": {"type": "list", "elements": "str", "default": []},
    "last": {"type": "int", "default": 20},
    "model": {"type": "str"},
    "container": {"type": "str"},
    "event": {"type": "str", "choices": ["activated", "failed", "rolled_back", "found", "benchmarked"]},
    "from": {"type": "str"},
    "strategy": {"type": "str"},
    "reason": {"type": "str"},
    "timings": {"type": "dict", "default": {}},
    "verdicts": {"type": "list", "elements": "raw", "default": []},
    "measured": {"type": "dict"},
    "run": {"type": "str"},
    "who": {"type": "str"},
    "controller": {"type": "str"},
    "why": {"type": "str"},
    "pid": {"type": "int"},
    "break_lock": {"type": "bool", "default": False},
    "docker": {"type": "str", "default": "docker"},
}
REQUIRED_IF = [
    ("state", "recorded", ("model", "container", "event", "run")),
    ("state", "locked", ("run",)),
    ("state", "unlocked", ("run",)),
]
DETAILS = ("from", "strategy", "who", "controller", "run", "reason", "timings", "verdicts", "measured")


def release(docker, container):
    """The release (dict of _ledger.release_of()) in a container, None where there is no such container of ours.

    Raises Problem when Docker does not answer.
    """
    result = _host.run([docker, "inspect", "--type", "container", "--format", "{{json .}}", container])
    if result.rc and "no such container" not in result.err.lower():
        raise _host_docker.unreachable({"installed": not result.missing, "error": result.err.strip()})
    found = [one for one in _host_docker.releases(result) if one["model"]]
    return _ledger.release_of(found[0]) if found else None


def read(wanted, check):
    """Ledgers and lock."""
    found = {}
    for model in wanted["models"] or _ledger.models(wanted["home"]):
        known = _ledger.records(wanted["home"], model)
        asked = [one for one in known if wanted["event"] in (None, one["event"])]
        newest = asked[-wanted["last"] :] if wanted["last"] > 0 else []
        found[model] = dict(_ledger.read(wanted["home"], model), records=newest)
    return {"changed": False, "models": found, "lock": _lock.read(_lock.path(wanted["home"]))}


def recorded(wanted, check):
    """Have the event in the ledger."""
    model, container, event = wanted["model"], wanted["container"], wanted["event"]
    subject = release(wanted["docker"], container)
    if subject is None:
        if event != "failed" and not check:
            raise Problem(
                f"There is no container {container}, so there is nothing to record of it.",
                f"docker inspect {container}: no such container with the labels of this collection",
                "Look which releases the host has: playbooks/status.yml.",
                "container_missing",
            )
        subject = _ledger.unknown_release(model, container)
    record = _ledger.record(event, subject, **{key: wanted[key] for key in DETAILS})
    changed, after = _ledger.add(
        wanted["home"], model, record, lambda identity: release(wanted["docker"], f"nim-{model}-{identity}"), dry=check
    )
    return {"changed": changed, "record": record, "current": after["current"], "previous": after["previous"]}


def locked(wanted, check):
    """Have the lock for this run."""
    path = _lock.path(wanted["home"])
    mine = {key: wanted.get(key) for key in _lock.KEYS}
    mine["at"] = _clock.now()
    changed, broken = _lock.take(path, mine, wanted["break_lock"], dry=check)
    return {"changed": changed, "lock": mine if check and changed else _lock.read(path), "broken": broken}


def unlocked(wanted, check):
    """Have no lock of this run."""
    path = _lock.path(wanted["home"])
    changed, broken = _lock.release(path, wanted["run"], wanted["break_lock"], dry=check)
    return {"changed": changed, "lock": None, "broken": broken}


STATES = {"read": read, "recorded": recorded, "locked": locked, "unlocked": unlocked}


def main():
    module = AnsibleModule(argument_spec=ARGUMENTS, required_if=REQUIRED_IF, supports_check_mode=True)
    wanted = module.params
    try:
        result = STATES[wanted["state"]](wanted, module.check_mode)
    except Problem as problem:
        module.fail_json(msg=str(problem), problem=problem.as_dict())
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM):
            raise
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        problem = Problem(
            "The disk is full: nothing was written." if full else f"{wanted['home']} cannot be written to.",
            str(error),
            "Free space (playbooks/prune.yml), then run again." if full else "Run with become: true; check the disk.",
            "disk_full" if full else "not_permitted",
        )
        module.fail_json(msg=str(problem), problem=problem.as_dict())
    if result.get("broken"):
        module.warn("Broken: " + _lock.describe(result["broken"]))
    module.exit_json(**result)


if __name__ == "__main__":
    main()
