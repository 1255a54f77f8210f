# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""What the description of a profile says."""

from __future__ import annotations

import pytest

from ansible_collections.llmops.nim.plugins.module_utils._profile_name import read_name, without_size

HASH = "0123456789abcdef" * 4

# name: engine, buildable, gpu, precision, tp, pp, objective, lora, GB
NAMES = {
    "vllm": ("vllm", False, None, None, None, None, None, False, None),
    "sglang": ("sglang", False, None, None, None, None, None, False, None),
    "tensorrt_llm": ("tensorrt_llm", None, None, None, None, None, None, False, None),
    "vllm-fp16-tp1": ("vllm", False, None, "fp16", 1, None, None, False, None),
    "vllm-fp16-tp2-lora": ("vllm", False, None, "fp16", 2, None, None, True, None),
    "tensorrt_llm-A100-fp16-tp2-latency": ("tensorrt_llm", False, "a100", "fp16", 2, None, "latency", False, None),
    "tensorrt_llm-trtllm_buildable-bf16-tp2": ("tensorrt_llm", True, None, "bf16", 2, None, None, False, None),
    "tensorrt_llm-local_build-fp8-tp4-pp2": ("tensorrt_llm", True, None, "fp8", 4, 2, None, False, None),
    "tensorrt_llm-a100_sxm4_40gb-bf16-tp1-pp1-throughput-lora-lora": (
        "tensorrt_llm",
        False,
        "a100_sxm4_40gb",
        "bf16",
        1,
        1,
        "throughput",
        True,
        None,
    ),
    f"tensorrt_llm-h100_nvl-fp8-tp2-pp1-throughput-2321:10de-{HASH}-4": (
        "tensorrt_llm",
        False,
        "h100_nvl",
        "fp8",
        2,
        1,
        "throughput",
        False,
        None,
    ),
    f"vllm-bf16-tp2-pp1-lora-32-{HASH}": ("vllm", False, None, "bf16", 2, 1, None, True, None),
    "tensorrt_llm-h100-fp8-tp1-pp1-latency-pytorch-26b9": (
        "tensorrt_llm",
        False,
        "h100",
        "fp8",
        1,
        1,
        "latency",
        False,
        None,
    ),
    "sglang-h100-bf16-tp8-pp2": ("sglang", False, "h100", "bf16", 8, 2, None, False, None),
    "vllm-bf16-tp1-pp1-33.0": ("vllm", False, None, "bf16", 1, 1, None, False, 33.0),
    "vllm-nvfp4-tp1-pp1-feat_lora-24.5": ("vllm", False, None, "nvfp4", 1, 1, None, True, 24.5),
    "vllm-tp1-pp1-...": ("vllm", False, None, None, 1, 1, None, False, None),
    "vllm-w4a16-tp1-pp1": ("vllm", False, None, "w4a16", 1, 1, None, False, None),
    "h100-fp16-tp1-throughput": (None, None, "h100", "fp16", 1, None, "throughput", False, None),
    # A word where a GPU or a precision may stand, and neither is known: it says nothing.
    "vllm-something-tp4": ("vllm", False, None, None, 4, None, None, False, None),
}

# Texts of cached engines.
NOTHING = [
    "70b-trt-engine",
    "custom_1",
    "openmath2-8b-0a1b2c3d4e5f",
    "vllm-mine",
    "my tp2",
    "bf16-tp2",
    "my-tp2-model",
    "my-bf16-tp2",
    "tensorrt_llm engine",
    "latency",
    "-",
    "tp0",
    "vllm-bf16-tp0",
    "",
]


@pytest.mark.parametrize("name", NAMES)
def test_name(name):
    facts = read_name(name)
    keys = ("engine", "buildable", "gpu", "precision", "tensor_parallel", "pipeline_parallel", "objective", "lora")
    assert tuple(facts[key] for key in (*keys, "memory_gb_per_gpu")) == NAMES[name]


def test_settings_for_pytorch():
    assert read_name("tensorrt_llm-h100-fp8-tp1-pp1-latency-pytorch")["pytorch"] is True
    assert read_name("tensorrt_llm-h100-fp8-tp1-pp1-latency")["pytorch"] is False


@pytest.mark.parametrize("name", NOTHING)
def test_name_that_says_nothing(name):
    facts = read_name(name)
    assert facts.pop("lora") is False
    assert facts.pop("pytorch") is False
    assert set(facts.values()) == {None}


@pytest.mark.parametrize(
    ("name", "bare"),
    [
        ("vllm-bf16-tp1-pp1-33.0", "vllm-bf16-tp1-pp1"),
        ("vllm-bf16-tp1-pp1", "vllm-bf16-tp1-pp1"),
        ("33.0", "33.0"),
        ("a-4", "a-4"),
    ],
)
def test_without_size(name, bare):
    assert without_size(name) == bare
