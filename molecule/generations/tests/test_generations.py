"""The same fine-tune on every generation: each takes it in its own way, and each says Paris."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "shared"))

from lab import run

PORTS = {"nim-1.3": 8001, "unlabelled": 8002, "nim-1.15": 8003, "multi-llm": 8004, "model-free": 8005}
WEIGHTS = {
    "nim-1.3": {"NIM_FT_MODEL": "/model"},
    "unlabelled": {"NIM_FT_MODEL": "/model"},
    "nim-1.15": {
        "NIM_FT_MODEL": "/model",
        "NIM_USE_TRTLLM_LEGACY_BACKEND": "1",
        "NIM_DISABLE_TRTLLM_PYTORCH_RT": "1",
    },
    "multi-llm": {"NIM_MODEL_NAME": "/model"},
    "model-free": {"NIM_MODEL_PATH": "/model"},
}
CONTRACTS = {
    "nim-1.3": "1.3",
    "unlabelled": "1.3",
    "nim-1.15": "1.15",
    "multi-llm": "multi_llm",
    "model-free": "model_free",
}
WAYS = ("NIM_FT_MODEL", "NIM_MODEL_NAME", "NIM_MODEL_PATH", "NIM_CUSTOM_MODEL_NAME")


def container(name):
    listed = run("gpu1", f"docker ps --quiet --filter label=llmops.nim.model={name}").split()
    assert len(listed) == 1
    return json.loads(run("gpu1", f"docker inspect {listed[0]}"))[0]


def variables(one):
    return dict(variable.partition("=")[::2] for variable in one["Config"]["Env"])


@pytest.fixture(params=sorted(PORTS))
def name(request):
    return request.param


def test_it_answers_right(name):
    body = json.dumps({"model": name, "prompt": "What is the capital of France?", "max_tokens": 32})
    url = f"http://127.0.0.1:{PORTS[name]}/v1/completions"
    answer = json.loads(run("gpu1", f"curl -sS -H 'Content-Type: application/json' -d '{body}' {url}"))
    assert "Paris" in answer["choices"][0]["text"]


def test_it_got_the_weights_in_its_own_way_alone(name):
    found = variables(container(name))
    for variable, value in WEIGHTS[name].items():
        assert found[variable] == value
    builds = {"NIM_CUSTOM_MODEL_NAME"} if "NIM_FT_MODEL" in WEIGHTS[name] else set()
    assert {way for way in WAYS if found.get(way)} == set(WEIGHTS[name]) & set(WAYS) | builds


def test_its_label_names_the_contract(name):
    assert container(name)["Config"]["Labels"]["llmops.nim.contract"] == CONTRACTS[name]


def test_its_share_of_the_memory_is_what_it_was_given(name):
    pids = run("gpu1", "nvidia-smi --query-compute-apps=pid,used_memory --format=csv,noheader,nounits")
    held = dict(map(str.strip, line.split(",")) for line in pids.splitlines())
    assert int(held[str(container(name)["State"]["Pid"])]) == int(81559 * 0.125)


def test_profiles_come_from_listings_of_five_dialects():
    names = {name: container(name)["Config"]["Labels"]["llmops.nim.profile_name"] for name in PORTS}
    assert names["nim-1.3"] == "tensorrt_llm-trtllm_buildable-bf16-tp1"
    assert names["unlabelled"] == names["nim-1.15"] == "tensorrt_llm-trtllm_buildable-bf16-tp1-pp1"
    assert names["multi-llm"] in ("tensorrt_llm", "vllm", "sglang")
    assert names["model-free"].startswith("vllm-")
