# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

import pytest
from planned_host import (
    COMMIT,
    GPU,
    OLD_COMMIT,
    SECOND_GPU,
    behind_gateway,
    model,
    observed,
    on_host,
    planned,
    rollout,
    wanted,
)

from ansible_collections.llmops.nim.plugins.module_utils import _rollback

OLD, NEW = wanted(commit=OLD_COMMIT)["id"], wanted()["id"]


def kept(commit=OLD_COMMIT, running=False, one=None, **keys):
    keys = dict({"memory": 14742}, **keys)
    return on_host(wanted(one or model(), commit=commit), running=running, **keys)


def way_back(releases, wished=None, one=None, run=None, gpu=GPU, before=OLD, proven=NEW, **seen):
    host = observed([one or model()], releases, [gpu], proven=proven, before=before, **seen)
    (item,) = _rollback.plans(host, wished, run or rollout())
    return item


def beside(share=0.3, used=14742, ports=(18000, 8000), run=None, **keys):
    """The way back behind a gateway, where the old release's port and that of the one that runs are given."""
    one = behind_gateway(memory_share=share, **keys)
    old = dict(kept(one=one), port=ports[0])
    new = dict(kept(COMMIT, True, one), port=ports[1])
    found = {"proven": new["release"], "before": old["release"]}
    return way_back([new, old], None, one, run or rollout(1), dict(GPU, memory_used_mib=used), **found)


class TestWhereTo:
    def test_to_the_previous_release(self):
        old, new = kept(), kept(COMMIT, True)
        item = way_back([new, old])
        assert (item["action"], item["event"], item["refusal"]) == ("replace", "rolled_back", None)
        assert item["release"]["id"] == OLD
        assert item["release"]["env"] == {"NIM_SERVED_MODEL_NAME": "capitals"}
        assert item["predecessor"]["id"] == NEW
        assert item["predecessor"]["slot"] == "a"
        assert item["strays"] == []
        for words in (old["container"], new["container"], "in_place", "downtime"):
            assert words in item["text"]
        assert f"{new['container']} serves again" in item["fallback"]

    def test_to_another_one_that_is_kept(self):
        third = kept("b" * 40)
        assert way_back([kept(COMMIT, True), kept(), third], third["release"])["release"]["id"] == third["release"]

    @pytest.mark.parametrize(
        ("wished", "before", "releases", "words"),
        [
            (None, None, [kept(COMMIT, True)], ("no release to go back to", NEW)),
            ("deadbeef", OLD, [kept(COMMIT, True), kept()], ("deadbeef", "not on this host", OLD)),
            (None, OLD, [kept(COMMIT, True)], (OLD, "not on this host")),
            (None, OLD, [], ("not on this host", "none")),
            (
                None,
                OLD,
                [kept(COMMIT, True), kept(missing_mounts=["/weights/gone"])],
                ("could not start", "/weights/gone"),
            ),
            (None, OLD, [kept(COMMIT, True), kept(port=18000)], ("18000", "not the model's")),
        ],
        ids=["no previous", "unknown id", "pruned", "nothing kept", "weights pruned", "port gone"],
    )
    def test_refusals_change_nothing_and_say_why(self, wished, before, releases, words):
        item = way_back(releases, wished, before=before)
        assert (item["action"], item["release"]) == ("refused", None)
        for word in words:
            assert word in item["refusal"]
        assert "do: " in item["refusal"]

    def test_without_any_ledger(self):
        item = way_back([kept(COMMIT, True)], before=None, proven=None)
        assert "its ledger names no release" in item["refusal"]

    def test_in_sync(self):
        item = way_back([kept(COMMIT, True), kept()], NEW)
        assert (item["action"], item["release"]["id"]) == ("none", NEW)
        assert "in sync" in item["text"]

    @pytest.mark.parametrize("other", [True, False])
    @pytest.mark.parametrize("proven", [None, OLD, NEW])
    @pytest.mark.parametrize("lock", [None, {"run": "1"}])
    def test_in_sync_only_if_it_runs_alone_is_current_and_no_run_was_killed(self, other, proven, lock):
        item = way_back([kept(COMMIT, True), kept(running=other)], NEW, proven=proven, before=None, lock=lock)
        assert (item["action"] == "none") == (not other and proven == NEW and lock is None)

    def test_what_a_killed_deploy_left_is_undone(self):
        stray = kept("b" * 40, True)
        for new in (kept(COMMIT, True), kept(COMMIT, False)):
            item = way_back([stray, new, kept()])
            assert item["release"]["id"] == NEW
            assert item["predecessor"]["id"] == stray["release"]

    def test_a_killed_first_upgrade_is_undone_too(self):
        assert way_back([kept("b" * 40, True), kept(COMMIT)], before=None)["release"]["id"] == NEW

    def test_a_killed_rollback_is_finished_and_keeps_its_fallback(self):
        for running in (True, False):
            item = way_back([kept(COMMIT, False), kept(running=running)])
            assert item["release"]["id"] == OLD
            assert item["predecessor"]["id"] == NEW
            assert not item["predecessor"]["running"]
            assert (item["action"], item["swap"]["strategy"]) == ("start", "first")

    def test_what_runs_besides_is_stopped(self):
        stray = kept("b" * 40, True)
        item = way_back([stray, kept(COMMIT, True), kept()], OLD)
        assert item["predecessor"]["id"] == NEW
        assert item["strays"] == [stray["container"]]
        assert stray["container"] in item["text"]


class TestHow:
    def test_beside_where_memory_and_port_allow(self):
        item = beside()
        assert item["swap"]["strategy"] == "side_by_side"
        assert (item["release"]["slot"], item["predecessor"]["slot"]) == ("b", "a")

    @pytest.mark.parametrize(("used", "strategy"), [(24570, "side_by_side"), (24571, "in_place"), (None, "in_place")])
    def test_the_share_must_be_free(self, used, strategy):
        assert beside(0.5, used)["swap"]["strategy"] == strategy

    def test_what_runs_beside_already_needs_no_room(self):
        one = behind_gateway(memory_share=0.5)
        old, new = dict(kept(running=True, one=one), port=18000), kept(COMMIT, True, one)
        found = {"proven": new["release"], "before": old["release"]}
        item = way_back([new, old], None, one, rollout(1), dict(GPU, memory_used_mib=49140), **found)
        assert item["swap"]["strategy"] == "side_by_side"

    def test_the_same_port_goes_in_place(self):
        item = beside(ports=(8000, 8000))
        assert item["swap"]["strategy"] == "in_place"
        assert "both answer on port 8000" in item["swap"]["why"]

    def test_a_contract_that_is_not_known_goes_in_place(self):
        one = behind_gateway(memory_share=0.1)
        old = dict(kept(one=one), port=18000)
        old["labels"] = {key: value for key, value in old["labels"].items() if not key.endswith("contract")}
        new = kept(COMMIT, True, one)
        found = {"proven": new["release"], "before": old["release"]}
        assert way_back([new, old], None, one, rollout(1), **found)["swap"]["strategy"] == "in_place"

    def test_downtime_is_asked_for(self):
        run = rollout(1, allow_downtime=False)
        assert "nim_allow_downtime" in beside(0.9, run=run)["refusal"]
        assert beside(0.9, run=rollout(2, allow_downtime=False))["refusal"] is None
        assert beside(run=run)["refusal"] is None

    def test_a_wish_that_cannot_be_is_refused(self):
        item = beside(0.9, strategy="side_by_side")
        assert "cannot be replaced side by side" in item["refusal"]
        assert item["action"] == "refused"
        assert beside(strategy="in_place")["swap"]["strategy"] == "in_place"

    def test_only_its_own_gpus_count(self):
        one = behind_gateway(memory_share=0.9, gpus={"count": 1})
        old = dict(on_host(wanted(one, commit=OLD_COMMIT), running=False), port=18000)
        new = on_host(wanted(one, gpus=[SECOND_GPU]))
        gpus = [GPU, dict(SECOND_GPU, memory_used_mib=44226)]
        host = observed([one], [new, old], gpus, proven=new["release"], before=old["release"])
        (item,) = _rollback.plans(host, None, rollout(1))
        assert item["swap"]["strategy"] == "side_by_side"


class TestBack:
    """What undoes an item that was activated."""

    def activated(self, one=None, run=None, share=0.3, **seen):
        one = one or behind_gateway(memory_share=share)
        releases = seen.pop("releases", [kept(running=True, one=one)])
        gpu = dict(GPU, memory_used_mib=14742)
        (item,) = planned(observed([one], releases, [gpu], **seen), run=run or rollout(1))
        return dict(item, api="chat")

    def test_none_where_nothing_served_before(self):
        item = self.activated(releases=[])
        assert item["predecessor"] is None
        assert _rollback.back(item) is None

    def test_the_two_are_exchanged(self):
        item = self.activated()
        undone = _rollback.back(item)
        assert undone["release"]["id"] == item["predecessor"]["id"]
        assert undone["predecessor"]["id"] == item["release"]["id"]
        assert undone["predecessor"]["running"]
        assert (undone["api"], undone["predecessor"]["api"]) == ("completions", "chat")
        assert (undone["release"]["slot"], undone["predecessor"]["slot"]) == ("a", "b")
        assert undone["event"] == "rolled_back"
        assert undone["swap"]["strategy"] == item["swap"]["strategy"] == "side_by_side"
        assert item["release"]["container"] in undone["fallback"]

    def test_twice_is_where_it_was(self):
        item = self.activated()
        again = _rollback.back(_rollback.back(item))
        for key in ("id", "container", "health", "port", "slot"):
            assert again["release"][key] == item["release"][key]
            assert again["predecessor"][key] == item["predecessor"][key]
        assert again["release"]["env"]["NIM_SERVED_MODEL_NAME"] == item["release"]["env"]["NIM_SERVED_MODEL_NAME"]
        assert (again["api"], again["swap"]) == (item["api"], item["swap"])

    def test_what_was_rolled_back_can_go_forth(self):
        item = beside()
        undone = _rollback.back(item)
        assert undone["release"]["container"] == item["predecessor"]["container"]
        assert undone["predecessor"]["container"] == item["release"]["container"]

    @pytest.mark.parametrize("strategy", ["first", "in_place"])
    def test_in_place_where_it_came_so_or_its_predecessor_did_not_run(self, strategy):
        one = behind_gateway(memory_share=0.9)
        old = kept(running=strategy == "in_place", one=one)
        item = self.activated(one, releases=[old], proven=old["release"])
        assert item["swap"]["strategy"] == strategy
        assert _rollback.back(item)["swap"]["strategy"] == "in_place"

    def test_in_place_where_both_have_one_port(self):
        item = self.activated()
        item["predecessor"]["port"] = item["release"]["port"]
        assert _rollback.back(item)["swap"]["strategy"] == "in_place"

    def test_what_ran_besides_is_gone_already(self):
        one = behind_gateway(memory_share=0.3)
        stray = on_host(wanted(one, commit="b" * 40, slot="b"))
        old = kept(running=True, one=one)
        item = self.activated(one, releases=[stray, old], proven=old["release"])
        assert item["strays"] == [stray["container"]]
        assert _rollback.back(item)["strays"] == []
