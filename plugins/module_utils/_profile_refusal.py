# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""Why no profile of a listing can be used, and what would work.

Private to the collection: breaking changes at any time.
"""

from __future__ import annotations

import re
from dataclasses import replace

from ansible_collections.llmops.nim.plugins.module_utils._problem import Problem
from ansible_collections.llmops.nim.plugins.module_utils._profile_memory import MIB_PER_GB, fit
from ansible_collections.llmops.nim.plugins.module_utils._profile_rules import gpus_needed
from ansible_collections.llmops.nim.plugins.module_utils._profile_wishes import CAPABILITY_SOURCE, precision, too_old

_MIX_SOURCE = (
    "observed with NIM 1.8.4: RTX 6000 Ada and T600 handed over together made every profile incompatible, "
    "the RTX 6000 Ada alone did not; that the mix is the cause is inferred"
)


def refusal(rule, stopped, profiles, gpus, wishes):
    """The Problem that says why nothing can be used.

    rule: name of the last rule of _profile_choice.RULES that any profile reached; stopped: the profiles it put
    aside; profiles and gpus: as parse_listing returns them; wishes: Wishes.
    """
    if rule == "group":
        return _incompatible(profiles, gpus, wishes)
    if rule == "memory":
        return _memory(stopped, profiles, gpus, wishes)
    by_rule = {"name": _name, "lora": _lora, "count": _count, "precision": _precision, "capability": _capability}
    return by_rule[rule](stopped, gpus, wishes)


def listed(profiles, most=10):
    """The profiles that can be used, an id and description a line (str), at most so many."""
    usable = [profile for profile in profiles if profile["group"] != "incompatible"]
    if not usable:
        return "None of this listing can be used."
    lines = [f"{profile['id']} ({profile['description']}), {profile['group']}" for profile in usable[:most]]
    if len(usable) > most:
        lines.append(f"… and {len(usable) - most} more")
    return "\n".join(lines)


def _problem(what, evidence, remedy, code, source=""):
    return Problem(f"No profile can be used: {what}", evidence, remedy, f"profile_none_{code}", source)


def _gpu_lines(gpus):
    lines = []
    for gpu in gpus:
        used = "unknown" if gpu["utilization_percent"] is None else f"{gpu['utilization_percent']} %"
        state = "free" if gpu["free"] else "not free"
        lines.append(f"GPU {gpu['index']}: {gpu['name']} [{gpu['pci_id']}], {state}, memory in use: {used}")
    return "\n".join(lines) or "the listing names no GPU"


def _profile_lines(profiles, most=8):
    lines = [f"{profile['description']}, {profile['group']}" for profile in profiles[:most]]
    return "\n".join(lines + ([f"… and {len(profiles) - most} more"] if len(profiles) > most else []))


def _fact_lines(wishes):
    lines = []
    for gpu in wishes.gpus:
        total, used = ("?" if mib is None else mib for mib in (gpu.memory_total_mib, gpu.memory_used_mib))
        own = f"{gpu.own_memory_mib} by this model's own old release"
        lines.append(f"GPU {gpu.index} of the host: {gpu.name}, {total} MiB, {used} in use, of those {own}")
    return lines


def _memory(stopped, profiles, gpus, wishes):
    fits = [fit(profile, wishes) for profile in stopped]
    evidence = [_gpu_lines(gpus), *_fact_lines(wishes)]
    evidence += [f"{profile['description']}: {one.why}" for profile, one in list(zip(stopped, fits))[:8]]
    known = wishes.gpus and not any(None in (gpu.memory_total_mib, gpu.memory_used_mib) for gpu in wishes.gpus)
    held = max(one.strangers for one in fits)
    if known and not held:
        return _problem(
            f"{len(stopped)} could run on these GPUs, but they need more memory than there is.",
            "\n".join(evidence),
            _what_would_fit(stopped, profiles, wishes),
            "memory_total",
        )
    return _problem(
        f"{len(stopped)} would fit these GPUs, but "
        + (f"others hold {held} MiB of their memory." if held else "too little of their memory is free."),
        "\n".join(evidence),
        "Free the GPUs (nvidia-smi shows who holds memory), take other GPUs, or pin one of these profiles by its id "
        "with a smaller NIM_MAX_MODEL_LEN. NIM 1.x counts a GPU as free up to 5 % in use; NIM_RELAX_MEM_CONSTRAINTS=1 "
        "lifts that from 1.8 on.",
        "memory",
    )


def _what_would_fit(stopped, profiles, wishes):
    """The remedy where more is needed than all the memory there is: a shorter length, more GPUs, larger ones."""
    ways = []
    lengths = [fit(profile, replace(wishes, max_model_len=None)).max_model_len for profile in stopped]
    if any(lengths):
        ways.append(f"set NIM_MAX_MODEL_LEN to {max(filter(None, lengths))} or less")
    smallest = min(gpu.memory_total_mib for gpu in wishes.gpus)
    for profile in sorted(profiles, key=lambda one: gpus_needed(one) or 0):
        more = (gpus_needed(profile) or 0) > len(wishes.gpus) and profile["lora"] == wishes.lora
        gigabytes = profile["memory_gb_per_gpu"]
        if more and gigabytes is not None and gigabytes * MIB_PER_GB <= smallest:
            ways.append(f"give the model {gpus_needed(profile)} GPUs of this kind (for {profile['description']})")
            break
    ways.append(f"take GPUs with {min(profile['memory_gb_per_gpu'] for profile in stopped):g} GiB or more")
    ways.append("take a smaller or a quantised model")
    text = ", or ".join(ways)
    return f"{text[0].upper()}{text[1:]}."


def _incompatible(profiles, gpus, wishes):
    if not profiles:
        return _problem(
            "the listing names none.", _gpu_lines(gpus), "Take an image that has profiles for these GPUs.", "listed"
        )
    kinds = _kinds(gpus, wishes)
    if len(kinds) > 1:
        return _mix(kinds, gpus)
    evidence = [_gpu_lines(gpus)]
    made_for = sorted({profile["gpu"] for profile in profiles if profile["gpu"]})
    if made_for:
        evidence.append(f"made for: {', '.join(made_for)}")
    counts = sorted({gpus_needed(one) for one in profiles if gpus_needed(one) and _may_suit(one, gpus)})
    if counts and gpus and counts[0] > len(gpus):
        evidence.append(f"for such GPUs: {', '.join(str(number) for number in counts)} of them")
        return _problem(
            f"those for such GPUs need {counts[0]} or more, and {len(gpus)} were handed over.",
            "\n".join(evidence),
            f"Give the model {counts[0]} GPUs of one kind, or take a smaller model.",
            "gpu_count",
        )
    old = sorted({why for profile in profiles for why in [too_old(profile["precision"], wishes)] if why})
    other_length = ""
    if wishes.max_model_len:
        evidence.append(f"NIM_MAX_MODEL_LEN: {wishes.max_model_len}")
        other_length = " Or leave out NIM_MAX_MODEL_LEN: 2.x was seen to reject every profile where it is too large."
    return _problem(
        f"the image has none for this GPU: all {len(profiles)} are incompatible.",
        "\n".join(evidence + old),
        f"Take a GPU that the image was made for, a newer image, or a model-free image.{other_length}",
        "gpu_unsupported",
        CAPABILITY_SOURCE if old else "",
    )


def _may_suit(profile, gpus):
    """Whether the profile is for any GPU, or its tag, e.g. h100_nvl, has the words of the GPU's name."""
    words = {word for gpu in gpus for word in re.split(r"[^a-z0-9]+", gpu["name"].lower())}
    return not profile["gpu"] or words.issuperset(profile["gpu"].split("_"))


def _kinds(gpus, wishes):
    """The kinds of GPU: dict of name to how the host counts those of it (list of str, of None where unknown).

    Those with most memory come first, where that is known.
    """
    kinds = {}
    if wishes.gpus:
        by_uuid = any(not one.isdigit() for one in wishes.handed if one != "all")
        for gpu in sorted(wishes.gpus, key=lambda gpu: -(gpu.memory_total_mib or 0)):
            kinds.setdefault(gpu.name, []).append(gpu.uuid if by_uuid else str(gpu.index))
        return kinds
    for gpu, handed in zip(gpus, _handed(gpus, wishes)):
        kinds.setdefault((gpu["pci_id"], gpu["name"]), []).append(handed)
    return {name: handed for (_pci, name), handed in kinds.items()}


def _mix(kinds, gpus):
    first = next(iter(kinds.values()))
    choices = " or ".join(
        f"{name} (gpus: [{', '.join(handed)}])" if None not in handed else name for name, handed in kinds.items()
    )
    example = "" if None in first else f", e.g. gpus: [{', '.join(first)}]"
    return _problem(
        f"the GPUs are of {len(kinds)} kinds, and with such a mix NIM finds every profile incompatible.",
        _gpu_lines(gpus),
        f"Hand over one kind only{example}. There are: {choices}",
        "gpu_mix",
        _MIX_SOURCE,
    )


def _handed(gpus, wishes):
    """How the host counts each of the gpus: list of str, of None where that cannot be told.

    Inside a container GPUs are counted from 0, in the order of the host's indexes.
    """
    if not wishes.handed or wishes.handed == ("all",):
        return [str(gpu["index"]) for gpu in gpus]
    if len(wishes.handed) != len(gpus) or not all(one.isdigit() for one in wishes.handed):
        return [None] * len(gpus)
    of_host = sorted(wishes.handed, key=int)
    order = sorted(range(len(gpus)), key=lambda place: gpus[place]["index"])
    return [of_host[order.index(place)] for place in range(len(gpus))]


def _name(stopped, gpus, wishes):
    return _problem(
        "those that could run are engines cached under another name.",
        _profile_lines(stopped),
        "Pin one by its id if it holds the wished weights; otherwise see why the others cannot run.",
        "cached_only",
    )


def _lora(stopped, gpus, wishes):
    if wishes.lora:
        return _problem(
            "none of those that could run serves LoRA adapters.",
            _profile_lines(stopped),
            "Take an image with LoRA profiles, or serve merged weights without adapters.",
            "lora",
        )
    return _problem(
        "those that could run are for LoRA adapters, and none are wished for.",
        _profile_lines(stopped),
        "Set lora: true if adapters are to be served, or pin one by its id.",
        "lora",
    )


def _count(stopped, gpus, wishes):
    counts = sorted({gpus_needed(profile) for profile in stopped})
    wanted = " or ".join(str(count) for count in counts) + (" GPU" if counts == [1] else " GPUs")
    return _problem(
        f"those that could run are for {wanted}, and the service is to have {wishes.gpu_count}.",
        f"{_profile_lines(stopped)}\n{_gpu_lines(gpus)}",
        f"Give the model {wanted}{' of one kind' if counts != [1] else ''}.",
        "gpu_count",
    )


def _precision(stopped, gpus, wishes):
    offered = sorted({profile["precision"] for profile in stopped})
    weights = precision(wishes) or (f"quantised by {wishes.quantization}" if wishes.quantization else "not quantised")
    return _problem(
        f"those that could run serve in {', '.join(offered)}, and the weights are {weights}.",
        _profile_lines(stopped),
        "Take another image, or another version of the weights."
        if wishes.quantization
        else f"Ask for the precision that is to be served (precision: {offered[0]}), or take another image.",
        "precision",
    )


def _capability(stopped, gpus, wishes):
    reasons = sorted({too_old(profile["precision"], wishes) for profile in stopped})
    return _problem(
        "the GPUs are too old for the precision of those that could run.",
        "\n".join([*reasons, _profile_lines(stopped)]),
        "Give the model newer GPUs, take an image with profiles of another precision, or pin one of these by its id.",
        "capability",
        CAPABILITY_SOURCE,
    )
