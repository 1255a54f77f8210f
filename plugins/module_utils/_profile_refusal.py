# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""Why no profile of a listing can be used, and what would work.

Private to the collection: breaking changes at any time.
"""

from __future__ import annotations

from ansible_collections.llmops.nim.plugins.module_utils._problem import Problem

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
        low = [profile for profile in stopped if profile["group"] == "low_memory"]
        low = [profile for profile in low if profile["lora"] == wishes.lora] or low
        return _memory(low, gpus) if low else _incompatible(profiles, gpus, wishes)
    return {"name": _name, "lora": _lora, "count": _count, "precision": _precision}[rule](stopped, gpus, wishes)


def listed(profiles, most=10):
    """The profiles that can be used, an id and description a line (str), at most so many."""
    usable = [profile for profile in profiles if profile["group"] != "incompatible"]
    if not usable:
        return "None of this listing can be used."
    lines = [f"{profile['id']} ({profile['description']}), {profile['group']}" for profile in usable[:most]]
    if len(usable) > most:
        lines.append(f"… and {len(usable) - most} more")
    return "\n".join(lines)


def gpus_needed(profile):
    """GPUs (int) that the profile is for, or None where its name does not say. Names before 1.8 leave out pp1."""
    if profile["tensor_parallel"] is None:
        return None
    return profile["tensor_parallel"] * (profile["pipeline_parallel"] or 1)


def memory(profile):
    """What NIM printed about the memory of the profile, e.g. C(needs 33 GB a GPU, 27 GB with --max-model-len=82944)."""
    parts = []
    if profile["memory_gb_per_gpu"] is not None:
        parts.append(f"needs {profile['memory_gb_per_gpu']:g} GB a GPU")
    if profile["max_model_len_hint"] is not None:
        less = profile["reduced_memory_gb_per_gpu"]
        with_less = "try" if less is None else f"{less:g} GB with"
        parts.append(f"{with_less} --max-model-len={profile['max_model_len_hint']}")
    return ", ".join(parts)


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


def _memory(low, gpus):
    hints = [f"{profile['description']}: {memory(profile)}" for profile in low if memory(profile)]
    return _problem(
        f"{len(low)} would fit these GPUs, but too little of their memory is free.",
        "\n".join([_gpu_lines(gpus), *hints[:8]]),
        "Free the GPUs (nvidia-smi shows who holds memory), take other GPUs, or pin one of these profiles by its id "
        "with a smaller NIM_MAX_MODEL_LEN. NIM 1.x counts a GPU as free up to 5 % in use; NIM_RELAX_MEM_CONSTRAINTS=1 "
        "lifts that from 1.8 on.",
        "memory",
    )


def _incompatible(profiles, gpus, wishes):
    if not profiles:
        return _problem(
            "the listing names none.", _gpu_lines(gpus), "Take an image that has profiles for these GPUs.", "listed"
        )
    kinds = {}
    for gpu, handed in zip(gpus, _handed(gpus, wishes)):
        kinds.setdefault((gpu["pci_id"], gpu["name"]), []).append(handed)
    if len(kinds) > 1:
        return _mix(kinds, gpus)
    made_for = sorted({profile["gpu"] for profile in profiles if profile["gpu"]})
    generic = sorted({gpus_needed(p) for p in profiles if not p["gpu"] and gpus_needed(p)})
    evidence = [_gpu_lines(gpus)]
    if made_for:
        evidence.append(f"made for: {', '.join(made_for)}")
    if generic and gpus and generic[0] > len(gpus):
        evidence.append(f"for any GPU: {', '.join(str(number) for number in generic)} of them")
        return _problem(
            f"those that run on any GPU need {generic[0]} or more, and {len(gpus)} were handed over.",
            "\n".join(evidence),
            f"Give the model {generic[0]} GPUs of one kind, or take a smaller model.",
            "gpu_count",
        )
    return _problem(
        f"the image has none for this GPU: all {len(profiles)} are incompatible.",
        "\n".join(evidence),
        "Take a GPU that the image was made for, a newer image, or a model-free image.",
        "gpu_unsupported",
    )


def _mix(kinds, gpus):
    first = next(iter(kinds.values()))
    choices = " or ".join(
        f"{name} (gpus: [{', '.join(handed)}])" if None not in handed else name
        for (_pci, name), handed in kinds.items()
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
    return _problem(
        f"those that could run serve in {', '.join(offered)}, and the weights are {wishes.precision}.",
        _profile_lines(stopped),
        f"Ask for the precision that is to be served (precision: {offered[0]}), or take another image.",
        "precision",
    )
