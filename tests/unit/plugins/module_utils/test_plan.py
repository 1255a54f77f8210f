# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

import copy
import json

import pytest

from ansible_collections.llmops.nim.plugins.module_utils import _plan, _plan_text, _release

DIGEST = "sha256:" + "a" * 64
COMMIT, OLD_COMMIT = "c" * 40, "d" * 40
IMAGE = {
    "reference": "nvcr.io/nim/meta/llama:1.8.4",
    "pinned": f"nvcr.io/nim/meta/llama@{DIGEST}",
    "digest": DIGEST,
    "nim_version": "1.8.4",
    "bytes": 13 * 1024**3,
}
GPU = {
    "index": 0,
    "uuid": "GPU-aa",
    "name": "NVIDIA RTX 6000 Ada Generation",
    "memory_total_mib": 49140,
    "memory_used_mib": 0,
    "compute_capability": "8.9",
}
MODEL = {
    "name": "capitals",
    "image": "nvcr.io/nim/meta/llama:1.8.4",
    "weights": {"repo": "acme/capitals", "revision": "main"},
    "profile": "auto",
    "gpus": [0],
    "port": 8000,
    "address": "0.0.0.0",
    "served_name": None,
    "uid": 1000,
    "shm_size": "16g",
    "env": {},
    "unchecked_env": {},
    "memory_share": None,
    "contract": "auto",
    "verify": [],
}
# Llama 3.2 1B in bf16.
CHECKPOINT = {
    "read": True,
    "problems": [],
    "warnings": [],
    "bytes": 2_471_000_000,
    "weight_bytes": 2_471_645_608,
    "parameters": 1_235_814_400,
    "precision": "bf16",
    "quantization": None,
    "layers": 16,
    "kv_heads": 8,
    "head_dim": 64,
    "kv_bytes_per_token": 32768,
    "max_position_embeddings": 131072,
}
# The same of Llama 3.1 70B.
TOO_BIG = dict(
    CHECKPOINT,
    bytes=141_107_000_000,
    weight_bytes=141_107_000_000,
    parameters=70_553_706_496,
    layers=80,
    head_dim=128,
    kv_bytes_per_token=327680,
)


def model(**keys):
    return dict(copy.deepcopy(MODEL), **keys)


def wanted(one=MODEL, commit=COMMIT, gpus=(GPU,), image=IMAGE):
    return _release.release(one, image, commit, gpus, "/weights")


def on_host(release, running=True, memory=44226, **keys):
    """A release as gpu_host_info reads it from a container that was started with it."""
    return dict(
        {
            "model": "capitals",
            "release": release["id"],
            "container": release["container"],
            "running": running,
            "status": "running" if running else "exited",
            "labels": release["labels"],
            "port": 8000,
            "profile": "9" * 64,
            "profile_name": "vllm-bf16-tp1-pp1",
            "gpus": release["gpus"],
            "memory_mib": {"GPU-aa": memory} if running else {},
            "settings": {"env": release["env"], "shm_size": 16 * 1024**3, "user": "1000:0", "mounts": []},
        },
        **keys,
    )


def plan(models=None, releases=(), gpu=GPU, checkpoint=CHECKPOINT, image=IMAGE, **observed):
    models = models or [model()]
    seen = {
        "models": models,
        "releases": list(releases),
        "assignments": {one["name"]: [gpu] for one in models},
        "images": {},
        "engines": {},
        "snapshots": {},
        "problems": [],
        "warnings_found": [],
    }
    seen.update(observed)
    weights = {"commits": {"acme/capitals@main": COMMIT}, "checkpoints": {"acme/capitals@main": checkpoint}}
    return _plan.plans(seen, {one["image"]: image for one in models}, weights, "/weights")


def codes(problems):
    return [problem["code"] for problem in problems]


class TestWhatIsDone:
    def test_nothing_where_the_release_runs(self):
        (item,) = plan(releases=[on_host(wanted())])
        assert item["action"] == "none"
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
        assert item["predecessor"] == {"container": old["container"], "health": "http://127.0.0.1:8000/v1/health/ready"}
        assert item["changes"] == [{"key": "weights", "from": OLD_COMMIT, "to": COMMIT}]
        assert f"{old['container']} serves again" in item["fallback"]
        assert item["swap"]["strategy"] == "in_place"
        assert old["container"] in item["swap"]["downtime"]

    def test_a_stopped_predecessor_is_left_alone(self):
        old = on_host(wanted(commit=OLD_COMMIT), running=False)
        (item,) = plan(releases=[old, on_host(wanted())])
        assert item["action"] == "none"

    def test_two_running_releases_are_not_in_sync(self):
        old = on_host(wanted(commit=OLD_COMMIT))
        (item,) = plan(releases=[on_host(wanted()), old])
        assert item["predecessor"]["container"] == old["container"]

    def test_what_is_on_the_host_is_not_fetched(self):
        (item,) = plan(images={MODEL["image"]: {}}, snapshots={f"acme/capitals@{COMMIT}": True})
        assert item["fetch"] == {"image_bytes": 0, "weights_bytes": 0}

    def test_what_is_not_known_is_not_called_nothing(self):
        (item,) = plan(checkpoint={"read": False, "problems": [], "warnings": []}, image=dict(IMAGE, bytes=None))
        assert item["fetch"] == {"image_bytes": None, "weights_bytes": None}
        assert item["memory"]["need_mib"] is None


class TestChanges:
    def changes(self, before, after):
        old = on_host(wanted(model(**before)))
        (item,) = plan([model(**after)], releases=[old])
        return {one["key"]: (one["from"], one["to"]) for one in item["changes"]}

    def test_of_a_variable(self):
        assert self.changes({"env": {"NIM_MAX_MODEL_LEN": 4096}}, {"env": {"NIM_MAX_MODEL_LEN": 8192}}) == {
            "env.NIM_MAX_MODEL_LEN": ("4096", "8192")
        }

    def test_of_a_variable_that_comes_or_goes(self):
        assert self.changes({}, {"env": {"NIM_MAX_MODEL_LEN": 8192}}) == {"env.NIM_MAX_MODEL_LEN": ("-", "8192")}
        assert self.changes({"env": {"NIM_MAX_MODEL_LEN": 8192}}, {}) == {"env.NIM_MAX_MODEL_LEN": ("8192", "-")}

    def test_a_secret_is_not_shown(self):
        assert self.changes({"env": {"MY_TOKEN": "abc"}}, {"env": {"MY_TOKEN": "xyz"}}) == {}

    def test_of_other_keys(self):
        assert self.changes(
            {}, {"port": 8001, "served_name": "x", "shm_size": "1g", "uid": 7, "profile": "throughput"}
        ) == {
            "port": ("8000", "8001"),
            "served_name": ("capitals", "x"),
            "shm_size": ("16g", "1g"),
            "uid": ("1000", "7"),
            "profile": ("auto", "throughput"),
        }

    def test_the_image_s_own_variables_are_no_change(self):
        old = on_host(wanted(commit=OLD_COMMIT))
        old["settings"]["env"] = dict(old["settings"]["env"], NIM_SOMETHING_OF_THE_IMAGE="1")
        (item,) = plan(releases=[old])
        assert [one["key"] for one in item["changes"]] == ["weights"]


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
        (item,) = plan(releases=[on_host(wanted())], checkpoint=TOO_BIG)
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
        old = on_host(wanted(commit=OLD_COMMIT), memory=20000)
        (item,) = plan([model(memory_share=0.4)], releases=[old], gpu=dict(GPU, memory_used_mib=20000))
        assert item["memory"]["beside"]["fits"]
        assert "memory_share" in item["swap"]["why"]
        (item,) = plan(releases=[on_host(wanted(commit=OLD_COMMIT))], gpu=dict(GPU, memory_used_mib=44226))
        assert not item["memory"]["beside"]["fits"]


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
        assert "\n" not in _plan_text.told(plan(releases=[on_host(wanted())])[0])["text"]

    def test_in_a_table(self):
        refused = plan(assignments={})
        table = _plan_text.plan_table([("gpu1", plan()), ("gpu2", plan(releases=[on_host(wanted())])), ("x", refused)])
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
