"""The plan: one call a server where nothing is to be done, and a clear word where something cannot be done."""

from __future__ import annotations

import json
import re
import sys
from collections import Counter
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "shared"))

from lab import INVENTORY, fingerprint, model, playbook, run

OURS = (INVENTORY, "molecule/generations/hosts.ini")
ADDRESSES = {"gpu1": "10.83.0.11", "gpu2": "10.83.0.12", "gpu3": "10.83.0.13"}


@pytest.fixture(autouse=True)
def nothing_changes():
    before = [fingerprint(host) for host in ADDRESSES]
    yield
    assert [fingerprint(host) for host in ADDRESSES] == before


def flat(text):
    return " ".join(text.split())


def test_servers_in_sync_take_one_module_call_each(tmp_path):
    done = playbook("plan", "-vvv", inventories=OURS, nim_plan_file=str(tmp_path / "plan.json"))
    assert done.returncode == 0, done.stdout
    called = Counter(re.findall(r"Using module file \S+/(gpu_host_info|nim_\w+)\.py", done.stdout))
    # What tags and revisions mean is asked once a run, by the control node.
    assert called == {"gpu_host_info": 3, "nim_image_info": 1, "nim_weights_info": 1}
    calls = Counter(re.findall(r"<(10\.83\.0\.1\d)> SSH: EXEC", done.stdout))
    assert calls == dict.fromkeys(ADDRESSES.values(), 1)
    plan = json.loads((tmp_path / "plan.json").read_text())
    assert {item["action"] for items in plan.values() for item in items} == {"none"}
    assert [item["model"] for item in plan["gpu1"]] == ["nim-1.3", "unlabelled", "nim-1.15", "multi-llm", "model-free"]


def test_a_change_is_told_key_by_key_with_profile_and_engine():
    wanted = model(weights__revision="v2", env={"NIM_MAX_MODEL_LEN": 4096})
    done = playbook("deploy", "--check", limit="gpu2", nim_models=[wanted])
    assert done.returncode == 0, done.stdout
    for words in (
        "replace the running release by nim-capitals-",
        "change: weights:",
        "change: env.NIM_MAX_MODEL_LEN: - → 4096",
        "fetch: image nothing, weights",
        "profile: tensorrt_llm-trtllm_buildable-bf16-tp1-pp1",
        "engine: build",
        "swap: in_place",
        "HOST MODEL DO",
    ):
        assert words in flat(done.stdout), done.stdout


def test_gpus_of_two_kinds_are_explained_and_one_is_proposed():
    done = playbook("plan", limit="gpu2", nim_models=[model(gpus=[0, 1])])
    assert done.returncode != 0
    for words in ("GPUs of different kinds", "RTX 6000 Ada", "T600", "every profile incompatible", "gpus: [0]"):
        assert words in flat(done.stdout), done.stdout


def test_a_model_too_large_for_its_gpu_is_refused_with_the_arithmetic():
    images = run("gpu2", "docker images --quiet").split()
    done = playbook("deploy", limit="gpu2", nim_models=[model(name="too-big", weights__repo="lab/too-big", port=8009)])
    assert done.returncode != 0
    for words in ("too large", "parameters", "49140", "MiB", "do: "):
        assert words in flat(done.stdout), done.stdout
    assert run("gpu2", "docker images --quiet").split() == images


@pytest.mark.parametrize(
    ("env", "right"),
    [({"NIM_FT_MODEL": "/x"}, "NIM_MODEL_PATH"), ({"NIM_KVCACHE_PERCENT": "0.4"}, "--gpu-memory-utilization")],
)
def test_a_variable_of_another_generation_is_refused_with_the_right_one(env, right):
    image = "nvcr.lab/nim/nvidia/model-free-nim:2.0.2"
    done = playbook("plan", limit="gpu1", nim_models=[model(image=image, env=env)])
    assert done.returncode != 0
    assert right in flat(done.stdout), done.stdout


def test_an_image_that_does_not_say_what_it_is_asks_for_the_contract():
    image = "nvcr.lab/nim/meta/llama-3.2-1b-instruct:unlabelled"
    done = playbook("plan", limit="gpu1", nim_models=[model(image=image)])
    assert done.returncode != 0
    assert "does not say which NIM it is" in flat(done.stdout), done.stdout
    assert "contract" in done.stdout


@pytest.mark.parametrize(
    ("repository", "words"),
    [
        ("lab/broken-header", "header"),
        ("lab/broken-shard", "missing"),
        ("lab/broken-no-config", "config.json is missing"),
    ],
)
def test_a_broken_checkpoint_is_refused_before_anything_is_fetched(repository, words):
    done = playbook("plan", limit="gpu2", nim_models=[model(weights__repo=repository)])
    assert done.returncode != 0
    assert words in flat(done.stdout), done.stdout
