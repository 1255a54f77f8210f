# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""What is wished for of a profile, the GPUs it is to run on, and wishes that contradict each other.

Private to the collection: breaking changes at any time.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import NamedTuple

from ansible_collections.llmops.nim.plugins.module_utils._problem import Problem
from ansible_collections.llmops.nim.plugins.module_utils._profile_name import OBJECTIVES

# The least compute capability for a precision.
CAPABILITIES = {"bf16": (8, 0), "fp8": (8, 9), "nvfp4": (10, 0)}
CAPABILITY_SOURCE = "documented: NIM serves bf16 from compute capability 8.0, fp8 from 8.9, nvfp4 on Blackwell (10.0)"

# Methods of quantisation that are a precision of profiles as well; the longer word first.
_QUANTISED = ("nvfp4", "mxfp4", "fp8")


class Gpu(NamedTuple):
    """A GPU of the service, as its host knows it; None is what the host does not know.

    index, uuid, name: as nvidia-smi prints them. memory_total_mib, memory_used_mib: MiB. compute_capability: for
    example (8, 9). own_memory_mib: MiB of those in use that this model's own old release holds.
    """

    index: int
    uuid: str | None = None
    name: str = "unknown"
    memory_total_mib: int | None = None
    memory_used_mib: int | None = None
    compute_capability: tuple[int, ...] | None = None
    own_memory_mib: int = 0


@dataclass(frozen=True)
class Wishes:
    """What is wished for: the options of nim_model_profiles of the same names.

    profile: auto, latency, throughput, an id, or a description. objective: auto, latency or throughput.
    gpu_count: GPUs that the service will have, None where that is not known. precision: to serve in, None for any.
    quantization: how the weights are quantised, None where they are not. lora: adapters will be served.
    engine_name: description of the cached engine of exactly this key. fine_tuned: the weights are not those that
    the image was made for. max_model_len: tokens that the service is held to anyway, or None. memory_share: fraction
    of each GPU's memory that it is told to take, or None where it is told nothing. gpus: the GPUs it
    will have (Gpu), none where they are not known. handed: indexes or UUIDs of the GPUs that the listing was taken
    with, where that is known (the container counts its GPUs from 0).
    """

    profile: str = "auto"
    objective: str = "auto"
    gpu_count: int | None = None
    precision: str | None = None
    quantization: str | None = None
    lora: bool = False
    engine_name: str | None = None
    fine_tuned: bool = False
    max_model_len: int | None = None
    memory_share: float | None = None
    gpus: tuple[Gpu, ...] = ()
    handed: tuple[str, ...] = ()


def facts(found):
    """The option gpu_facts (list of dict) as a tuple of Gpu; raises Problem."""
    gpus = []
    for number, one in enumerate(found):
        try:
            gpus.append(_gpu(one))
        except (KeyError, TypeError, ValueError) as error:
            raise Problem(
                f"Entry {number} of gpu_facts is not what gpu_host_info says of a GPU.",
                evidence=f"{one}: {type(error).__name__}: {error}",
                remedy="Give index, uuid, name, memory_total_mib, memory_used_mib, compute_capability and "
                "own_memory_mib; null where one is not known.",
                code="gpu_facts_malformed",
            ) from None
    return tuple(gpus)


def _gpu(one):
    def number(name):
        return None if one.get(name) is None else int(one[name])

    capability = one.get("compute_capability")
    return Gpu(
        index=int(one["index"]),
        uuid=one.get("uuid"),
        name=one.get("name") or "unknown",
        memory_total_mib=number("memory_total_mib"),
        memory_used_mib=number("memory_used_mib"),
        compute_capability=capability and tuple(int(part) for part in str(capability).split(".")),
        own_memory_mib=number("own_memory_mib") or 0,
    )


def automatic(wishes):
    """Whether the profile is left to the choice (bool), or pinned."""
    return wishes.profile.strip().lower() in ("", "auto", *OBJECTIVES)


def objective(wishes):
    """The objective wished for (str): latency, throughput or auto."""
    said = [value for value in (wishes.profile.strip().lower(), wishes.objective) if value in OBJECTIVES]
    return said[0] if said else "auto"


def precision(wishes):
    """The precision (str, lower case) that a profile must have, None for any."""
    return (wishes.precision or "").lower() or _of_quantization(wishes)


def _of_quantization(wishes):
    method = (wishes.quantization or "").lower()
    return next((word for word in _QUANTISED if word in method), None)


def too_old(needed, wishes):
    """Why the GPUs cannot serve in the precision needed (str or None): a clause (str), or None where they can."""
    floor = CAPABILITIES.get(needed)
    for gpu in wishes.gpus if floor else ():
        if gpu.compute_capability and gpu.compute_capability < floor:
            return (
                f"{needed} needs compute capability {_dotted(floor)}, and GPU {gpu.index} ({gpu.name}) has "
                f"{_dotted(gpu.compute_capability)}"
            )
    return None


def check(wishes):
    """Raises Problem where the wishes contradict each other, whatever the listing holds."""
    if wishes.gpu_count and wishes.gpus and len(wishes.gpus) != wishes.gpu_count:
        raise contradiction(
            f"gpu_facts tells of {gpus(len(wishes.gpus))}, and the service is to have {wishes.gpu_count}",
            f"gpu_count: {wishes.gpu_count}, gpu_facts: {', '.join(f'GPU {gpu.index}' for gpu in wishes.gpus)}",
            "Give the facts of exactly the GPUs that the service will have.",
        )
    if not automatic(wishes):
        return
    if len({value for value in (wishes.profile.strip().lower(), wishes.objective) if value in OBJECTIVES}) > 1:
        raise contradiction(
            "both latency and throughput",
            f"profile: {wishes.profile}, objective: {wishes.objective}",
            "Set one of them to auto.",
        )
    asked, quantised = (wishes.precision or "").lower(), _of_quantization(wishes)
    if asked and quantised and asked != quantised:
        raise contradiction(
            f"weights quantised to {quantised} are not served in {asked}",
            f"precision: {wishes.precision}, quantization: {wishes.quantization}",
            f"Leave out precision, or take weights that are {asked}.",
        )
    why = too_old(precision(wishes), wishes)
    # Where only some are too old, they are a mix, which the listing tells better.
    if why and all(too_old(precision(wishes), replace(wishes, gpus=(gpu,))) for gpu in wishes.gpus):
        key = f"precision: {wishes.precision}" if asked else f"quantization: {wishes.quantization}"
        other = "" if quantised else ", or ask for another precision (fp16 runs on older GPUs), or pin a profile"
        raise contradiction(why, key, f"Give the model newer GPUs{other}.", CAPABILITY_SOURCE)


def contradiction(why, evidence, remedy, source=""):
    """The Problem of wishes that cannot all be met."""
    return Problem(f"The wishes contradict each other: {why}.", evidence, remedy, "profile_contradiction", source)


def length_set(env):
    """The maximum model length in tokens (int) that the variables (dict of str) set, or None.

    Flags of the engine win over variables; a variable that is no number says nothing here.
    """
    flag = re.search(r"--max-model-len[=\s]\s*([0-9]{1,12})\b", str(env.get("NIM_PASSTHROUGH_ARGS", "")))
    said = flag or re.fullmatch(r"\s*([0-9]{1,12})\s*", str(env.get("NIM_MAX_MODEL_LEN", "")))
    return int(said.group(1)) if said else None


def gpus(count):
    """C(1 GPU), or C(2 GPUs)."""
    return "1 GPU" if count == 1 else f"{count} GPUs"


def _dotted(version):
    return ".".join(str(part) for part in version)
