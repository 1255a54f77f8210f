# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""The texts about the system and its profiles: banner, SYSTEM INFO, MODEL PROFILES."""

from __future__ import annotations

from .contract import Generation
from .gpus import Gpu
from .profiles import Profile, free_gpus


def banner(generation: Generation) -> str:
    title = f"== {generation.title} =="
    rule = "=" * len(title)
    return "\n".join([
        "", rule, title, rule, "",
        f"{generation.title} Version {generation.version}", f"Model: {generation.model}", "",
        generation.copyright, "", generation.legal, "",
    ])  # fmt: skip


def system_info(generation: Generation, gpus: list[Gpu]) -> str:
    free = free_gpus(generation, gpus)
    busy = [gpu for gpu in gpus if gpu not in free]
    lines = ["SYSTEM INFO", "- Free GPUs:" + ("" if free else " <None>"), *_gpu_lines(generation, free)]
    if busy:
        lines += ["- Non-free GPUs:", *_gpu_lines(generation, busy)]
    return "\n".join(lines)


def _gpu_lines(generation: Generation, gpus: list[Gpu]) -> list[str]:
    return [
        generation.gpu_line.format(pci_id=gpu.pci_id, index=gpu.index, name=gpu.name, used=round(gpu.used_percent))
        for gpu in gpus
    ]


def model_profiles(generation: Generation, groups: dict[str, list[Profile]]) -> str:
    headings = generation.headings
    lines = ["MODEL PROFILES"]
    lines += _group(headings["runnable"], headings["lora"], groups["runnable"])
    if groups["low_memory"]:
        lines += _group(headings["low_memory"], headings["lora"], groups["low_memory"])
    lines += _group(headings["compilable"], headings["lora"], groups["compilable"])
    # Here LoRA profiles stand among the others.
    lines += ["- " + headings["incompatible"] + ("" if groups["incompatible"] else " <None>")]
    lines += [_entry(profile) for profile in groups["incompatible"]]
    return "\n".join(lines)


def _group(heading: str, lora_heading: str, profiles: list[Profile]) -> list[str]:
    if not profiles:
        return [f"- {heading} <None>"]
    lora = [profile for profile in profiles if profile.lora]
    lines = [f"- {heading}", *(_entry(profile) for profile in profiles if not profile.lora)]
    if lora:
        lines += [f"  - {lora_heading}", *("  " + _entry(profile) for profile in lora)]
    return lines


def _entry(profile: Profile) -> str:
    return f"  - {profile.id} ({profile.name})"
