# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

import json

import pytest
from planned_host import (
    CHECKPOINT,
    COMMIT,
    GPU,
    IMAGE,
    MODEL,
    OLD_COMMIT,
    SECOND_GPU,
    behind_gateway,
    codes,
    model,
    observed,
    on_host,
    planned,
    rollout,
    wanted,
)

from ansible_collections.llmops.nim.plugins.module_utils import _decision, _plan, _plan_text, _release

# Llama 3.1 70B in bf16.
TOO_BIG = dict(
    CHECKPOINT,
    bytes=141_107_000_000,
    weight_bytes=141_107_000_000,
    parameters=70_553_706_496,
    layers=80,
    head_dim=128,
    kv_bytes_per_token=327680,
)
NEW = wanted()["id"]
OLD = wanted(commit=OLD_COMMIT)["id"]
UNKNOWN = "0" * 8


def plan(models=None, releases=(), gpu=GPU, checkpoint=CHECKPOINT, image=IMAGE, run=None, **seen):
    host = observed(models or [model()], releases, seen.pop("gpus", [gpu]), **seen)
    return planned(host, checkpoint=checkpoint, image=image, run=run)


def state(release, how):
    """A release that is not on the host, stopped or running: list of none or one."""
    return [] if how == "none" else [on_host(release, running=how == "running")]


class TestDecide:
    """What is on the host: the wanted release, another one, and what the ledger calls current."""

    TABLE = {
        # (own, other): action, and the predecessor by what is current (none, own, other, unknown); "other" or None
        ("none", "none"): ("create", (None, None, None, None)),
        ("none", "stopped"): ("create", (None, None, "other", None)),
        ("none", "running"): ("replace", ("other", "other", "other", "other")),
        ("stopped", "none"): ("start", (None, None, None, None)),
        ("stopped", "stopped"): ("start", (None, None, "other", None)),
        ("stopped", "running"): ("replace", ("other", "other", "other", "other")),
        ("running", "none"): ("start", (None, None, None, None)),
        ("running", "stopped"): ("start", (None, None, "other", None)),
        ("running", "running"): ("replace", ("other", "other", "other", "other")),
    }

    def decide(self, own, other, current, previous=None, lock=None):
        found = state(wanted(), own) + state(wanted(commit=OLD_COMMIT), other)
        ledger = {"current": current and {"id": current}, "previous": previous and {"id": previous}}
        return _decision.decide(wanted(), found, ledger, lock)

    @pytest.mark.parametrize(("own", "other"), TABLE)
    @pytest.mark.parametrize(("column", "current"), enumerate((None, NEW, OLD, UNKNOWN)))
    def test_every_combination(self, own, other, column, current):
        action, before = self.TABLE[own, other]
        if own == "running" and other != "running" and current == NEW:
            action = "none"
        todo = self.decide(own, other, current)
        assert todo["action"] == action
        assert (todo["predecessor"] or {}).get("id") == {"other": OLD, None: None}[before[column]]
        assert todo["strays"] == []
        assert todo["reasons"]

    @pytest.mark.parametrize("own", ["none", "stopped", "running"])
    @pytest.mark.parametrize("other", ["none", "stopped", "running"])
    @pytest.mark.parametrize("current", [None, NEW, OLD, UNKNOWN])
    @pytest.mark.parametrize("previous", [None, NEW, OLD, UNKNOWN])
    def test_a_host_never_loses_its_fallback(self, own, other, current, previous):
        todo = self.decide(own, other, current, previous)
        kept = other == "running" or (other == "stopped" and OLD in (current, previous))
        if todo["action"] != "none":
            assert (todo["predecessor"] is not None) == kept
        assert (todo["action"] == "none") == (own == "running" and other != "running" and current == NEW)

    def test_what_a_killed_run_left_is_not_in_sync(self):
        todo = self.decide("running", "stopped", NEW, OLD, lock={"run": "20261122T160000Z-17"})
        assert todo["action"] == "start"
        assert "20261122T160000Z-17" in todo["reasons"][0]
        assert todo["predecessor"]["id"] == OLD

    def test_of_several_that_run_the_proven_one_is_kept_and_the_others_stopped(self):
        proven, stray = (on_host(wanted(commit=letter * 40)) for letter in "ab")
        for found in ([stray, proven], [proven, stray]):
            todo = _decision.decide(wanted(), found, {"current": {"id": proven["release"]}, "previous": None})
            assert todo["predecessor"]["id"] == proven["release"]
            assert todo["strays"] == [stray["container"]]

    def test_one_that_runs_is_kept_before_one_that_was_proven_and_does_not(self):
        proven, runs = on_host(wanted(commit="a" * 40), running=False), on_host(wanted(commit="b" * 40))
        todo = _decision.decide(wanted(), [runs, proven], {"current": {"id": proven["release"]}, "previous": None})
        assert todo["predecessor"]["id"] == runs["release"]
        assert todo["strays"] == []

    def test_the_current_one_is_kept_before_the_previous_one(self):
        first, second = (on_host(wanted(commit=letter * 40), running=False) for letter in "ab")
        ledger = {"current": {"id": second["release"]}, "previous": {"id": first["release"]}}
        assert _decision.decide(wanted(), [first, second], ledger)["predecessor"]["id"] == second["release"]
        assert _decision.decide(wanted(), [first], ledger)["predecessor"]["id"] == first["release"]


class TestSlots:
    def plan(self, port=8000, one=None, gateways=1, **keys):
        one = one or behind_gateway()
        old = dict(on_host(wanted(one, commit=OLD_COMMIT)), port=port, **keys)
        return plan([one], [old], run=rollout(gateways))[0]

    @pytest.mark.parametrize(("taken", "given", "slot"), [(8000, 18000, "b"), (18000, 8000, "a")])
    @pytest.mark.parametrize("running", [True, False])
    def test_behind_a_gateway_the_next_release_takes_the_other_port(self, taken, given, slot, running):
        one = behind_gateway()
        old = dict(on_host(wanted(one, commit=OLD_COMMIT), running=running), port=taken)
        (item,) = plan([one], [old], run=rollout(1), proven=OLD)
        assert (item["release"]["port"], item["release"]["slot"]) == (given, slot)
        assert item["release"]["published"] == f"0.0.0.0:{given}:8000"
        assert item["release"]["health"] == f"http://127.0.0.1:{given}/v1/health/ready"
        assert item["predecessor"]["port"] == taken
        assert item["predecessor"]["slot"] != slot

    def test_the_first_one_takes_the_first_port(self):
        (item,) = plan([behind_gateway()], run=rollout(1))
        assert (item["release"]["port"], item["release"]["slot"]) == (8000, "a")

    def test_the_second_port_can_be_named(self):
        assert self.plan(one=behind_gateway(second_port=8800))["release"]["port"] == 8800

    @pytest.mark.parametrize("taken", [8000, 18000])
    @pytest.mark.parametrize("one", [model(), behind_gateway()])
    def test_without_gateways_it_is_always_the_port(self, taken, one):
        item = self.plan(taken, one, gateways=0)
        assert (item["release"]["port"], item["release"]["slot"]) == (8000, "a")
        assert item["swap"]["strategy"] == "in_place"
        assert not item["gateway"]

    @pytest.mark.parametrize("proven", [None, NEW])
    def test_what_runs_stays_on_its_port(self, proven):
        one = behind_gateway()
        own = on_host(wanted(one, slot="b"))
        (item,) = plan([one], [own], run=rollout(1), proven=proven)
        assert (item["release"]["port"], item["release"]["slot"]) == (18000, "b")
        assert item["problems"] == []

    def test_the_slot_is_no_part_of_the_identity(self):
        one = behind_gateway()
        first, second = wanted(one), wanted(one, slot="b")
        assert first["port"] != second["port"]
        assert (first["id"], first["container"]) == (second["id"], second["container"]) == (NEW, wanted()["container"])

    @pytest.mark.parametrize(
        ("one", "gateways"), [(model(), 0), (behind_gateway(), 0), (behind_gateway(second_port=8800), 1)]
    )
    @pytest.mark.parametrize("proven", [None, NEW])
    def test_one_that_answers_where_nobody_asks_any_more_is_no_success(self, one, gateways, proven):
        own = on_host(wanted(behind_gateway(), slot="b"))
        (item,) = plan([one], [own], run=rollout(gateways), proven=proven)
        assert codes(item["problems"]) == ["port_moved"]
        assert "18000" in item["problems"][0]["what"]


class TestSwap:
    """The strategy that a host's memory and GPUs lead to."""

    def swap(self, share=0.9, gpus=(GPU,), wish=None, used=44226, **keys):
        one = behind_gateway(memory_share=share, gpus=wish or [0], **keys)
        old = on_host(wanted(one, commit=OLD_COMMIT), memory=used)
        seen = [dict(gpus[0], memory_used_mib=used), *gpus[1:]]
        (item,) = plan([one], [old], gpus=seen, run=rollout(1))
        return item

    @pytest.mark.parametrize(("used", "strategy"), [(24570, "side_by_side"), (24571, "in_place")])
    def test_beside_exactly_as_long_as_its_share_is_free(self, used, strategy):
        assert self.swap(share=0.5, used=used)["swap"]["strategy"] == strategy

    def test_beside_only_if_every_gpu_has_room(self):
        both = [GPU, SECOND_GPU]
        one = behind_gateway(memory_share=0.5, gpus=[0, 1])
        old = on_host(wanted(one, commit=OLD_COMMIT, gpus=both), memory=20000)
        for used, strategy in ((24570, "side_by_side"), (24571, "in_place")):
            seen = [dict(GPU, memory_used_mib=20000), dict(SECOND_GPU, memory_used_mib=used)]
            (item,) = plan([one], [old], gpus=seen, run=rollout(1))
            assert item["swap"]["strategy"] == strategy

    def test_not_beside_if_what_is_free_is_not_known(self):
        assert self.swap(share=0.1, used=None)["swap"]["strategy"] == "in_place"

    def test_another_gpu_of_the_same_kind_that_is_free(self):
        item = self.swap(gpus=[GPU, SECOND_GPU], wish={"count": 1})
        assert item["swap"]["strategy"] == "other_gpu"
        assert item["release"]["gpus"] == ["GPU-bb"]
        assert item["release"]["device_ids"] == ["1"]
        assert [gpu["index"] for gpu in item["memory"]["gpus"]] == [1]
        assert item["problems"] == []

    @pytest.mark.parametrize(
        ("second", "wish"),
        [
            (SECOND_GPU, [0]),
            (dict(SECOND_GPU, memory_used_mib=3000), {"count": 1}),
            (dict(SECOND_GPU, name="NVIDIA T600"), {"count": 1}),
            (dict(SECOND_GPU, memory_total_mib=24570), {"count": 1}),
            (dict(SECOND_GPU, pci_device_id="27b1:10de"), {"count": 1}),
        ],
        ids=["named", "in use", "of another name", "of another size", "of another device"],
    )
    def test_no_other_gpu(self, second, wish):
        item = self.swap(gpus=[GPU, second], wish=wish)
        assert item["swap"]["strategy"] == "in_place"
        assert item["release"]["gpus"] == ["GPU-aa"]

    def test_as_many_as_are_wished_for(self):
        gpus = [dict(GPU, index=index, uuid=f"GPU-{index:04}") for index in range(4)]
        one = behind_gateway(gpus={"count": 2})
        old = on_host(wanted(one, commit=OLD_COMMIT, gpus=gpus[:2]))
        used = [dict(gpu, memory_used_mib=44226) for gpu in gpus[:2]]
        assert plan([one], [old], gpus=used + gpus[2:3], run=rollout(1))[0]["swap"]["strategy"] == "in_place"
        (item,) = plan([one], [old], gpus=used + gpus[2:], run=rollout(1))
        assert item["swap"]["strategy"] == "other_gpu"
        assert item["release"]["gpus"] == ["GPU-0002", "GPU-0003"]

    def test_no_two_models_are_given_the_same_free_gpu(self):
        gpus = [dict(GPU, index=index, uuid=f"GPU-{index:04}") for index in range(3)]
        models = [behind_gateway(gpus={"count": 1}), behind_gateway(name="b", port=8001, gpus={"count": 1})]
        old = [on_host(wanted(one, commit=OLD_COMMIT, gpus=[gpu])) for one, gpu in zip(models, gpus)]
        seen = [dict(gpu, memory_used_mib=44226) for gpu in gpus[:2]] + gpus[2:]
        run = rollout(1, gateway_hosts={"capitals": 1, "b": 1})
        first, second = plan(models, old, gpus=seen, run=run)
        assert first["release"]["gpus"] == ["GPU-0002"]
        assert (second["swap"]["strategy"], second["release"]["gpus"]) == ("in_place", ["GPU-0001"])

    @pytest.mark.parametrize("proven", [None, OLD])
    def test_a_run_that_was_killed_is_finished_on_the_gpu_where_it_began(self, proven):
        one = behind_gateway(gpus={"count": 1})
        old = on_host(wanted(one, commit=OLD_COMMIT))
        new = on_host(wanted(one, gpus=[SECOND_GPU], slot="b"))
        seen = [dict(gpu, memory_used_mib=44226) for gpu in (GPU, SECOND_GPU)]
        for strategy in ("auto", "side_by_side", "other_gpu"):
            run = rollout(1, strategy=strategy)
            (item,) = plan([one], [new, old], gpus=[*seen, dict(GPU, index=2, uuid="GPU-cc")], run=run, proven=proven)
            assert item["release"]["id"] == new["release"]
            assert item["runs"]
            assert item["predecessor"]["id"] == old["release"]
            assert item["swap"]["strategy"] in ("side_by_side", "other_gpu")
            assert item["problems"] == []

    def test_a_named_gpu_is_taken_though_the_release_runs_on_another(self):
        one = behind_gateway(gpus=[0])
        (item,) = plan([one], [on_host(wanted(one, gpus=[SECOND_GPU]))], gpus=[GPU, SECOND_GPU], run=rollout(1))
        assert item["release"]["gpus"] == ["GPU-aa"]
        assert not item["runs"]

    def test_a_gpu_on_which_another_release_runs_is_not_free(self):
        one = behind_gateway(gpus={"count": 1})
        old = on_host(wanted(one, commit=OLD_COMMIT))
        foreign = on_host(wanted(model(name="x"), gpus=[SECOND_GPU]), memory=0)
        seen = [dict(GPU, memory_used_mib=44226), SECOND_GPU]
        (item,) = plan([one], [old, foreign], gpus=seen, run=rollout(1))
        assert item["swap"]["strategy"] == "in_place"

    @pytest.mark.parametrize("strategy", ["side_by_side", "other_gpu"])
    def test_what_cannot_be_is_refused_though_gpus_are_free(self, strategy):
        one = model(gpus={"count": 1}, strategy=strategy)
        old = on_host(wanted(one, commit=OLD_COMMIT))
        (item,) = plan([one], [old], gpus=[dict(GPU, memory_used_mib=44226), SECOND_GPU])
        assert codes(item["problems"]) == ["strategy_impossible"]

    def test_the_run_s_strategy_comes_before_the_model_s(self):
        one = behind_gateway(memory_share=0.3, strategy="side_by_side")
        old = on_host(wanted(one, commit=OLD_COMMIT), memory=14742)
        used = dict(GPU, memory_used_mib=14742)
        assert plan([one], [old], gpu=used, run=rollout(1))[0]["swap"]["strategy"] == "side_by_side"
        run = rollout(1, strategy="in_place")
        assert plan([one], [old], gpu=used, run=run)[0]["swap"]["strategy"] == "in_place"

    def test_downtime_is_asked_for(self):
        old = on_host(wanted(commit=OLD_COMMIT))
        (item,) = plan(releases=[old], run=rollout(allow_downtime=False))
        assert codes(item["problems"]) == ["downtime"]
        assert "nim_allow_downtime" in _plan_text.told(item)["refusal"]

    def test_one_that_does_not_run_needs_no_swap(self):
        old = on_host(wanted(commit=OLD_COMMIT), running=False)
        (item,) = plan(releases=[old], proven=OLD, run=rollout(allow_downtime=False))
        assert item["swap"]["strategy"] == "first"
        assert item["problems"] == []
        assert item["predecessor"]["id"] == OLD


class TestWhatIsDone:
    def test_nothing_where_the_release_runs(self):
        (item,) = plan(releases=[on_host(wanted())], proven=NEW)
        assert item["action"] == "none"
        assert item["swap"]["strategy"] == "none"
        assert item["fetch"] == {"image_bytes": 0, "weights_bytes": 0}
        assert item["profile"]["description"] == "vllm-bf16-tp1-pp1"

    def test_a_bare_host_gets_a_release(self):
        (item,) = plan()
        assert item["action"] == "create"
        assert item["fetch"] == {"image_bytes": IMAGE["bytes"], "weights_bytes": CHECKPOINT["bytes"]}
        assert item["swap"]["strategy"] == "first"

    def test_a_stopped_release_is_started(self):
        (item,) = plan(releases=[on_host(wanted(), running=False)])
        assert item["action"] == "start"
        assert "exited" in item["reasons"][0]

    def test_another_release_is_replaced_and_falls_back(self):
        old = on_host(wanted(commit=OLD_COMMIT))
        (item,) = plan(releases=[old])
        assert item["action"] == "replace"
        assert item["predecessor"] == {
            "id": OLD,
            "container": old["container"],
            "health": "http://127.0.0.1:8000/v1/health/ready",
            "port": 8000,
            "slot": "a",
            "running": True,
            "served_name": "capitals",
            "api": "completions",
        }
        assert item["changes"] == [{"key": "weights", "from": OLD_COMMIT, "to": COMMIT}]
        assert f"{old['container']} serves again" in item["fallback"]
        assert item["swap"]["strategy"] == "in_place"
        assert old["container"] in item["swap"]["downtime"]

    def test_what_runs_and_was_not_proven_is_proven_as_it_is(self):
        own = on_host(wanted())
        own["labels"] = dict(own["labels"], **{"llmops.nim.api": "chat"})
        (item,) = plan(releases=[own])
        assert (item["action"], item["runs"], item["api"]) == ("start", True, "chat")
        assert item["profile"]["id"] == own["profile"]

    def test_what_runs_from_altered_weights_gets_them_anew_and_goes_on(self):
        published, altered = ({f"acme/capitals@{COMMIT}": whole} for whole in (True, False))
        (item,) = plan(releases=[on_host(wanted())], proven=NEW, snapshots=published)
        assert item["action"] == "none"
        (item,) = plan(releases=[on_host(wanted())], proven=NEW, snapshots=altered)
        assert (item["action"], item["runs"], item["swap"]["strategy"]) == ("start", True, "first")
        assert item["fetch"]["weights_bytes"] == CHECKPOINT["bytes"]
        assert "altered on disk" in _plan_text.told(item)["text"]

    def test_what_else_runs_is_told(self):
        proven, stray = on_host(wanted(commit=OLD_COMMIT)), on_host(wanted(commit="b" * 40))
        (item,) = plan(releases=[stray, proven], proven=OLD)
        assert item["strays"] == [stray["container"]]
        assert f"stopped first, left by a run that was killed: {stray['container']}" in _plan_text.told(item)["text"]

    def test_what_is_on_the_host_is_not_fetched(self):
        (item,) = plan(images={MODEL["image"]: {}}, snapshots={f"acme/capitals@{COMMIT}": True})
        assert item["fetch"] == {"image_bytes": 0, "weights_bytes": 0}

    def test_what_is_not_known_is_not_called_nothing(self):
        (item,) = plan(checkpoint={"read": False, "problems": [], "warnings": []}, image=dict(IMAGE, bytes=None))
        assert item["fetch"] == {"image_bytes": None, "weights_bytes": None}
        assert item["memory"]["need_mib"] is None


class TestEngine:
    def test_one_of_the_same_key_is_reused(self):
        (item,) = plan(engines={"capitals": [wanted()["engine"]]})
        assert item["engine"]["do"] == "reuse"

    def test_one_of_another_key_is_not(self):
        (item,) = plan(engines={"capitals": [wanted(commit=OLD_COMMIT)["engine"]]})
        assert item["engine"]["do"] == "build"

    def test_images_that_build_none(self):
        image = "nvcr.io/nim/nvidia/model-free-nim:2.0.2"
        (item,) = plan([model(image=image)], image=dict(IMAGE, nim_version="2.0.2"))
        assert item["engine"]["do"] == "none"


class TestMemory:
    def test_a_70b_model_on_one_48_gb_gpu_is_refused_with_the_arithmetic(self):
        (item,) = plan(checkpoint=TOO_BIG)
        assert codes(item["problems"]) == ["memory_too_small"]
        evidence = item["problems"][0]["evidence"]
        for figure in ("70.55", "49140"):
            assert figure in evidence
        assert item["problems"][0]["remedy"]

    def test_what_is_in_sync_is_not_judged_again(self):
        (item,) = plan(releases=[on_host(wanted())], checkpoint=TOO_BIG, proven=NEW)
        assert item["problems"] == []

    def test_before_and_after(self):
        busy = dict(GPU, memory_used_mib=10000)
        (item,) = plan([model(memory_share=0.5)], gpu=busy)
        (gpu,) = item["memory"]["gpus"]
        assert (gpu["others_mib"], gpu["own_mib"], gpu["after_mib"]) == (10000, 0, 34570)
        assert item["warnings"] == []

    def test_memory_of_the_own_old_release_counts_as_free_afterwards(self):
        (item,) = plan(releases=[on_host(wanted(commit=OLD_COMMIT))], gpu=dict(GPU, memory_used_mib=44226))
        (gpu,) = item["memory"]["gpus"]
        assert (gpu["own_mib"], gpu["others_mib"], gpu["after_mib"]) == (44226, 0, 44226)
        assert item["gpus"][0]["own_memory_mib"] == 44226

    def test_others_memory_is_warned_of_with_a_share_that_fits(self):
        (item,) = plan(gpu=dict(GPU, memory_used_mib=24570))
        assert codes(item["warnings"]) == ["memory_held"]
        assert "memory_share to 0.49" in item["warnings"][0]["remedy"]

    def test_beside_the_running_release(self):
        one = behind_gateway()
        old = on_host(wanted(one, commit=OLD_COMMIT), memory=20000)
        (item,) = plan([one], [old], gpu=dict(GPU, memory_used_mib=20000), run=rollout(1))
        assert "memory_share: 0.18 would do" in item["memory"]["crowd"]
        assert item["memory"]["crowd"] in item["swap"]["why"]
        assert f"beside the running release: {item['memory']['crowd']}" in _plan_text.told(item)["text"]
        (item,) = plan([dict(one, memory_share=0.5)], [old], gpu=dict(GPU, memory_used_mib=20000), run=rollout(1))
        assert item["memory"]["crowd"] is None
        assert "beside the running release: it fits" in _plan_text.told(item)["text"]


class TestRefusals:
    def test_the_host_s_problems_stand_with_the_first_model_and_a_model_s_with_it(self):
        def finding(name):
            return {"code": str(name), "what": "w", "evidence": "", "remedy": "", "source": "", "model": name}

        models = [model(), model(name="base", port=8001)]
        first, second = plan(
            models, problems=[finding("base"), finding(None)], warnings_found=[finding("base, capitals")]
        )
        assert (codes(first["problems"]), codes(second["problems"])) == (["None"], ["base"])
        assert (codes(first["warnings"]), codes(second["warnings"])) == ([], ["base, capitals"])

    def test_a_model_without_gpus_is_refused_for_the_host_s_reason(self):
        (item,) = plan(assignments={})
        assert item["action"] == "refused"
        assert item["release"] is None

    def test_an_image_that_takes_no_weights(self):
        (item,) = plan(image=dict(IMAGE, nim_version="1.2.0"))
        assert item["action"] == "refused"
        assert codes(item["problems"]) == ["contract_without_weights"]

    def test_a_checkpoint_that_cannot_serve(self):
        problem = {"code": "no_config", "what": "w", "evidence": "e", "remedy": "r", "source": ""}
        (item,) = plan(checkpoint=dict(CHECKPOINT, problems=[problem]))
        assert codes(item["problems"]) == ["no_config"]
        assert _plan_text.told(item)["refusal"] == "w\n  evidence: e\n  do: r"


class TestPreview:
    def test_only_where_image_and_key_are_on_the_host(self):
        old = on_host(wanted(commit=OLD_COMMIT))
        assert plan()[0]["listing"] is None
        assert plan(images={MODEL["image"]: {}})[0]["listing"] is None
        assert plan(releases=[old], images={MODEL["image"]: {}})[0]["listing"] == {"volumes": []}

    def test_weights_are_mounted_where_they_are(self):
        old = on_host(wanted(commit=OLD_COMMIT))
        snapshots = {f"acme/capitals@{COMMIT}": True}
        (item,) = plan(releases=[old], images={MODEL["image"]: {}}, snapshots=snapshots)
        assert item["listing"] == {"volumes": [f"/weights/acme--capitals/{COMMIT}:/model:ro"]}

    def test_an_image_for_any_model_is_not_listed_without_weights(self):
        image = "nvcr.io/nim/nvidia/model-free-nim:2.0.2"
        old = on_host(wanted(commit=OLD_COMMIT))
        (item,) = plan([model(image=image)], [old], image=dict(IMAGE, nim_version="2.0.2"), images={image: {}})
        assert item["listing"] is None

    def test_what_was_listed_comes_into_the_plan(self):
        selected = {"id": "1" * 64, "description": "vllm-bf16-tp1-pp1", "reasons": ["runnable"], "lora": False}
        (item,) = _plan.previewed(plan(), {"results": [{"item": "capitals", "selected": selected}]})
        assert item["profile"] == {key: selected[key] for key in ("id", "description", "reasons")}

    @pytest.mark.parametrize(("refusal", "kind"), [("none can run", "problems"), (None, "warnings")])
    def test_a_refusal_is_a_problem_and_a_failed_listing_a_warning(self, refusal, kind):
        problem = {"code": "x", "what": "w", "evidence": "", "remedy": "", "source": ""}
        listing = {"item": "capitals", "selected": None, "refusal": refusal, "problem": problem}
        (item,) = _plan.previewed(plan(), {"results": [listing]})
        assert codes(item[kind]) == ["x"]
        assert item["profile"] is None

    def test_models_that_were_not_listed_stay_as_they_are(self):
        assert _plan.previewed(plan(), {"results": []}) == plan()


class TestTold:
    def test_in_words(self):
        old = on_host(wanted(commit=OLD_COMMIT))
        text = _plan_text.told(plan(releases=[old], gpu=dict(GPU, memory_used_mib=44226))[0])["text"]
        for words in (
            "replace the running release by nim-capitals-",
            f"change: weights: {OLD_COMMIT} → {COMMIT}",
            "fetch: image 13.0 GiB, weights 2.3 GiB",
            "profile: chosen once the image is on the host",
            "engine: build",
            "GPU 0 (NVIDIA RTX 6000 Ada Generation): 44226 of 49140 MiB in use, 44226 by this model",
            "swap: in_place",
            "if it fails",
        ):
            assert words in text

    def test_in_sync_in_a_line(self):
        assert "\n" not in _plan_text.told(plan(releases=[on_host(wanted())], proven=NEW)[0])["text"]

    def test_in_a_table(self):
        refused = plan(assignments={})
        in_sync = plan(releases=[on_host(wanted())], proven=NEW)
        table = _plan_text.plan_table([("gpu1", plan()), ("gpu2", in_sync), ("x", refused)])
        heading, first, second, third = table.splitlines()
        assert heading.startswith("HOST  MODEL     DO")
        assert "create" in first
        assert "in sync" in second
        assert "refused" in third

    def test_for_programs_without_secrets(self):
        (item,) = plan([model(env={"MY_TOKEN": "hush"})])
        text = json.dumps(_plan_text.data(_plan_text.told(item)))
        assert "hush" not in text
        assert json.loads(text)["action"] == "create"
        assert json.loads(json.dumps(_plan_text.data(plan(assignments={})[0])))["release"] is None

    @pytest.mark.parametrize(
        ("size", "text"),
        [(0, "nothing"), (None, "unknown"), (512, "512 B"), (2048, "2.0 KiB"), (3 * 1024**3, "3.0 GiB")],
    )
    def test_amounts(self, size, text):
        assert _plan_text.amount(size) == text


class TestGpuMode:
    """How a release gets its GPUs: a running one is not renamed because a server offers another way as well."""

    BY_CDI = dict(GPU, cdi_devices=["0"])

    def plan(self, releases, modes, **keys):
        (item,) = planned(observed([model()], releases, gpus=[self.BY_CDI], gpu_modes=modes, **keys))
        return item

    def release(self, mode):
        return _release.release(model(), IMAGE, COMMIT, [self.BY_CDI], "/weights", gpu_mode=mode)

    @pytest.mark.parametrize("mode", ["gpus", "cdi"])
    @pytest.mark.parametrize("modes", [["gpus", "cdi"], ["cdi", "gpus"]])
    def test_with_auto_a_release_of_either_way_is_in_sync(self, mode, modes):
        release = self.release(mode)
        item = self.plan([on_host(release)], modes, proven=release["id"])
        assert item["action"] == "none"
        assert item["release"]["gpu_mode"] == mode

    def test_a_wish_for_the_other_way_is_another_release_and_is_told(self):
        release = self.release("gpus")
        item = self.plan([on_host(release)], ["cdi"], proven=release["id"])
        assert item["action"] == "replace"
        assert item["changes"] == [{"key": "gpu_mode", "from": "gpus", "to": "cdi"}]
        back = self.plan([on_host(self.release("cdi"))], ["gpus"], proven=self.release("cdi")["id"])
        assert back["changes"] == [{"key": "gpu_mode", "from": "cdi", "to": "gpus"}]

    def test_the_first_that_is_offered_is_taken_and_said(self):
        item = self.plan([], ["gpus", "cdi"])
        assert "GPUs: 0 (GPU-aa), handed over by the runtime hook (gpus)" in _plan_text.told(item)["text"]
        item = self.plan([], ["cdi"])
        assert "handed over by CDI (cdi)" in _plan_text.told(item)["text"]
        assert _plan_text.data(item)["gpu_mode"] == "cdi"

    def test_a_release_that_was_begun_on_counted_gpus_is_finished_in_its_way(self):
        second = dict(SECOND_GPU, cdi_devices=["1"])
        counted = behind_gateway(gpus={"count": 1})
        old = _release.release(counted, IMAGE, OLD_COMMIT, [self.BY_CDI], "/weights", gpu_mode="cdi")
        new = _release.release(counted, IMAGE, COMMIT, [second], "/weights", "b", gpu_mode="cdi")
        releases = [on_host(new), on_host(old)]
        seen = observed([counted], releases, gpus=[self.BY_CDI, second], gpu_modes=["gpus", "cdi"], proven=old["id"])
        (item,) = planned(seen, run=rollout(1))
        assert item["runs"]
        assert item["release"]["id"] == new["id"]
