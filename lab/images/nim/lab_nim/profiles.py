# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""Profiles: what their names say, and which of them a set of GPUs can run."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .contract import Generation
    from .gpus import Gpu

NAME = re.compile(
    r"(?P<engine>tensorrt_llm|vllm)"
    r"(?:-(?P<target>(?!bf16|fp16|fp8)[a-z0-9_]+))?"
    r"-(?P<precision>bf16|fp16|fp8)-tp(?P<tp>\d+)-pp(?P<pp>\d+)"
    r"(?:-(?P<objective>latency|throughput))?(?P<lora>(?:-lora)*)"
)
GROUPS = ("runnable", "low_memory", "compilable", "incompatible")


@dataclass(frozen=True)
class Profile:
    id: str
    name: str
    engine: str
    gpu: str | None
    buildable: bool
    precision: str
    tp: int
    pp: int
    objective: str | None
    lora: bool
    built_for: str | None = None  # for an engine that was built here: the PCI id of the GPU it runs on


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
        tp=int(match["tp"]),
        pp=int(match["pp"]),
        objective=match["objective"],
        lora=bool(match["lora"]),
    )


def free_gpus(generation: Generation, gpus: list[Gpu]) -> list[Gpu]:
    return [gpu for gpu in gpus if gpu.used_percent <= generation.free_gpu_used_percent]


def group(profile: Profile, generation: Generation, gpus: list[Gpu], relax_memory: bool) -> str:
    """One of GROUPS. Different GPU models together fit nothing at all [observed with an RTX 6000 Ada beside a T600]."""
    if len({gpu.pci_id for gpu in gpus}) != 1:
        return "incompatible"
    gpu, needed = gpus[0], profile.tp * profile.pp
    if needed > len(gpus) or gpu.compute_capability < generation.compute_capability[profile.precision]:
        return "incompatible"
    if profile.built_for not in (None, gpu.pci_id):
        return "incompatible"
    if profile.gpu and gpu.device not in generation.gpu_devices[profile.gpu]:
        return "incompatible"
    if not relax_memory and needed > len(free_gpus(generation, gpus)):
        return "low_memory"
    return "compilable" if profile.buildable else "runnable"


def grouped(
    profiles: list[Profile], generation: Generation, gpus: list[Gpu], relax_memory: bool
) -> dict[str, list[Profile]]:
    groups: dict[str, list[Profile]] = {name: [] for name in GROUPS}
    for profile in profiles:
        groups[group(profile, generation, gpus, relax_memory)].append(profile)
    return groups
