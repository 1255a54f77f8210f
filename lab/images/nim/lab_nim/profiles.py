# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""Profiles: what their names say, and which of them a set of GPUs can run."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .memory import Need

if TYPE_CHECKING:
    from .contract import Generation
    from .gpus import Gpu
    from .settings import Settings

NAME = re.compile(
    r"(?P<engine>tensorrt_llm|vllm|sglang)"
    r"(?:-(?P<target>(?!bf16|fp16|fp8|tp\d)[a-z0-9_]+))?"
    r"(?:-(?P<precision>bf16|fp16|fp8))?(?:-tp(?P<tp>\d+))?(?:-pp(?P<pp>\d+))?"
    r"(?:-(?P<objective>latency|throughput))?(?P<pytorch>-pytorch(?:-[0-9a-f]{4})?)?(?P<lora>-feat_lora|(?:-lora)*)"
)
GROUPS = ("runnable", "low_memory", "compilable", "incompatible")


@dataclass(frozen=True)
class Profile:
    id: str
    name: str
    engine: str
    gpu: str | None
    buildable: bool
    precision: str | None
    tp: int
    pp: int
    objective: str | None
    lora: bool
    pytorch: bool = False  # TensorRT-LLM's PyTorch back end
    built_for: str | None = None  # for an engine that was built here: the PCI id of the GPU it runs on
    need: Need | None = None  # the memory it asks for, where the generation looks at that

    @property
    def gpu_count(self) -> int:
        return self.tp * self.pp


def parse(id_: str, name: str) -> Profile:
    match = NAME.fullmatch(name)
    if not match:
        raise ValueError(f"not a profile's name: {name}")
    target = match["target"]
    buildable = target == "trtllm_buildable"
    return Profile(
        id=id_,
        name=name,
        engine=match["engine"],
        gpu=None if buildable else target,
        buildable=buildable,
        precision=match["precision"],
        tp=int(match["tp"] or 1),
        pp=int(match["pp"] or 1),
        objective=match["objective"],
        lora=bool(match["lora"]),
        pytorch=bool(match["pytorch"]),
    )


def made_id(*parts: str) -> str:
    """An id of the lab's own making, for profiles whose real one is not known."""
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def free_gpus(generation: Generation, gpus: list[Gpu]) -> list[Gpu]:
    return [gpu for gpu in gpus if gpu.used_percent <= generation.free_gpu_used_percent]


def group(profile: Profile, generation: Generation, gpus: list[Gpu], settings: Settings) -> str:
    """One of GROUPS. Different GPU models together fit nothing at all [observed with an RTX 6000 Ada beside a T600]."""
    if len({gpu.pci_id for gpu in gpus}) != 1:
        return "incompatible"
    gpu, needed = gpus[0], profile.gpu_count
    if needed > len(gpus) or gpu.compute_capability < generation.compute_capability.get(profile.precision, 0):
        return "incompatible"
    if profile.built_for not in (None, gpu.pci_id):
        return "incompatible"
    if profile.gpu and gpu.device not in generation.gpu_devices[profile.gpu]:
        return "incompatible"
    if not settings.relax_memory and needed > len(free_gpus(generation, gpus)):
        return "low_memory"  # in 2.x also where it would fit into what is left [observed]
    if profile.need and profile.need.mib() > settings.budget_mib(gpus):
        return "low_memory"
    return "compilable" if profile.buildable else "runnable"


def grouped(
    profiles: list[Profile], generation: Generation, gpus: list[Gpu], settings: Settings
) -> dict[str, list[Profile]]:
    groups: dict[str, list[Profile]] = {name: [] for name in GROUPS}
    for profile in profiles:
        groups[group(profile, generation, gpus, settings)].append(profile)
    return groups
