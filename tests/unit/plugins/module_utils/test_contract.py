# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

import pytest

from ansible_collections.llmops.nim.plugins.module_utils import _contract


@pytest.mark.parametrize(
    ("version", "generation"),
    [
        ("1.0", "1.0"),
        ("1.0.3", "1.0"),
        ("1.2.1", "1.0"),
        ("1.3.0", "1.3"),
        ("1.8.4", "1.3"),
        ("1.8.0-rtx", "1.3"),
        ("1.10.1", "1.3"),
        ("1.11.0", "1.11"),
        ("1.15.5", "1.11"),
        ("2.0.4-pb6", "2"),
        ("2.1.5", "2"),
        # A floating tag says no minor version, and these no known generation.
        ("1", None),
        ("3.0.0", None),
        ("0.9.1", None),
        ("latest", None),
        ("", None),
        (None, None),
    ],
)
def test_generation(version, generation):
    assert _contract.generation(version) == generation


def test_nim_version_reads_the_label_first():
    variable = "INFERENCE_MICROSERVICE_LLM_NIM_VERSION"
    assert _contract.nim_version({"com.nvidia.nim.version": "1.12.2"}, {variable: ""}) == "1.12.2"
    assert _contract.nim_version({}, {variable: "1.8.4"}) == "1.8.4"
    assert _contract.nim_version({}, {variable: ""}) is None


@pytest.mark.parametrize(
    ("reference", "version", "contract"),
    [
        ("nvcr.io/nim/meta/llama:1", "1.2.1", "1.0"),
        ("nvcr.io/nim/meta/llama:1", "1.8.4", "1.3"),
        ("nvcr.io/nim/meta/llama:1", "1.14.0", "1.11"),
        ("nvcr.io/nim/meta/llama:1", "1.15.5", "1.15"),
        ("nvcr.io/nim/meta/llama:1", "1.16.0", "1.15"),
        ("nvcr.io/nim/meta/llama:2", "2.0.12", "2"),
        ("nvcr.io/nim/nvidia/llm-nim:1.12.0", "1.12.0", "multi_llm"),
        ("mirror:5000/nvidia/model-free-nim:2.0.2", None, "model_free"),
        ("nvcr.io/nim/nvidia/vllm-model-free-nim:2.1.5", "2.1.5", "model_free"),
        ("nvcr.io/nim/nvidia/sglang-model-free-nim:2.1.5", "2.1.5", "model_free_sglang"),
        # Without a label the tag tells, unless it floats.
        ("nvcr.io/nim/meta/llama:1.10.1", None, "1.3"),
        ("nvcr.io/nim/meta/llama:1.15.5-pb2", None, "1.15"),
        ("nvcr.io/nim/meta/llama:1", None, None),
        ("nvcr.io/nim/meta/llama:latest", None, None),
        ("nvcr.io/nim/meta/llama@sha256:" + "1" * 64, None, None),
        ("registry:5000/llama", None, None),
        ("nvcr.io/nim/meta/llama:1.8.4", "3.0.0", None),
    ],
)
def test_the_contract_is_read_from_label_name_and_tag(reference, version, contract):
    assert _contract.contract_name(reference, version) == contract


def test_a_wish_for_a_contract_wins():
    assert _contract.contract_name("mirror/llama:1", "1.8.4", "1.15") == "1.15"


def test_every_contract_says_what_it_is_and_who_says_so():
    for contract in _contract.CONTRACTS.values():
        assert contract.generation in _contract.GENERATIONS
        assert contract.images
        for source in (contract.source, contract.share.source):
            assert source.split(":")[0] in ("documented", "observed", "inferred", "estimate")
        assert bool(contract.weights) != bool(contract.instead)
