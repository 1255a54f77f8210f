# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""What the description of a profile says, e.g. C(tensorrt_llm-h100-fp8-tp2-pp1-latency), and nothing more.

Names seen in published listings (profile lists of NIM 1.0 to 2.x):

    vllm                                                           multi-LLM images: the engine only
    vllm-fp16-tp1[-lora]                                           1.0 to 1.2
    tensorrt_llm-trtllm_buildable-bf16-tp2[-pp1][-lora]            1.3 on; documents also write local_build
    tensorrt_llm-a100_sxm4_40gb-bf16-tp1-pp1-throughput-lora-lora  1.8
    tensorrt_llm-h100_nvl-fp8-tp2-pp1-throughput-2321:10de-<64 hex>-4, vllm-bf16-tp2-pp1-lora-32-<hash>   1.12 on
    tensorrt_llm-h100-fp8-tp1-pp1-latency-pytorch-26b9             1.15: settings, no engine
    vllm-bf16-tp1-pp1[-feat_lora]-33.0                             2.x: ends with the GB a GPU needs
    vllm-tp1-pp1-…                                                 2.x model-free: no precision
    h100-fp16-tp1-throughput                                       the first VLM images: no engine

A cached engine carries any text its owner gave it, so a name outside this grammar says nothing at all.

Private to the collection: breaking changes at any time.
"""

from __future__ import annotations

import re

ENGINES = ("tensorrt_llm", "vllm", "sglang")
BUILDABLE = ("trtllm_buildable", "local_build")
OBJECTIVES = ("latency", "throughput")

_PRECISION = re.compile(r"(?:bf|fp|nvfp|mxfp|int|tf)\d+(?:_\w+)?|w\d+a\d+(?:_\w+)?")
_TENSOR = re.compile(r"tp([1-9]\d{0,3})")
_PIPELINE = re.compile(r"pp([1-9]\d{0,3})")
_SIZE = re.compile(r"\d{1,5}\.\d{1,3}")


def read_name(description):
    """What the description (str) of a profile says: dict with the keys

    engine (one of ENGINES), gpu (lower case), precision (lower case), objective (one of OBJECTIVES),
    tensor_parallel, pipeline_parallel (int), memory_gb_per_gpu (float): each None where the name does not say;
    buildable (bool, or None where the name does not say); lora, pytorch (bool: the name says so).
    """
    facts = {
        "engine": None,
        "buildable": None,
        "gpu": None,
        "precision": None,
        "tensor_parallel": None,
        "pipeline_parallel": None,
        "objective": None,
        "memory_gb_per_gpu": None,
        "lora": False,
        "pytorch": False,
    }
    tokens = description.lower().split("-")
    engine = tokens[0] if tokens[0] in ENGINES else None
    split = next((place for place, token in enumerate(tokens) if _TENSOR.fullmatch(token)), None)
    if split is None:
        if engine and len(tokens) == 1:
            # A bare TensorRT-LLM may build an engine or not; the two others never do.
            facts.update(engine=engine, buildable=None if engine == "tensorrt_llm" else False)
        return facts

    before, after = tokens[1 if engine else 0 : split], tokens[split + 1 :]
    precision = before.pop() if before and _PRECISION.fullmatch(before[-1]) else None
    buildable = any(token in BUILDABLE for token in before)
    gpu = "-".join(token for token in before if token not in BUILDABLE)
    if not engine and not (gpu and precision and after and after[-1] in OBJECTIVES):
        return facts  # somebody's own text that happens to hold "tp1"
    facts.update(engine=engine, buildable=buildable if engine else None, precision=precision)
    facts["tensor_parallel"] = _number(_TENSOR, tokens[split])
    # Without a precision behind it, the word could be a precision not known here: then it says nothing.
    facts["gpu"] = gpu if precision and gpu else None
    if after and _PIPELINE.fullmatch(after[0]):
        facts["pipeline_parallel"] = _number(_PIPELINE, after.pop(0))
    if after and after[0] in OBJECTIVES:
        facts["objective"] = after[0]
    facts["lora"] = "lora" in after or "feat_lora" in after
    facts["pytorch"] = "pytorch" in after
    if after and _SIZE.fullmatch(after[-1]):
        facts["memory_gb_per_gpu"] = float(after[-1])
    return facts


def without_size(description):
    """The description (str) without the trailing size that 2.x prints and NVIDIA's documents leave out."""
    head, dash, tail = description.rpartition("-")
    return head if dash and _SIZE.fullmatch(tail) else description


def _number(pattern, token):
    return int(pattern.fullmatch(token).group(1))
