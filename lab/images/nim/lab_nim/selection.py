# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""Which profile the service starts with."""

from __future__ import annotations

from .console import Refusal, log
from .contract import Generation
from .gpus import Gpu
from .listing import system_info
from .profiles import Profile, group
from .settings import Settings

STARTABLE = {"runnable", "compilable"}
PRECISIONS = ("fp8", "bf16", "fp16", None)  # lower first [documented; the order of the criteria is unverified]
ENGINES = ("tensorrt_llm", "vllm", "sglang")  # unverified: which an image that has all of them takes first


def choose(settings: Settings, profiles: list[Profile], generation: Generation, gpus: list[Gpu]) -> Profile:
    """profiles: all that this container has, engines built here first."""
    groups = {profile: group(profile, generation, gpus, settings) for profile in profiles}
    startable = STARTABLE
    if settings.profile == "default" and generation.default_profile:
        # By back end and hardware [documented for 2.x].
        startable = {*STARTABLE, "low_memory"} if generation.pinned_low_memory else STARTABLE
    elif settings.profile:
        return pinned(settings, profiles, groups, generation, gpus)
    lora = bool(settings.peft_source)
    if lora:
        log("ngc_profile.py:231", "Running NIM with LoRA. Only looking for compatible profiles that support LoRA.")
    else:
        log(
            "ngc_profile.py:231",
            "Running NIM without LoRA. Only looking for compatible profiles that do not support LoRA.",
        )
    eligible = [profile for profile in profiles if profile.lora == lora and may_serve(profile, settings)]
    valid = [profile for profile in eligible if groups[profile] in startable]
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


def pinned(
    settings: Settings, profiles: list[Profile], groups: dict[Profile, str], generation: Generation, gpus: list[Gpu]
) -> Profile:
    """By id or description, as it stands: "<id> (<description>)" is neither."""
    found = [profile for profile in profiles if settings.profile in (profile.id, profile.name)]
    if not found:
        text = generation.unknown_profile
        raise Refusal(
            f"{text['prefix']}Environment variable NIM_MODEL_PROFILE is set to {settings.profile}, "
            "but no matching profile_id or profile description is found in manifest.",
            source=text["source"],
        )
    chosen = found[0]
    starts = groups[chosen] in STARTABLE or (generation.pinned_low_memory and groups[chosen] == "low_memory")
    if not starts or (settings.ft_model and chosen.pytorch):  # PyTorch's back end serves no fine-tune [documented]
        # unverified: what it says to a profile that is known but can't run here.
        raise not_runnable(generation, gpus)
    return chosen


def may_serve(profile: Profile, settings: Settings) -> bool:
    """A prebuilt engine holds NVIDIA's weights, and an engine built under another name somebody else's: no automatic
    choice for a fine-tune [unverified; observed is that a fine-tune's automatic choice was the buildable profile]."""
    if settings.tensor_parallel and profile.tp != settings.tensor_parallel:
        return False
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
        ENGINES.index(profile.engine),
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
