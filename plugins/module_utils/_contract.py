# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""What each generation of NIM understands, and how it takes fine-tuned weights: data with its sources.

Sources are tagged C(documented) (a vendor's page says it), C(observed) (seen in a published log or file),
C(inferred) or C(estimate) (ours).

Private to the collection: breaking changes at any time.
"""

from __future__ import annotations

import re
from typing import NamedTuple

GENERATIONS = ("1.0", "1.3", "1.11", "2")
NEWEST = GENERATIONS[-1]

# The most of its memory that may be in use on a GPU that NIM 1.x calls free.
FREE_GPU_MAX_USED = 0.05
FREE_GPU_SOURCE = "observed: NIM 1.x calls a GPU free with at most 5 % of its memory used; 7 % (a desktop) was too much"

# In the container: the image's own defaults of NIM_CACHE_PATH and NIM_SERVER_PORT (documented), and its way to weights.
CACHE_MOUNT = "/opt/nim/.cache"
SERVER_PORT = 8000
# One path for every release: compile caches may take a model's path into their key.
WEIGHTS_MOUNT = "/model"
# Any uid works with group 0 (documented for 2.x from 2.0.3; 1.x wants a cache that the uid may write, as this one may).
GROUP = 0
MAX_LENGTH = "NIM_MAX_MODEL_LEN"
# Flags of the engine, for 2.x (documented: they win over NIM_* variables).
ENGINE_FLAGS = "NIM_PASSTHROUGH_ARGS"


class Share(NamedTuple):
    """How much of a GPU's memory an engine takes, weights and KV cache together, and how to say otherwise.

    variable: the variable that says so. flag: the flag of the engine inside C(variable), or None: the bare number.
    relax: variables that let it start although not nearly all memory is free. default: fraction taken if nothing is
    said. source: who says so.
    """

    variable: str
    flag: str | None
    relax: dict[str, str]
    default: float
    source: str


class Overhead(NamedTuple):
    """What a release holds of each GPU beside weights and KV cache: CUDA's context, activations, graphs. mib: int."""

    mib: int
    source: str


class Contract(NamedTuple):
    """What one kind of image understands.

    generation: one of GENERATIONS. images: which images speak it. source: who says so.
    weights: the variable with the path of fine-tuned weights; None: it takes none, and C(instead) says what does.
    switches: variables that must go with C(weights).
    engine_name: the variable that names the engine which is built and cached; None: none is known to be kept.
    tensor_parallel: the variable with the number of GPUs where the names of profiles do not tell it, or None.
    share: how much memory it takes. overhead: what it needs of that beside weights and KV cache.
    inner_ports: ports in the container beside SERVER_PORT.
    live_first: while the model loads, /v1/health/live answers and ready says 503; else connections are refused.
    strict_length: it does not start with a length whose KV cache does not fit.
    cdi_trap: the driver version (str) from which its CUDA is known to fail where CDI hands over the GPU, or None.
    """

    generation: str
    images: str
    weights: str | None
    switches: dict[str, str]
    engine_name: str | None
    tensor_parallel: str | None
    share: Share
    overhead: Overhead
    inner_ports: tuple[int, ...]
    live_first: bool
    strict_length: bool
    source: str
    instead: str = ""
    cdi_trap: str | None = None


CDI_TRAP_SOURCE = (
    "observed: images of vLLM 0.15 and newer, on which NIM 2.x stands, end with CUDA error 803 on driver 580 and newer "
    "where CDI or --runtime nvidia hands over the GPU, and not with --gpus"
)

_SHARE_1 = Share(
    "NIM_KVCACHE_PERCENT",
    None,
    {"NIM_RELAX_MEM_CONSTRAINTS": "1"},
    0.9,
    "documented: 1.11 release notes name the variable; observed: NIM_RELAX_MEM_CONSTRAINTS with 1.8 and 1.12; "
    "unverified: the default 0.9",
)
_SHARE_VLLM = Share(
    ENGINE_FLAGS,
    "--gpu-memory-utilization",
    {},
    0.92,
    "documented: 2.x takes flags of its engine; vLLM takes 0.92 of all memory by default (0.9 before)",
)
_SHARE_SGLANG = Share(
    "NIM_KV_CACHE_PERCENT", None, {}, 0.9, "observed: SGLang images of 2.x; unverified: the default 0.9"
)

# What torch 2.11 and transformers 5.17 held of an H100 (driver 580.159.04) for Llama 3.2 1B, 3.2 3B and 3.1 8B in bf16,
# at 2048 to 131072 tokens (docs/gpu.md): no NIM, but nothing else was ever measured.
_MEASURED = (
    "measured without NIM: 621 MiB of CUDA context, 963 to 1355 MiB in all for Llama of 1B to 8B with transformers"
)
_OVERHEAD_1 = Overhead(2048, f"estimate: as much as NIM 2.x; {_MEASURED}")
_OVERHEAD_2 = Overhead(
    2048,
    "estimate for CUDA context, activations and graphs; inferred from the requirements that a NIM 2.0.12 lists for "
    "Llama 3.1 8B in bf16: 33 GB at 131072 tokens and 27 GB at 81152 are weights and KV cache and 2 GiB more; "
    + _MEASURED,
)

_ONE_X = Contract(
    generation="1.3",
    images="images for one model, 1.3 to 1.10",
    weights="NIM_FT_MODEL",
    switches={},
    engine_name="NIM_CUSTOM_MODEL_NAME",
    tensor_parallel=None,
    share=_SHARE_1,
    overhead=_OVERHEAD_1,
    inner_ports=(),
    live_first=False,
    strict_length=False,
    source="documented: fine-tuning support, release notes of 1.3",
)
_MODEL_FREE = Contract(
    generation="2",
    images="model-free-nim and vllm-model-free-nim, 2.x",
    weights="NIM_MODEL_PATH",
    switches={},
    engine_name=None,
    tensor_parallel=None,
    share=_SHARE_VLLM,
    overhead=_OVERHEAD_2,
    inner_ports=(8001,),
    live_first=True,
    strict_length=True,
    source="documented: model-free NIM and the migration guide from 1.x, 2.0",
    cdi_trap="580",
)

# By the word for nim_models[].contract, in the order of their age.
CONTRACTS = {
    "1.0": _ONE_X._replace(
        generation="1.0",
        images="images for one model, 1.0 to 1.2",
        weights=None,
        engine_name=None,
        source="documented: fine-tuned models are supported from 1.3 on",
        instead="a tag of this image from 1.3 on",
    ),
    "1.3": _ONE_X,
    "1.11": _ONE_X._replace(generation="1.11", images="images for one model, 1.11 to 1.14"),
    "1.15": _ONE_X._replace(
        generation="1.11",
        images="images for one model, 1.15 and later 1.x",
        switches={"NIM_USE_TRTLLM_LEGACY_BACKEND": "1", "NIM_DISABLE_TRTLLM_PYTORCH_RT": "1"},
        source="documented: fine-tuning support of 1.15, whose PyTorch backend takes no fine-tuned models",
    ),
    "multi_llm": _ONE_X._replace(
        generation="1.11",
        images="llm-nim, the image for many models, 1.11 and later 1.x",
        weights="NIM_MODEL_NAME",
        engine_name=None,
        tensor_parallel="NIM_TENSOR_PARALLEL_SIZE",
        source="documented: multi-LLM NIM, release notes of 1.11",
    ),
    "2": _MODEL_FREE._replace(
        images="images for one model, 2.x",
        weights=None,
        instead="the model-free image of the same engine, such as nvcr.io/nim/nvidia/model-free-nim",
    ),
    "model_free": _MODEL_FREE,
    "model_free_sglang": _MODEL_FREE._replace(images="sglang-model-free-nim, 2.x", share=_SHARE_SGLANG, cdi_trap=None),
}


def generation(version):
    """The generation that an image of this NIM version (str such as C(1.8.4), or None) speaks; None when unknown."""
    match = re.match(r"\s*([0-9]{1,4})\.([0-9]{1,4})", version or "")
    if not match:
        return None
    major, minor = int(match.group(1)), int(match.group(2))
    if major == 2:
        return "2"
    if major != 1:
        return None
    return "1.0" if minor < 3 else "1.3" if minor < 11 else "1.11"


def version_of(text):
    """The numbers (tuple of int) of a NIM version (str such as C(2.0.10), or None); empty when there are none."""
    match = re.match(r"\s*(\d{1,4}(?:\.\d{1,4})+)", text or "")
    return tuple(map(int, match.group(1).split("."))) if match else ()


def nim_version(labels, env):
    """The NIM version an image states, or None.

    labels: dict of the image's labels. env: dict of its environment; it is empty there in some images (observed:
    1.12.2), so the label is read first.
    """
    return labels.get("com.nvidia.nim.version") or env.get("INFERENCE_MICROSERVICE_LLM_NIM_VERSION") or None


def contract_name(reference, version, wished="auto"):
    """Which of CONTRACTS an image speaks, or None when neither its version nor its name tells.

    reference: as in nim_models. version: the NIM version it states (str or None). wished: nim_models[].contract.
    """
    if wished != "auto":
        return wished
    name, _colon, tag = reference.partition("@")[0].rpartition("/")[2].partition(":")
    if "model-free" in name:
        return "model_free_sglang" if name.startswith("sglang") else "model_free"
    if name == "llm-nim":
        return "multi_llm"
    told = version or tag
    if generation(told) == "1.11" and int(told.split(".")[1]) >= 15:
        return "1.15"
    return generation(told)
