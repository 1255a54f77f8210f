# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

import pytest

from ansible_collections.llmops.nim.plugins.module_utils import _environment, _variables
from ansible_collections.llmops.nim.plugins.module_utils._contract import CONTRACTS
from ansible_collections.llmops.nim.plugins.module_utils._problem import Problem

MODEL = {
    "name": "capitals",
    "image": "nvcr.io/nim/meta/llama:1.8.4",
    "weights": {"repo": "acme/capitals", "revision": "main"},
    "served_name": None,
    "env": {},
    "unchecked_env": {},
    "memory_share": None,
    "contract": "auto",
}
# Those that take fine-tuned weights.
TAKING = sorted(name for name, contract in CONTRACTS.items() if contract.weights)


def model(**keys):
    return dict(MODEL, **keys)


def variables(contract, gpu_count=1, **keys):
    return _environment.release_environment(model(**keys), contract, "engine-1", gpu_count)


def refusal(contract, **keys):
    with pytest.raises(Problem) as raised:
        variables(contract, **keys)
    return raised.value


def test_each_contract_carries_the_weights_in_its_own_way():
    name = {"NIM_SERVED_MODEL_NAME": "capitals"}
    legacy = {"NIM_USE_TRTLLM_LEGACY_BACKEND": "1", "NIM_DISABLE_TRTLLM_PYTORCH_RT": "1"}
    fine_tuned = {"NIM_FT_MODEL": "/model", "NIM_CUSTOM_MODEL_NAME": "engine-1", **name}
    assert {contract: variables(contract) for contract in TAKING} == {
        "1.3": fine_tuned,
        "1.11": fine_tuned,
        "1.15": {**fine_tuned, **legacy},
        "multi_llm": {"NIM_MODEL_NAME": "/model", **name},
        "model_free": {"NIM_MODEL_PATH": "/model", **name},
        "model_free_sglang": {"NIM_MODEL_PATH": "/model", **name},
    }


def test_where_no_name_tells_the_number_of_gpus_a_variable_does():
    assert variables("multi_llm", gpu_count=2)["NIM_TENSOR_PARALLEL_SIZE"] == "2"
    own = {"NIM_PIPELINE_PARALLEL_SIZE": 2}
    assert "NIM_TENSOR_PARALLEL_SIZE" not in variables("multi_llm", gpu_count=2, env=own)
    assert "NIM_TENSOR_PARALLEL_SIZE" not in variables("1.3", gpu_count=2)


@pytest.mark.parametrize(
    ("contract", "variable", "right"),
    [
        ("model_free", "NIM_FT_MODEL", "NIM_MODEL_PATH"),
        ("model_free", "NIM_KVCACHE_PERCENT", "memory_share, which becomes --gpu-memory-utilization"),
        ("model_free", "NIM_CUSTOM_MODEL_NAME", "nothing"),
        ("model_free", "NIM_FORCE_TRUST_REMOTE_CODE", "NIM_TRUST_CUSTOM_CODE"),
        ("model_free_sglang", "NIM_KVCACHE_PERCENT", "NIM_KV_CACHE_PERCENT"),
        ("1.3", "NIM_MODEL_PATH", "NIM_FT_MODEL"),
        ("multi_llm", "NIM_FT_MODEL", "NIM_MODEL_NAME"),
        ("1.15", "NIM_TRUST_CUSTOM_CODE", "NIM_FORCE_TRUST_REMOTE_CODE"),
        ("1.3", "NIM_PASSTHROUGH_ARGS", "flags of the engine are for 2.x"),
        ("1.3", "NIM_USE_TRTLLM_LEGACY_BACKEND", "1.15"),
        ("1.3", "NIM_MAX_MODEL_LENGTH", "Did you mean NIM_MAX_MODEL_LEN?"),
        ("1.3", "NIM_HTTP_TRITON_PORT", "Triton"),
        ("1.3", "NIM_SOMETHING_NEW", "unchecked_env"),
    ],
)
def test_a_variable_unknown_to_the_image_is_refused_with_the_right_one(contract, variable, right):
    problem = refusal(contract, env={variable: "1"})
    assert problem.code == "env_unknown"
    assert variable in problem.what
    assert right in problem.remedy


def test_what_only_the_image_knows_can_be_handed_over_unchecked():
    assert variables("1.3", unchecked_env={"NIM_SOMETHING_NEW": 1})["NIM_SOMETHING_NEW"] == "1"


def test_variables_that_are_not_nim_s_are_nobody_s_business():
    assert variables("1.3", env={"NCCL_P2P_DISABLE": 1})["NCCL_P2P_DISABLE"] == "1"


@pytest.mark.parametrize("contract", TAKING)
def test_what_the_collection_sets_is_refused_in_env(contract):
    own = {"NGC_API_KEY", "NIM_CACHE_PATH", "NIM_MODEL_PROFILE", "NIM_SERVED_MODEL_NAME", "NIM_SERVER_PORT"}
    own |= {CONTRACTS[contract].weights, *CONTRACTS[contract].switches}
    for variable in own:
        for key in ("env", "unchecked_env"):
            assert refusal(contract, **{key: {variable: "1"}}).code == "env_reserved"


@pytest.mark.parametrize("contract", TAKING)
def test_the_share_is_written_and_read_in_the_words_of_the_generation(contract):
    found = variables(contract, memory_share=0.45)
    assert _environment.share_said(found, CONTRACTS[contract].share) == 0.45
    assert _environment.share_said(variables(contract), CONTRACTS[contract].share) is None


def test_the_share_stands_beside_other_flags():
    found = variables("model_free", memory_share=0.4, env={"NIM_PASSTHROUGH_ARGS": "--max-model-len 4096"})
    assert found["NIM_PASSTHROUGH_ARGS"] == "--max-model-len 4096 --gpu-memory-utilization 0.4"
    assert _environment.max_length(found) == 4096


def test_the_share_lets_1_x_start_beside_others():
    found = variables("1.3", memory_share=0.4)
    assert found["NIM_KVCACHE_PERCENT"] == "0.4"
    assert found["NIM_RELAX_MEM_CONSTRAINTS"] == "1"


@pytest.mark.parametrize(
    ("contract", "env"),
    [
        ("1.3", {"NIM_KVCACHE_PERCENT": "0.3"}),
        ("model_free", {"NIM_PASSTHROUGH_ARGS": "--gpu-memory-utilization=0.3"}),
    ],
)
def test_a_share_said_twice_is_refused(contract, env):
    assert refusal(contract, env=env, memory_share=0.4).code == "memory_share_twice"


@pytest.mark.parametrize("share", [0, -0.1, 1.01, float("nan")])
def test_a_share_that_is_none_is_refused(share):
    assert refusal("1.3", memory_share=share).code == "memory_share_invalid"


@pytest.mark.parametrize(
    ("env", "length"),
    [
        ({}, None),
        ({"NIM_MAX_MODEL_LEN": "4096"}, 4096),
        ({"NIM_MAX_MODEL_LEN": "auto"}, None),
        # A flag wins over the variable.
        ({"NIM_MAX_MODEL_LEN": "4096", "NIM_PASSTHROUGH_ARGS": "--max-model-len=2048"}, 2048),
    ],
)
def test_the_length_is_read_from_either(env, length):
    assert _environment.max_length(env) == length


@pytest.mark.parametrize(
    ("image", "version", "contract", "code"),
    [
        ("nvcr.io/nim/meta/llama:1", None, "auto", "contract_unknown"),
        ("nvcr.io/nim/meta/llama:3.0.0", "3.0.0", "auto", "contract_unknown"),
        ("nvcr.io/nim/meta/llama:1.2.1", "1.2.1", "auto", "contract_without_weights"),
        ("nvcr.io/nim/meta/llama:2.0.12", "2.0.12", "auto", "contract_without_weights"),
    ],
)
def test_an_image_that_takes_no_weights_or_says_nothing_is_refused(image, version, contract, code):
    with pytest.raises(Problem) as raised:
        _environment.contract_of(model(image=image, contract=contract), {"nim_version": version})
    assert raised.value.code == code
    assert raised.value.remedy


def test_the_contract_can_be_said():
    silent = model(image="mirror/llama:prod", contract="1.15")
    assert _environment.contract_of(silent, {"nim_version": None}) == "1.15"


def test_every_hint_is_for_a_variable_that_is_unknown_there():
    for contract, known in _variables.KNOWN.items():
        two = CONTRACTS[contract].generation == "2"
        hints = set(_variables._INSTEAD_2 if two else _variables._INSTEAD_1)
        # In one image or another of the generation each of them is known.
        assert not hints & known - {"NIM_KV_CACHE_PERCENT", "NIM_FT_MODEL"}
