# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""A tiny GPU server on which plans are carried out step by step, as nim_container does, to be killed at any."""

from __future__ import annotations

import planned_host

from ansible_collections.llmops.nim.plugins.module_utils import _ledger, _rollback

BESIDE = ("side_by_side", "other_gpu")
UNREAD = {"read": False, "problems": [], "warnings": []}


class Killed(Exception):
    """The control node is gone."""


class Failed(Exception):
    """A release did not become ready, or was not proven."""


class Refused(Exception):
    """The plan says no."""


class Host:
    """Containers, their GPUs, the ledger, and which container the gateway sends requests to.

    Docker refuses a port that is taken and a GPU that is full: a plan that leads there is wrong, so that is an error.
    """

    def __init__(self, gpu_count=1, gateway=True, share=0.9, gpus=None):
        kind = planned_host.GPU
        self.gpus = [dict(kind, index=index, uuid=f"GPU-{index:04}") for index in range(gpu_count)]
        self.held = int(kind["memory_total_mib"] * share)
        wish = {"gpus": gpus or [0], "memory_share": share, "gateway_port": 9000 if gateway else None}
        self.model = planned_host.model(**wish)
        self.gateway = gateway
        self.containers, self.history, self.lock = {}, [], None
        self.admitted, self.runs, self.steps_left, self.steps = None, 0, None, 0

    # What can be observed.

    def running(self):
        return {name for name, one in self.containers.items() if one["running"]}

    def ledger(self):
        return _ledger.state(self.history)

    def _used(self, uuid):
        return sum(self.held for name in self.running() if uuid in self.containers[name]["gpus"])

    def observe(self, strategy="auto"):
        releases = [
            dict(one, memory_mib=dict.fromkeys(one["gpus"], self.held) if one["running"] else {})
            for one in list(self.containers.values())[::-1]
        ]
        releases.sort(key=lambda one: not one["running"])
        gpus = [dict(gpu, memory_used_mib=self._used(gpu["uuid"])) for gpu in self.gpus]
        seen = planned_host.observed([dict(self.model, strategy=strategy)], releases, gpus)
        return dict(seen, ledger={"capitals": self.ledger()}, lock=self.lock)

    def _rollout(self):
        return planned_host.rollout(1 if self.gateway else 0)

    def plan(self, commit, strategy="auto"):
        seen = self.observe(strategy)
        (item,) = planned_host.planned(seen, commit, UNREAD, run=self._rollout())
        return item

    def way_back(self, wished=None):
        (item,) = _rollback.plans(self.observe(), wished, self._rollout())
        return item

    # What a run does. kill_at: before which of its steps it is killed. fails: where the release does.

    def deploy(self, commit, strategy="auto", fails=None, kill_at=None):
        """The item, and whether its release serves now."""
        return self._run(self.plan(commit, strategy), fails, kill_at, stage=True)

    def roll_back(self, wished=None, fails=None, kill_at=None):
        """The same."""
        return self._run(self.way_back(wished), fails, kill_at, stage=False)

    def go_back(self, item):
        """Whether what undoes an item that was activated succeeded."""
        return self._run(_rollback.back(item), None, None, stage=False)

    def _run(self, item, fails, kill_at, stage):
        if item.get("problems") or item.get("refusal"):
            raise Refused(item)
        if item["action"] == "none":
            return item, True
        self.runs, self.steps_left, self.steps = self.runs + 1, kill_at, 0
        if stage:
            self._make(item)
        self._step()
        self.lock = {"run": f"run-{self.runs}"}
        success = self._activate(item, fails)
        self._step()
        self.lock = None
        return item, success

    def _step(self):
        if self.steps_left is not None and self.steps >= self.steps_left:
            raise Killed
        self.steps += 1

    def _make(self, item):
        self._step()
        name, old = item["release"]["container"], self.containers.get(item["release"]["container"])
        assert item["runs"] == bool(old and old["running"])
        if not old or old["port"] != item["release"]["port"]:
            assert not item["runs"], "a container that runs would be made anew"
            self.containers[name] = planned_host.on_host(item["release"], running=False)

    def _activate(self, item, fails):
        beside, name, before = item["swap"]["strategy"] in BESIDE, item["release"]["container"], item["predecessor"]
        serves = bool(before and before["running"])
        try:
            if item["strays"]:
                self._admit(before["container"] if serves else None)
            for stray in item["strays"]:
                self._stop(stray)
            if not beside:
                self._admit(None)
                if serves:
                    self._stop(before["container"])
            self._start(name)
            if fails == "ready":
                raise Failed
            self._admit(name)
            if fails == "soak":
                raise Failed
            if beside:
                self._stop(before["container"])
            self._record(item, item["event"])
            return True
        except Failed:
            if not beside:
                self._admit(None)
                self._stop(name)
            if before:
                self._start(before["container"])
                self._admit(before["container"])
            if beside:
                self._stop(name)
            self._record(item, "failed")
            return False

    def _admit(self, name):
        self._step()
        assert name is None or self.containers[name]["running"]
        self.admitted = name if self.gateway else None

    def _stop(self, name):
        self._step()
        assert self.admitted != name, "it gets requests"
        self.containers[name]["running"] = False
        self.containers[name]["status"] = "exited"

    def _start(self, name):
        self._step()
        one = self.containers[name]
        if one["running"]:
            return
        assert one["port"] not in [self.containers[other]["port"] for other in self.running()], "its port is taken"
        for uuid in one["gpus"]:
            assert self._used(uuid) + self.held <= self.gpus[0]["memory_total_mib"], "its GPU is full"
        one["running"], one["status"] = True, "running"

    def _record(self, item, event):
        self._step()
        found = {one["release"]: _ledger.release_of(one) for one in self.containers.values()}
        origin = (item["predecessor"] or {}).get("id")
        new = _ledger.record(event, found[item["release"]["id"]], run=f"run-{self.runs}", **{"from": origin})
        known = {"history": self.history, "current": self.ledger()["current"]}
        self.history = self.history + _ledger.additions(known, new, found.get)

    def crash(self):
        """All containers end, and nobody starts them again."""
        for one in self.containers.values():
            one["running"], one["status"] = False, "exited"
        self.admitted = None
