# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""Which profile the service starts with."""

from __future__ import annotations

from .console import Refusal, log
from .contract import Generation
from .engine_cache import Engine
from .gpus import Gpu
from .listing import system_info
from .profiles import Profile, group
from .settings import Settings

STARTABLE = ("runnable", "compilable")
PRECISIONS = ("fp8", "bf16", "fp16")  # lower first [documented; the order of the criteria is unverified]


def candidates(engines: list[Engine], generation: Generation) -> list[Profile]:
    """All profiles this container knows, engines built here first."""
    return [engine.profile for engine in engines] + list(generation.manifest)


def choose(settings: Settings, engines: list[Engine], generation: Generation, gpus: list[Gpu]) -> Profile:
    profiles = candidates(engines, generation)
    groups = {profile: group(profile, generation, gpus, settings.relax_memory) for profile in profiles}
    if settings.profile:
        chosen = pinned(settings.profile, profiles)
        if groups[chosen] in STARTABLE:
            return chosen
        # unverified: what 1.8.4 says to a profile that is known but can't run here.
        raise not_runnable(generation, gpus)
    lora = bool(settings.peft_source)
    if lora:
        log("ngc_profile.py:231", "Running NIM with LoRA. Only looking for compatible profiles that support LoRA.")
    else:
        log(
            "ngc_profile.py:231",
            "Running NIM without LoRA. Only looking for compatible profiles that do not support LoRA.",
        )
    eligible = [profile for profile in profiles if profile.lora == lora and may_serve(profile, settings)]
    valid = [profile for profile in eligible if groups[profile] in STARTABLE]
    log("ngc_profile.py:233", f"Detected {len(valid)} compatible profile(s).")
    busy = sum(groups[profile] == "low_memory" for profile in eligible)
    if busy:
        log(
            "ngc_profile.py:235",
            f"Detected additional {busy} compatible profile(s) that are currently not runnable due to low free GPU "
            "memory.",
        )
    if not valid:
        raise not_runnable(generation, gpus)
    return min(valid, key=preference)  # of equals the first, as the manifest has them


def pinned(wanted: str, profiles: list[Profile]) -> Profile:
    """By id or description, as it stands: "<id> (<description>)" is neither."""
    for profile in profiles:
        if wanted in (profile.id, profile.name):
            return profile
    raise Refusal(
        f"Environment variable NIM_MODEL_PROFILE is set to {wanted}, "
        "but no matching profile_id or profile description is found in manifest.",
        source="ngc_injector.py:120",
    )


def may_serve(profile: Profile, settings: Settings) -> bool:
    """A prebuilt engine holds NVIDIA's weights, and an engine built under another name somebody else's: no automatic
    choice for a fine-tune [unverified; observed is that a fine-tune's automatic choice was the buildable profile]."""
    if not settings.ft_model:
        return True
    if profile.built_for:
        return profile.name == settings.custom_model_name
    return profile.gpu is None


def preference(profile: Profile) -> tuple:
    """Made for this GPU, then built for it, then vLLM; among these lower precision, latency, higher TP first."""
    generic = not (profile.built_for or profile.gpu)
    return (
        generic,
        not profile.buildable,
        PRECISIONS.index(profile.precision),
        profile.objective != "latency",
        -profile.tp,
    )


def not_runnable(generation: Generation, gpus: list[Gpu]) -> Refusal:
    return Refusal(
        "Could not find a profile that is currently runnable with the detected hardware. "
        "Please check the system information below and make sure you have enough free GPUs.\n"
        + system_info(generation, gpus),
        source="utils.py:21",
    )
