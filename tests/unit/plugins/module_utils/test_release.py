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
    "unchecked_env": {},
    "memory_share": None,
    "contract": "auto",
    "gateway_port": None,
    "second_port": None,
    "strategy": "auto",
    "verify": [],
}


def release(model=None, image=IMAGE, commit=COMMIT, gpus=GPUS):
    return _release.release(dict(MODEL, **(model or {})), image, commit, gpus, "/weights")


def test_other_patterns_of_files_are_other_weights():
    other = _release.release(MODEL, IMAGE, COMMIT, GPUS, "/weights", selection="-0a1b2c3d")
    assert other["id"] != release()["id"]
    assert other["volumes"][0].startswith(f"/weights/acme--capitals/{COMMIT}-0a1b2c3d:")
    assert other["engine"] != release()["engine"]
    assert other["labels"]["llmops.nim.commit"] == COMMIT


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
    assert one["published"] == "0.0.0.0:8000:8000"


@pytest.mark.parametrize("value", [True, None, ["a"], {"a": 1}])
def test_a_value_without_one_spelling_is_refused(value):
    with pytest.raises(Problem, match="OTHER"):
        release({"env": {"OTHER": value}})


@pytest.mark.parametrize(
    ("wish", "expected"), [([0], ["0"]), ({"count": 1}, ["0"]), (["GPU-aa"], ["GPU-aa"]), (["0"], ["0"])]
)
def test_docker_is_asked_for_gpus_in_the_words_of_the_wish(wish, expected):
    one = release({"gpus": wish})
    assert one["device_ids"] == expected
    assert one["device_requests"] == [
        {"driver": "", "device_ids": expected, "count": 0, "capabilities": [["gpu"]]},
    ]


@pytest.mark.parametrize(
    ("wish", "named", "expected"),
    [
        ([0], ["0", "GPU-aa"], "0"),
        (["GPU-aa"], ["0", "GPU-aa"], "GPU-aa"),
        # A specification written by hand may name indexes alone, or UUIDs alone.
        (["GPU-aa"], ["0"], "0"),
        ([0], ["GPU-aa"], "GPU-aa"),
    ],
)
def test_by_cdi_docker_is_asked_for_devices_of_the_specification(wish, named, expected):
    gpus = [dict(GPUS[0], cdi_devices=named)]
    one = _release.release(dict(MODEL, gpus=wish), IMAGE, COMMIT, gpus, "/weights", gpu_mode="cdi")
    assert one["device_requests"] == [{"driver": "cdi", "device_ids": [f"nvidia.com/gpu={expected}"], "count": 0}]
    assert one["device_ids"] == [expected]


def test_the_mode_is_part_of_a_release_by_cdi_and_leaves_the_ids_of_all_others_as_they_were():
    gpus = [dict(GPUS[0], cdi_devices=["0"])]
    by_cdi = _release.release(MODEL, IMAGE, COMMIT, gpus, "/weights", gpu_mode="cdi")
    assert by_cdi["id"] != release()["id"]
    assert by_cdi["labels"]["llmops.nim.gpu_mode"] == "cdi"
    # The id that this release had before there was a choice.
    assert release()["id"] == "3f831743"
    assert "llmops.nim.gpu_mode" not in release()["labels"]


def test_an_image_by_its_id_keeps_the_engine_of_its_digest_and_says_what_it_is():
    identity = "sha256:" + "e" * 64
    by_id = release(image=dict(IMAGE, pinned=identity, reference="nvcr.io/nim/meta/llama:1.8.4"))
    assert by_id["image"] == by_id["labels"]["llmops.nim.image"] == identity
    assert by_id["labels"]["llmops.nim.image_name"] == "nvcr.io/nim/meta/llama:1.8.4"
    assert by_id["engine"] == release()["engine"]
    assert "llmops.nim.image_name" not in release()["labels"]


def test_staging_pins_the_profile_by_its_bare_id_and_labels_the_proof():
    wanted = release()
    planned = {"release": wanted, "model": MODEL, "api": None, "keyless": []}
    before = copy.deepcopy(planned)
    snapshot = {"manifest_sha256": "f" * 64, "checkpoint": {"has_chat_template": True}}
    done = _release.staged(planned, snapshot, {"id": "9" * 64, "description": "vllm-bf16-tp1-pp1"})
    assert done["api"] == "chat"
    assert done["release"]["env"]["NIM_MODEL_PROFILE"] == "9" * 64
    assert done["release"]["labels"]["llmops.nim.profile_name"] == "vllm-bf16-tp1-pp1"
    assert done["release"]["labels"]["llmops.nim.manifest"] == "f" * 64
    assert planned == before


def test_an_image_without_engines_of_its_own_has_no_engine_to_keep():
    model_free = {"image": "nvcr.io/nim/nvidia/model-free-nim:2.0.2"}
    assert release(model_free, dict(IMAGE, nim_version="2.0.2"))["engine"] is None


def test_a_low_memory_profile_brings_the_length_with_which_it_fits():
    planned = {"release": release(), "model": MODEL, "api": None, "keyless": []}
    snapshot = {"manifest_sha256": "f" * 64, "checkpoint": {"has_chat_template": False}}
    profile = {"id": "9" * 64, "description": "vllm-bf16-tp1-pp1", "max_model_len": 81152}
    assert _release.staged(planned, snapshot, profile)["release"]["env"]["NIM_MAX_MODEL_LEN"] == "81152"
    planned["release"] = release({"env": {"NIM_MAX_MODEL_LEN": 4096}})
    assert _release.staged(planned, snapshot, profile)["release"]["env"]["NIM_MAX_MODEL_LEN"] == "4096"


@pytest.mark.parametrize(("keyless", "key"), [([], True), (["8" * 64], True), (["9" * 64], False), (None, False)])
def test_a_release_that_needs_no_key_is_handed_none(keyless, key):
    planned = {"release": release(), "model": MODEL, "api": None, "keyless": keyless}
    snapshot = {"manifest_sha256": "f" * 64, "checkpoint": {"has_chat_template": False}}
    done = _release.staged(planned, snapshot, {"id": "9" * 64, "description": "vllm-bf16-tp1-pp1"})
    assert bool(done["release"]["env_file"]) == key
    assert done["release"]["id"] == planned["release"]["id"]
