# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""The rules that put profiles aside: each takes a profile and the Wishes, and says why, or None.

Private to the collection: breaking changes at any time.
"""

from __future__ import annotations

from ansible_collections.llmops.nim.plugins.module_utils import _profile_wishes as wished
from ansible_collections.llmops.nim.plugins.module_utils._profile_memory import fit

# Weights of these precisions are not quantised.
FULL_PRECISIONS = ("bf16", "fp16", "fp32", "tf32")


def gpus_needed(profile):
    """GPUs (int) that the profile is for, or None where its name does not say. Names before 1.8 leave out pp1."""
    if profile["tensor_parallel"] is None:
        return None
    return profile["tensor_parallel"] * (profile["pipeline_parallel"] or 1)


def cannot_run(profile, wishes):
    """Why the GPUs cannot run the profile, whatever else is wished."""
    return _incompatible(profile, wishes) or _too_little_memory(profile, wishes)


def _incompatible(profile, wishes):
    return "incompatible with the GPUs it was listed with" if profile["group"] == "incompatible" else None


def _says_nothing(profile, wishes):
    # Another release's cached engine: NIM would serve that release's weights.
    if profile["engine"] is None and profile["tensor_parallel"] is None:
        return "its name tells neither engine nor size, like that of an engine cached for another release"
    return None


def _lora_or_not(profile, wishes):
    if profile["lora"] and not wishes.lora:
        return "serves LoRA adapters, and none are wished for"
    if wishes.lora and not profile["lora"]:
        return "serves no LoRA adapters"
    return None


def _other_count(profile, wishes):
    needed = gpus_needed(profile)
    if wishes.gpu_count and needed and needed != wishes.gpu_count:
        return f"is for {wished.gpus(needed)}, not {wishes.gpu_count}"
    return None


def _other_precision(profile, wishes):
    serves, wanted = profile["precision"], wished.precision(wishes)
    if serves is None or serves == wanted:
        return None
    if wanted:
        return f"serves in {serves}, and the weights are {wanted}"
    if serves in FULL_PRECISIONS:
        return None
    if wishes.quantization and wishes.quantization.lower() not in serves:
        return f"serves in {serves}, and the weights are quantised by {wishes.quantization}"
    if wishes.fine_tuned and not wishes.quantization:
        return f"serves in {serves}, and nobody asks for the weights to be quantised"
    return None


def _too_old_gpus(profile, wishes):
    return wished.too_old(profile["precision"], wishes)


def _too_little_memory(profile, wishes):
    found = fit(profile, wishes)
    return None if found.usable else found.why


# The first that speaks gives the reason; where nothing is left, the one that any profile reached last explains it.
RULES = (
    ("group", _incompatible),
    ("name", _says_nothing),
    ("lora", _lora_or_not),
    ("count", _other_count),
    ("precision", _other_precision),
    ("capability", _too_old_gpus),
    ("memory", _too_little_memory),
)
