# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""The names under which the lab's registry holds the image."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from lab_nim import contract

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))
import registry

BUILT = {
    "rootfs": {"diff_ids": ["sha256:0"]},
    "config": {"User": "1000", "Env": ["PATH=/bin", "LAB_NIM_VERSION=1.8.4"], "Labels": {"nim-lab.inputs": "image"}},
}


def configuration(name):
    whole = json.loads(registry.configuration(json.dumps(BUILT).encode(), name))
    return whole, dict(item.split("=", 1) for item in whole["config"]["Env"]), whole["config"]["Labels"]


@pytest.mark.parametrize("name", registry.NAMES, ids=lambda name: name["tags"][0])
def test_a_name_tells_what_it_rehearses(name):
    whole, env, labels = configuration(name)
    nim = contract.load(env["LAB_NIM_VERSION"])
    assert labels["nim-lab.inputs"] == "image", "lab/state.py goes by it"
    assert whole["rootfs"] == BUILT["rootfs"]
    assert env["PATH"] == "/bin"
    assert len(env) == len(whole["config"]["Env"])
    if name["labels"]:
        assert labels["com.nvidia.nim.version"] == nim.version
        assert name["repository"].endswith(labels["com.nvidia.nim.model"])
    assert env["INFERENCE_MICROSERVICE_LLM_NIM_VERSION"] in ("", nim.version)


def test_every_generation_has_a_name_and_no_name_is_given_twice():
    references = registry.references()
    assert len(set(references)) == len(references)
    rehearsed = {str(name["rehearses"]) for name in registry.NAMES}
    assert rehearsed == {path.stem for path in contract.GENERATIONS.glob("*.profiles")}


def test_one_image_says_nothing_of_itself():
    (name,) = [name for name in registry.NAMES if name["tags"] == ["unlabelled"]]
    _whole, env, labels = configuration(name)
    assert list(labels) == ["nim-lab.inputs"]
    assert env["INFERENCE_MICROSERVICE_LLM_NIM_VERSION"] == ""
