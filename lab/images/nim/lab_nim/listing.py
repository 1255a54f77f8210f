# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""The texts about the system and its profiles: banner, SYSTEM INFO, MODEL PROFILES."""

from __future__ import annotations

from .contract import Generation
from .gpus import Gpu
from .memory import hint
from .profiles import Profile, free_gpus


def banner(generation: Generation) -> str:
    title = f"== {generation.title} =="
    rule = "=" * len(title)
    model = [f"Model: {generation.model}"] if generation.banner_names_model else []
    return "\n".join([
        "", rule, title, rule, "",
        f"{generation.title} Version {generation.version}", *model, "",
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


def noise(generation: Generation, profiles: list[Profile]) -> str:
    """The lines, each with its end, that are printed about profiles although nobody asked."""
    text = generation.noise["profile"]
    return "".join(text.format(id=profile.id) + "\n" for profile in profiles if text)


def model_profiles(generation: Generation, groups: dict[str, list[Profile]], budget_mib: float = 0) -> str:
    """budget_mib: what an engine would find on a GPU, for hints at what would fit."""
    layout, headings = generation.layout, generation.headings

    def nested(name: str) -> list[str]:
        profiles = groups[name]
        lines = [f"- {headings[name]}" + ("" if profiles else " <None>")]
        lines += [_entry(profile, budget_mib) for profile in profiles if not profile.lora]
        lora = [_entry(profile, budget_mib, indent=4) for profile in profiles if profile.lora]
        if lora:
            lines += [f"  - {headings['lora']}", *lora]
        elif layout["empty_lora"] != "none" and (profiles or layout["empty_lora_below_none"]):
            lines += [f"  - {headings['lora']}{layout['empty_lora']}"]
        return lines

    def flat(heading: str, profiles: list[Profile], empty: str = " <None>") -> list[str]:
        entries = [_entry(profile, budget_mib, layout["flat_indent"]) for profile in profiles]
        return [f"- {heading}" + ("" if profiles else empty), *entries]

    lines = ["MODEL PROFILES", *nested("runnable")]
    if layout["flat_low_memory"]:
        lines += flat(headings["low_memory"], groups["low_memory"])
    elif groups["low_memory"]:
        lines += nested("low_memory")
    lines += nested("compilable")
    lines += flat(headings["incompatible"], groups["incompatible"], layout["empty_incompatible"])
    return "\n".join(lines)


def _entry(profile: Profile, budget_mib: float, indent: int = 2) -> str:
    text = f"{' ' * indent}- {profile.id} ({profile.name})"
    return text + (hint(profile.need, profile.gpu_count, budget_mib) if profile.need else "")
