# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

import copy

import pytest

from ansible_collections.llmops.nim.plugins.module_utils import _release
from ansible_collections.llmops.nim.plugins.module_utils._problem import Problem

DIGEST = "sha256:" + "a" * 64
COMMIT = "c" * 40
IMAGE = {
    "reference": "nvcr.io/nim/meta/llama:1.8.4",
    "pinned": f"nvcr.io/nim/meta/llama@{DIGEST}",
    "digest": DIGEST,
    "nim_version": "1.8.4",
}
GPUS = [{"index": 0, "uuid": "GPU-aa", "name": "NVIDIA RTX 6000 Ada Generation"}]
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
    "verify": [],
}


def release(model=None, image=IMAGE, commit=COMMIT, gpus=GPUS):
    return _release.release(dict(MODEL, **(model or {})), image, commit, gpus, "/weights")


def found(release_, running=True, status="running"):
    return {
        "model": "capitals",
        "release": release_["id"],
        "container": release_["container"],
        "running": running,
        "status": status,
        "labels": release_["labels"],
        "port": 8000,
    }


def test_a_release_is_the_same_twice():
    assert release() == release()


@pytest.mark.parametrize(
    "change",
    [
        {"model": {"port": 8001}},
        {"model": {"address": "127.0.0.1"}},
        {"model": {"served_name": "other"}},
        {"model": {"uid": 1001}},
        {"model": {"shm_size": "1g"}},
        {"model": {"env": {"NIM_MAX_MODEL_LEN": 4096}}},
        {"model": {"profile": "throughput"}},
        {"model": {"weights": {"repo": "acme/other", "revision": "main"}}},
        {"commit": "d" * 40},
        {"image": dict(IMAGE, pinned="nvcr.io/x@sha256:" + "b" * 64, digest="sha256:" + "b" * 64)},
        {"gpus": [dict(GPUS[0], uuid="GPU-bb")]},
    ],
)
def test_everything_that_reaches_the_container_makes_another_release(change):
    assert release(**change)["id"] != release()["id"]


def test_what_does_not_reach_the_container_leaves_the_release_as_it_is():
    asked = {"verify": [{"prompt": "?", "expect": "x", "max_tokens": 4}]}
    moved = {"weights": {"repo": "acme/capitals", "revision": "v1"}}
    assert release(asked)["id"] == release(moved)["id"] == release()["id"]


@pytest.mark.parametrize(
    "change",
    [
        {"commit": "d" * 40},
        {"image": dict(IMAGE, digest="sha256:" + "b" * 64)},
        {"gpus": [dict(GPUS[0], name="NVIDIA H100 80GB HBM3")]},
        {"gpus": GPUS * 2},
        {"model": {"env": {"NIM_MAX_MODEL_LEN": 4096}}},
        {"model": {"profile": "throughput"}},
    ],
)
def test_a_changed_key_never_meets_a_stale_engine(change):
    assert release(**change)["engine"] != release()["engine"]


def test_another_gpu_of_the_same_kind_can_use_the_engine():
    assert release(gpus=[dict(GPUS[0], uuid="GPU-bb")])["engine"] == release()["engine"]


def test_the_container_gets_the_contract_s_variables_and_mounts():
    one = release({"env": {"NIM_MAX_MODEL_LEN": 4096}})
    assert one["env"] == {
        "NIM_CUSTOM_MODEL_NAME": one["engine"],
        "NIM_FT_MODEL": "/model",
        "NIM_MAX_MODEL_LEN": "4096",
        "NIM_SERVED_MODEL_NAME": "capitals",
    }
    assert one["volumes"] == [
        f"/weights/acme--capitals/{COMMIT}:/model:ro",
        "/var/lib/nim/capitals/cache:/opt/nim/.cache:rw",
    ]
    assert one["user"] == "1000:0"
    assert one["port"] == "0.0.0.0:8000:8000"


@pytest.mark.parametrize("key", sorted(_release.OWN_VARIABLES))
def test_a_variable_that_is_set_elsewhere_is_refused(key):
    with pytest.raises(Problem, match=key):
        release({"env": {key: "x"}})


@pytest.mark.parametrize("value", [True, None, ["a"], {"a": 1}])
def test_a_value_without_one_spelling_is_refused(value):
    with pytest.raises(Problem, match="NIM_X"):
        release({"env": {"NIM_X": value}})


@pytest.mark.parametrize(
    ("wish", "expected"), [([0], ["0"]), ({"count": 1}, ["0"]), (["GPU-aa"], ["GPU-aa"]), (["0"], ["0"])]
)
def test_docker_is_asked_for_gpus_in_the_words_of_the_wish(wish, expected):
    assert _release.device_ids(wish, GPUS) == expected


def test_nothing_is_planned_where_the_release_runs():
    wanted = release()
    assert _release.plan(wanted, [found(wanted)])["action"] == "none"


def test_a_bare_host_gets_a_release():
    assert _release.plan(release(), [])["action"] == "create"


def test_a_stopped_release_is_started():
    wanted = release()
    planned = _release.plan(wanted, [found(wanted, running=False, status="exited")])
    assert planned["action"] == "start"
    assert "exited" in planned["reasons"][0]


def test_another_release_is_replaced_and_named_with_what_differs():
    old = release(commit="d" * 40)
    planned = _release.plan(release(), [found(old)])
    assert planned["action"] == "replace"
    assert planned["predecessor"] == {"container": old["container"], "health": "http://127.0.0.1:8000/v1/health/ready"}
    assert planned["reasons"] == [f"weights: {'d' * 40} → {COMMIT}"]


def test_a_stopped_predecessor_is_left_alone():
    wanted, old = release(), release(commit="d" * 40)
    assert _release.plan(wanted, [found(old, running=False, status="exited"), found(wanted)])["action"] == "none"


def test_two_running_releases_are_not_in_sync():
    wanted, old = release(), release(commit="d" * 40)
    assert _release.plan(wanted, [found(wanted), found(old)])["predecessor"]["container"] == old["container"]


def test_staging_pins_the_profile_by_its_bare_id_and_labels_the_proof():
    wanted = release()
    planned = {"release": wanted, "model": MODEL, "api": None}
    before = copy.deepcopy(planned)
    snapshot = {"manifest_sha256": "f" * 64, "checkpoint": {"has_chat_template": True}}
    done = _release.staged(planned, snapshot, {"id": "9" * 64, "description": "vllm-bf16-tp1-pp1"})
    assert done["api"] == "chat"
    assert done["release"]["env"]["NIM_MODEL_PROFILE"] == "9" * 64
    assert done["release"]["labels"]["llmops.nim.profile_name"] == "vllm-bf16-tp1-pp1"
    assert done["release"]["labels"]["llmops.nim.manifest"] == "f" * 64
    assert planned == before


@pytest.mark.parametrize("version", ["1.2.1", "1.11.0", "1.15.5", "2.0.12", "3.0.0"])
def test_a_generation_that_takes_weights_otherwise_is_refused(version):
    with pytest.raises(Problem, match=version):
        release(image=dict(IMAGE, nim_version=version))


@pytest.mark.parametrize("version", ["1.3.0", "1.8.4", "1.10.1", None])
def test_a_generation_that_takes_weights_by_nim_ft_model_is_accepted(version):
    assert release(image=dict(IMAGE, nim_version=version))["env"]["NIM_FT_MODEL"] == "/model"


def test_the_plans_of_a_host_say_what_is_done_and_what_happens_if_it_fails():
    old = found(release(commit="d" * 40))
    todo = _release.plans(
        [MODEL], {MODEL["image"]: IMAGE}, {"acme/capitals@main": COMMIT}, {"capitals": GPUS}, [old], "/weights"
    )[0]
    assert todo["release"] == release()
    assert todo["api"] is None
    assert "replace" in todo["text"]
    assert f"{old['container']} serves again" in todo["fallback"]
