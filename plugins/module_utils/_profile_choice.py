# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""Which profile of a listing to serve with, why, and why none of the others.

A pin (id or description) is obeyed or refused. Otherwise: a cached engine of exactly the wished key; then the
RULES put profiles aside, the first that speaks giving the reason; then the PREFERENCES order what is left, the
first that differs deciding, and last the order in which NIM printed them. To know more, add a rule or preference.

NIM's own automatic order is documented (model profiles of 1.0 to 1.8: runnable, LoRA or not, lower precision,
latency before throughput, more GPUs; optimised before generic) and not followed where it would change the
precision of the weights.

Private to the collection: breaking changes at any time.
"""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass

from ansible_collections.llmops.nim.plugins.module_utils._problem import Problem
from ansible_collections.llmops.nim.plugins.module_utils._profile_name import OBJECTIVES, without_size
from ansible_collections.llmops.nim.plugins.module_utils._profile_refusal import gpus_needed, listed, memory, refusal

_PASTED = re.compile(r"\s*(?:-\s+)?([0-9a-fA-F]{64})\s*\(.*")
_ID = re.compile(r"[0-9a-fA-F]{64}")

KINDS = (
    "a TensorRT-LLM engine made for this GPU",
    "settings made for this GPU",
    "a TensorRT-LLM engine built on the host",
    "TensorRT-LLM, for any GPU",
    "vLLM or SGLang, for any GPU",
    "an engine the name does not tell",
)


@dataclass(frozen=True)
class Wishes:
    """What is wished for: the options of nim_model_profiles of the same names.

    profile: auto, latency, throughput, an id, or a description. objective: auto, latency or throughput.
    gpu_count: GPUs that the service will have, None where that is not known. precision: of the weights, None
    for any. lora: adapters will be served. engine_name: description of the cached engine of exactly this key.
    own_memory: memory of the GPUs is held by this model's own old release only. fine_tuned: the weights are not
    those that the image was made for. handed: indexes or UUIDs of the GPUs that the listing was taken with, where
    that is known (the container counts its GPUs from 0).
    """

    profile: str = "auto"
    objective: str = "auto"
    gpu_count: int | None = None
    precision: str | None = None
    lora: bool = False
    engine_name: str | None = None
    own_memory: bool = False
    fine_tuned: bool = False
    handed: tuple[str, ...] = ()


def choose(profiles, gpus, wishes):
    """The choice among profiles (as parse_listing returns them, with its gpus): a dict, or raises Problem.

    selected: the profile with reasons (list of str) added, or None.
    rejected: list of dict id, description, reason: all others, in the order printed.
    refusal: Problem that says why nothing is selected, else None.
    Raises Problem for a pin that cannot be obeyed and for wishes that contradict each other.
    """
    wish = (wishes.profile or "auto").strip()
    if wish.lower() not in ("auto", *OBJECTIVES):
        selected, reasons = _pinned(profiles, wish, wishes)
        return _choice(profiles, selected, reasons, {}, "another profile is pinned")
    objective = _objective(wish.lower(), wishes.objective)

    for profile in profiles:
        if profile["description"] == wishes.engine_name and not _cannot_run(profile, wishes):
            reasons = [f"the engine cached as {wishes.engine_name} was built for exactly this release"]
            return _choice(profiles, profile, reasons, {}, "the cached engine of exactly this release comes first")

    aside, usable = {}, []
    for profile in profiles:
        stop = next(((name, why) for name, rule in RULES for why in [rule(profile, wishes)] if why), None)
        if stop:
            aside[profile["id"]] = stop
        else:
            usable.append(profile)
    if not usable:
        reasons = {key: why for key, (_name, why) in aside.items()}
        rules = [name for name, _rule in RULES]
        furthest = max((rules.index(name) for name, _why in aside.values()), default=0)
        stopped = [profile for profile in profiles if aside[profile["id"]][0] == rules[furthest]]
        choice = _choice(profiles, None, [], reasons, "")
        return dict(choice, refusal=refusal(rules[furthest], stopped, profiles, gpus, wishes))

    selected = min(usable, key=lambda profile: _rank(profile, wishes, objective))  # min keeps the order printed
    reasons = {key: why for key, (_name, why) in aside.items()}
    for profile in usable:
        reasons.setdefault(profile["id"], _outranked(profile, selected, wishes, objective))
    return _choice(profiles, selected, _reasons(selected, usable, wishes, objective), reasons, "")


def _choice(profiles, selected, why, reasons, otherwise):
    return {
        "selected": None if selected is None else dict(selected, reasons=why),
        "rejected": [
            {
                "id": profile["id"],
                "description": profile["description"],
                "reason": reasons.get(profile["id"]) or otherwise,
            }
            for profile in profiles
            if profile is not selected
        ],
        "refusal": None,
    }


# -- pins ---------------------------------------------------------------------------------------------------------


def _pinned(profiles, wish, wishes):
    """The profile (dict) that the wish (str: id or description) means, and the reasons to take it."""
    pasted = _PASTED.fullmatch(wish)
    if pasted:
        raise Problem(
            "The profile is pasted as it is listed, id (description), which NIM does not know.",
            evidence=f"profile: {wish}",
            remedy=f"Give the id alone: {pasted.group(1).lower()}",
            code="profile_pasted",
        )
    profile = _meant(profiles, wish)
    if profile["group"] == "incompatible":
        raise Problem(
            f"The profile {profile['description']} is incompatible with the GPUs it was listed with.",
            evidence=f"{profile['id']} stands among those incompatible with the system",
            remedy=f"Pin one that can be used, or profile: auto.\n{listed(profiles)}",
            code="profile_incompatible",
        )
    count, needed = wishes.gpu_count, gpus_needed(profile)
    if count and needed and count != needed:
        raise Problem(
            f"The wishes contradict each other: the pinned profile is for {_gpus(needed)}, not {count}.",
            evidence=f"profile: {profile['description']}, gpu_count: {count}",
            remedy=f"Give the model {_gpus(needed)}, or pin a profile for {count}, or profile: auto.",
            code="profile_contradiction",
        )
    reasons = [f"pinned as {wish}", _group_reason(profile, wishes)]
    if wishes.precision and profile["precision"] not in (None, wishes.precision.lower()):
        reasons.append(f"precision {profile['precision']} as it is pinned, though the weights are {wishes.precision}")
    if profile["lora"] and not wishes.lora:
        reasons.append("serves LoRA adapters because it is pinned, though none are wished for")
    if wishes.fine_tuned and _kind(profile) == 0:
        reasons.append(_SHIPPED_WEIGHTS)
    return profile, reasons


def _meant(profiles, wish):
    if _ID.fullmatch(wish):
        found = [profile for profile in profiles if profile["id"] == wish.lower()]
    else:
        # NVIDIA's documents leave out the size that 2.x prints, and write A100 where 1.0 prints a100.
        for spelling in (str, str.lower, lambda name: without_size(name.lower())):
            found = [profile for profile in profiles if spelling(profile["description"]) == spelling(wish)]
            if found:
                break
    if not found:
        near = difflib.get_close_matches(wish.lower(), [profile["description"].lower() for profile in profiles], n=3)
        raise Problem(
            "The image has no such profile."
            if _ID.fullmatch(wish)
            else "The image has no profile of that id or description (an id has 64 hex digits).",
            evidence=f"profile: {wish}" + (f"; near to it: {', '.join(dict.fromkeys(near))}" if near else ""),
            remedy=f"Give an id of this very image, or profile: auto.\n{listed(profiles)}",
            code="profile_unknown",
        )
    usable = [profile for profile in found if profile["group"] != "incompatible"]
    if len(usable) > 1:
        raise Problem(
            f"{len(usable)} profiles have that description.",
            evidence="\n".join(f"{profile['id']} ({profile['description']}), {profile['group']}" for profile in usable),
            remedy="Give the id of one.",
            code="profile_ambiguous",
        )
    return (usable or found)[0]


def _objective(wish, objective):
    """The objective wished for: latency, throughput or auto."""
    said = {value for value in (wish, objective) if value in OBJECTIVES}
    if len(said) > 1:
        raise Problem(
            "The wishes contradict each other: both latency and throughput.",
            evidence=f"profile: {wish}, objective: {objective}",
            remedy="Set one of them to auto.",
            code="profile_contradiction",
        )
    return said.pop() if said else "auto"


# -- rules: (profile, wishes) -> why it is put aside, or None -----------------------------------------------------


def _cannot_run(profile, wishes):
    if profile["group"] == "incompatible":
        return "incompatible with the GPUs it was listed with"
    if profile["group"] == "low_memory" and not wishes.own_memory:
        return "too little GPU memory is free" + _hint(profile)
    return None


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
        return f"is for {_gpus(needed)}, not {wishes.gpu_count}"
    return None


def _other_precision(profile, wishes):
    if wishes.precision and profile["precision"] not in (None, wishes.precision.lower()):
        return f"serves in {profile['precision']}, and the weights are {wishes.precision}"
    return None


RULES = (
    ("group", _cannot_run),
    ("name", _says_nothing),
    ("lora", _lora_or_not),
    ("count", _other_count),
    ("precision", _other_precision),
)


# -- preferences: (profile, wishes, objective) -> a number, the lowest wins, and what stands behind it -------------

_SHIPPED_WEIGHTS = (
    "an engine built by NVIDIA holds the weights the image was made for; fine-tuned weights are documented to go "
    "through an engine built on the host (what NIM does with them and such a profile is not verified)"
)


def _kind(profile):
    engine, gpu = profile["engine"], profile["gpu"]
    if gpu and not profile["buildable"]:
        return 0 if engine == "tensorrt_llm" else 1
    if profile["buildable"]:
        return 2
    return {"tensorrt_llm": 3, None: 5}.get(engine, 4)


def _memory(profile, wishes, objective):
    held = profile["group"] == "low_memory"
    return int(held), "needs memory that the old release still holds" if held else "its memory is free now"


def _weights(profile, wishes, objective):
    shipped = wishes.fine_tuned and _kind(profile) == 0
    return int(shipped), _SHIPPED_WEIGHTS if shipped else "takes the fine-tuned weights"


def _told(profile, wishes, objective):
    told = profile["tensor_parallel"] is not None and not (wishes.precision and profile["precision"] is None)
    return int(not told), "its name tells what it is" if told else "its name does not tell whether it is what is wished"


def _wished_objective(profile, wishes, objective):
    order = ("throughput", "latency", None) if objective == "throughput" else ("latency", "throughput", None)
    return order.index(profile["objective"]), f"objective {profile['objective'] or 'unspecified'}"


def _engine(profile, wishes, objective):
    return _kind(profile), KINDS[_kind(profile)]


PREFERENCES = (_memory, _weights, _told, _wished_objective, _engine)


def _rank(profile, wishes, objective):
    return [prefer(profile, wishes, objective)[0] for prefer in PREFERENCES]


def _outranked(profile, selected, wishes, objective):
    for prefer in PREFERENCES:
        mine, best = prefer(profile, wishes, objective), prefer(selected, wishes, objective)
        if mine[0] != best[0]:
            return f"{mine[1]}; the selected one comes before it: {best[1]}"
    return "equal to the selected one, which is printed before it"


# -- reasons ------------------------------------------------------------------------------------------------------


def _reasons(selected, usable, wishes, objective):
    reasons = [_group_reason(selected, wishes)]
    reasons.append("serves LoRA adapters" if selected["lora"] else "no LoRA adapters are wished for")
    needed = gpus_needed(selected)
    if needed and wishes.gpu_count:
        reasons.append(f"is for {_gpus(needed)}, as the service will have")
    if wishes.precision:
        known = selected["precision"]
        reasons.append(f"precision {known} as the weights" if known else "its name does not tell a precision")
    deciding = (_weights, _wished_objective, _engine) if wishes.fine_tuned else (_wished_objective, _engine)
    reasons += [prefer(selected, wishes, objective)[1] for prefer in deciding]
    equals = sum(1 for other in usable if _rank(other, wishes, objective) == _rank(selected, wishes, objective))
    if equals > 1:
        reasons.append(f"printed first of {equals} that are equal in all this")
    return reasons


def _gpus(count):
    return "1 GPU" if count == 1 else f"{count} GPUs"


def _group_reason(profile, wishes):
    if profile["group"] == "low_memory":
        why = "this model's own old release holds it" if wishes.own_memory else "taken because it is pinned"
        return f"low memory: too little is free{_hint(profile)}, {why}"
    if profile["group"] == "compilable":
        return "can be compiled on these GPUs"
    return "runnable on these GPUs"


def _hint(profile):
    """What NIM printed about the memory, e.g. C( (needs 33 GB a GPU, 27 GB with --max-model-len=82944))."""
    said = memory(profile)
    return f" ({said})" if said else ""
