#!/usr/bin/python
# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: weights_swarm
short_description: Carry a snapshot of weights from host to host, while it still comes from the hub
version_added: 0.1.0
author: The llmops.nim authors (@llmops)
description:
  - One host, the seed, has the snapshot, or fetches it with M(llmops.nim.lfs_snapshot) at the same time. It offers each
    large file as soon as it is whole. The others, the receivers, take the pieces from it and from each other, by
    libtorrent, and make a parcel of them for M(llmops.nim.weights_import).
  - A receiver reads each file as soon as it is whole and compares its sha256. Large files that are right are put into
    the store at once, and what the store has is not asked for. A transfer that was cut goes on where it stopped.
  - A receiver that leaves costs the others nothing. When the seed leaves, what the receivers have among them still
    reaches them all.
  - A host plays one part at a time, since all use the same ports. A run that finds the part of another waits for it. Of
    two runs that come in the same moment one goes first on every host. What the other has begun there ends, and goes on
    afterwards.
  - A host answers the addresses in O(peers) only, and only those who know O(secret). Between hosts of the fleet the
    bytes are obfuscated (RC4), which keeps no secret from who can listen on the wire.
extends_documentation_fragment:
  - llmops.nim.selection
  - llmops.nim.snapshot
  - llmops.nim.progress
attributes:
  check_mode:
    support: full
    description: Tells that something would be done, and does nothing.
  diff_mode:
    support: none
    description: There is nothing to compare.
  idempotent:
    support: full
    description: V(stopped) changes nothing where nothing runs and nothing is left; the others are for one run each.
options:
  state:
    description:
      - V(started) has the host's part played by a process of its own, which outlives the module and the connection, and
        ends when nobody needs it any more. One that is killed leaves nothing that listens.
      - V(received) waits until the part that was started on this host has everything.
      - V(stopped) ends the part, and tells what of the snapshot is there. What was left of it on the disk is removed
        once the snapshot is published, and kept for the next run otherwise. Where this host plays a part for another
        run, this waits until that has ended by itself.
    type: str
    required: true
    choices: [started, received, stopped]
  commit:
    description: The commit, 40 hex digits.
    type: str
    required: true
  address:
    description: The address of this host at which the others reach it, as a name or a number. For V(started).
    type: str
  port:
    description: The TCP port on which hosts hand on files. On the port above it the seed tells what it offers.
    type: int
    default: 6881
  peers:
    description: The addresses of all hosts that take part, as O(address). For V(started).
    type: list
    elements: str
    default: []
  seed:
    description: The one of O(peers) that is the seed. For V(started).
    type: str
  secret:
    description:
      - Random text that the hosts of this run share, and nobody else knows. By it a part is known as this run's.
        Without it V(stopped) ends the part, whose run soever it is.
    type: str
  patience:
    description:
      - How many seconds a receiver waits for a byte, or for word of the seed that there is none yet. A host that has
        everything goes on handing on for as long after it was last asked. It is five times as long until the seed has
        answered for the first time, and for a seed that waits for a fetch to begin, or to begin again.
    type: int
    default: 60
  timeout:
    description: After how many seconds the part ends in any case. For V(started).
    type: int
    default: 86400
requirements:
  - libtorrent 1.2 or newer, with its Python module, for V(started)
notes:
  - Needs Linux.
seealso:
  - module: llmops.nim.weights_import
  - module: llmops.nim.lfs_snapshot
  - name: libtorrent
    description: The library that does the carrying.
    link: https://libtorrent.org/
"""

EXAMPLES = r"""
- name: Hand on what is there, and take what is not
  llmops.nim.weights_swarm:
    state: started
    repo: lab/model
    commit: 0a4c7e01b2d9c3f4a5b6c7d8e9f0011223344556
    address: "{{ ansible_host }}"
    peers: "{{ ansible_play_hosts | map('extract', hostvars, 'ansible_host') }}"
    seed: "{{ hostvars[ansible_play_hosts[0]].ansible_host }}"
    secret: "{{ secret_of_the_run }}"

- name: Wait for it
  llmops.nim.weights_swarm:
    state: received
    repo: lab/model
    commit: 0a4c7e01b2d9c3f4a5b6c7d8e9f0011223344556
    secret: "{{ secret_of_the_run }}"
  register: received
  when: inventory_hostname != ansible_play_hosts[0]

- name: Nothing listens any more
  llmops.nim.weights_swarm:
    state: stopped
    repo: lab/model
    commit: 0a4c7e01b2d9c3f4a5b6c7d8e9f0011223344556
    secret: "{{ secret_of_the_run }}"
"""

RETURN = r"""
directory:
  description: The path of the parcel, for M(llmops.nim.weights_import).
  type: str
  returned: state is received
bytes_received:
  description: The bytes that came from other hosts.
  type: int
  returned: state is received
bytes_sent:
  description: The bytes that other hosts took.
  type: int
  returned: state is received
pieces_refused:
  description: How many pieces came altered, and were asked for again elsewhere.
  type: int
  returned: state is received
published:
  description: Whether the snapshot is published on this host, as far as names, sizes and seals tell.
  type: bool
  returned: state is stopped
bytes_there:
  description: The bytes of it that are there, proven or on their way, as far as it is known what they are.
  type: int
  returned: state is stopped
waited:
  description: Whether this host played a part for another run, which was waited for.
  type: bool
  returned: state is stopped
ended:
  description: Why the part had ended by itself, where it had failed; RV(problem) is the same for programs.
  type: str
  returned: state is stopped, and the part had failed
problems:
  description: What stands in the way, each with C(code), C(what), C(evidence), C(remedy) and C(source).
  type: list
  elements: dict
  returned: failure
problem:
  description: The first of RV(problems), with the same keys.
  type: dict
  returned: failure, or state is stopped and the part had failed
"""

import hashlib
import os
import signal
import socket
import time
import traceback

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.llmops.nim.plugins.module_utils import (
    _aside,
    _detached,
    _files,
    _hub,
    _progress,
    _selection,
    _snapshot,
    _swarm,
    _swarm_feed,
    _swarm_place,
    _swarm_receiver,
    _swarm_seed,
)
from ansible_collections.llmops.nim.plugins.module_utils._problem import Problem, Refused, report

ARGUMENT_SPEC = {
    "state": {"type": "str", "required": True, "choices": ["started", "received", "stopped"]},
    "repo": {"type": "str", "required": True},
    "commit": {"type": "str", "required": True},
    **_selection.ARGUMENT_SPEC,
    "weights_dir": {"type": "path", "default": "/var/lib/nim/weights"},
    "address": {"type": "str"},
    "port": {"type": "int", "default": 6881},
    "peers": {"type": "list", "elements": "str", "default": []},
    "seed": {"type": "str"},
    "secret": {"type": "str", "no_log": True},
    "reserve_bytes": {"type": "int", "default": 1024**3},
    "patience": {"type": "int", "default": 60},
    "timeout": {"type": "int", "default": 86400},
    **_aside.ARGUMENT_SPEC,
}
STEP = 0.2  # seconds
LOOKS = 1  # second: others look at a lock now and then, and have it for as long as that takes


class Part:
    """This host's part in the carrying of one snapshot."""

    def __init__(self, module, aside):
        self.module, self.wanted, self.aside = module, module.params, aside
        self.samples = _progress.window()
        _hub.check_commit(self.wanted["repo"], self.wanted["commit"])
        self.selection = _selection.Selection(self.wanted["include"], self.wanted["exclude"])
        name = self.wanted["commit"] + self.selection.suffix
        place = (self.wanted["weights_dir"], self.wanted["repo"], name)
        self.spot, self.snapshot = _swarm_place.place(*place), _snapshot.place(*place)
        # Tells one run's words from another's, and gives nothing away.
        self.run = hashlib.sha256(("run " + (self.wanted["secret"] or "")).encode()).hexdigest()

    def started(self):
        """Have it played. The process that does so has the lock from this one, and the secret in its memory alone."""
        if not self.module.check_mode:
            with _files.guarded(self.wanted["weights_dir"]):
                self.come_first()
                _swarm_place.make(self.spot)
                with _snapshot.locked(self.spot.lock, LOOKS) as lock:
                    _swarm_place.tell(self.spot, run=self.run, phase="waiting")
                    _swarm_place.hand_over(lock, _detached.begin(self.play_apart))
        return {"changed": True}

    def others(self):
        """The parts of other runs on this host: what each tells (dict), by its Place (dict)."""
        living = _swarm_place.living(self.spot)
        return {spot: words for spot, words in living.items() if words.get("run") != self.run}

    def come_first(self):
        """End the parts of runs that came in the same moment; raises a Problem where this run is the one to wait.

        All hosts decide alike, by the names of the runs: else each run would hold hosts that the other waits for.
        """
        others = self.others()
        if any((words.get("run") or "") < self.run for words in others.values()):
            raise gave_way(self.spot)
        for spot in others:
            _swarm_place.oust(spot, gave_way(spot))

    def play_apart(self):
        """Play the part to its end, in a process of its own, which holds the lock and leaves word."""
        signal.alarm(self.wanted["timeout"])
        try:
            self.play()
        except (Problem, Refused) as error:
            self.fail(problems_of(error))
        except Exception:
            what, remedy = "The part in the carrying of weights broke down.", "Run again: what has come is kept."
            self.fail([Problem(what, traceback.format_exc()[-2000:], remedy, "part_gone")])

    def fail(self, problems):
        """Leave word of the Problems (list) by which the part ends."""
        told = [problem.as_dict() for problem in problems]
        _swarm_place.tell(self.spot, run=self.run, phase="failed", problems=told)

    def play(self):
        """The loop that the part is, with the lock held."""
        wanted, patience = self.wanted, self.wanted["patience"]
        address, seed, *peers = map(number, [wanted["address"], wanted["seed"], *wanted["peers"]])
        swarm = _swarm.Swarm(address, wanted["port"], peers, wanted["secret"])
        if address == seed:
            feed = _swarm_feed.Feed(address, wanted["port"] + 1, peers, wanted["secret"])
            part = _swarm_seed.Seed(self.spot.parcel, self.snapshot, swarm, feed)
        else:
            reader = _swarm_feed.Reader(seed, wanted["port"] + 1, wanted["secret"], address)
            part = _swarm_receiver.Receiver(self.spot, wanted["weights_dir"], wanted["reserve_bytes"], swarm, reader)
        told, phase = 0, None
        while not part.is_over(patience):
            part.step()
            part.check(patience)
            words = {**part.state(), **self.traffic(swarm)}
            if words["phase"] != phase or time.monotonic() - told > 1:
                _swarm_place.tell(self.spot, run=self.run, updated=int(time.time()), **words)
                told, phase = time.monotonic(), words["phase"]
            time.sleep(STEP)

    @staticmethod
    def traffic(swarm):
        received, sent = swarm.traffic()
        return {"bytes_received": received, "bytes_sent": sent}

    def received(self):
        """Wait until the part has everything."""
        if self.module.check_mode:
            return {"changed": True, "directory": self.spot.parcel, "bytes_received": 0, "bytes_sent": 0}
        while True:
            words, lives = _swarm_place.hear(self.spot)
            own = words.get("run") == self.run
            phase = words.get("phase") if own else None
            if phase == "complete":
                keys = ("bytes_received", "bytes_sent", "pieces_refused")
                return {"changed": True, "directory": self.spot.parcel, **{key: words[key] for key in keys}}
            if phase == "failed":
                raise Refused([Problem(**problem) for problem in words["problems"]])
            if lives and not own:
                raise gave_way(self.spot)
            self.follow(words)
            if not lives:
                raise Problem(
                    "The carrying of weights has ended on this host before all had come.",
                    f"{self.spot.status} says: {words or 'nothing'}",
                    "Run again: what has come is kept.",
                    "part_gone",
                )
            time.sleep(STEP)

    def wait_for_others(self):
        """Wait until this host plays no part for another run; whether it did. A part ends when nobody needs it."""
        waited, end = False, time.monotonic() + self.wanted["timeout"]
        while (others := self.others()) and time.monotonic() < end:
            waited = True
            if self.spot in others:
                self.follow(others[self.spot])
            else:
                self.aside.tell("waiting for other weights that are carried here")
            time.sleep(STEP)
        return waited

    def follow(self, words):
        """Tell how far the part is, by its words (dict)."""
        total = words.get("bytes_total")
        if not total:
            self.aside.tell("waiting for the seed")
            return
        self.samples.append((time.monotonic(), words["bytes_done"]))
        rate, left = _progress.pace(self.samples, total)
        self.aside.tell("carrying weights", words["bytes_done"], total, rate=rate, seconds_left=left)

    def end(self):
        """End the own part, or without a secret whosever it is: (whether there was one, its last words (dict))."""
        if not os.path.isdir(self.spot.directory):
            return False, {}
        with _files.guarded(self.wanted["weights_dir"]):
            if self.wanted["secret"] is not None and _swarm_place.hear(self.spot)[0].get("run") != self.run:
                return False, {}
            ended = _swarm_place.end(self.spot)
            words, _lives = _swarm_place.hear(self.spot)
            _swarm_place.unsay(self.spot)
            return ended, words

    def forget(self):
        """Remove what was left of it on the disk, unless another run has begun there meanwhile; whether it was."""
        with _files.guarded(self.wanted["weights_dir"]):
            return self.spot not in _swarm_place.living(self.spot) and _swarm_place.forget(self.spot)

    def stopped(self):
        """End it, and tell what is there."""
        dry = self.module.check_mode
        changed, words = (os.path.isdir(self.spot.directory), {}) if dry else self.end()
        waited = not dry and self.wait_for_others()
        manifest, altered = _snapshot.look(self.snapshot)
        published = bool(manifest) and not altered and manifest["selection"] == self.selection.as_dict()
        there = manifest["bytes_total"] if published else _swarm_place.bytes_there(self.spot, self.snapshot)
        if published and not dry:
            changed = self.forget() or changed
        found = {"changed": changed, "published": published, "bytes_there": there, "waited": waited}
        if words.get("phase") == "failed":
            problems = [Problem(**problem) for problem in words["problems"]]
            found.update(ended=report(problems), problem=problems[0].as_dict())
        return found


def gave_way(spot):
    """The Problem of a part at spot (Place) that is not played, since one of another run is."""
    return Problem(
        "Another run carries weights to this host.",
        spot.directory,
        "Nothing is to be done: whoever has begun goes on, and this run waits for it.",
        "gave_way",
    )


def number(address):
    """The IP address (str) that address, a name or a number, stands for."""
    try:
        return socket.getaddrinfo(address, None, type=socket.SOCK_STREAM)[0][4][0]
    except OSError as error:
        raise Problem(
            f"{address!r} is no address that this host knows.",
            str(error),
            "Give one in weights_fleet_address of the host that is meant.",
            "address_unknown",
        ) from None


def problems_of(error):
    """The Problems (list) in an exception."""
    return error.problems if isinstance(error, Refused) else [error]


def main():
    module = AnsibleModule(
        argument_spec=ARGUMENT_SPEC,
        supports_check_mode=True,
        required_if=[
            ("state", "started", ("address", "peers", "seed", "secret")),
            ("state", "received", ("secret",)),
        ],
    )
    os.umask(0o027)
    try:
        with _aside.Aside(module.params["progress_file"]) as aside:
            result = getattr(Part(module, aside), module.params["state"])()
    except (Problem, Refused) as error:
        problems = problems_of(error)
        told = [problem.as_dict() for problem in problems]
        module.fail_json(msg=report(problems), problem=told[0], problems=told)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
