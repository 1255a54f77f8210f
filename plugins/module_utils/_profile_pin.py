# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""A pinned profile, by its id or description: obeyed, or refused with a reason.

Private to the collection: breaking changes at any time.
"""

from __future__ import annotations

import difflib
import re

from ansible_collections.llmops.nim.plugins.module_utils import _profile_wishes as wished
from ansible_collections.llmops.nim.plugins.module_utils._problem import Problem
from ansible_collections.llmops.nim.plugins.module_utils._profile_memory import fit
from ansible_collections.llmops.nim.plugins.module_utils._profile_name import without_size
from ansible_collections.llmops.nim.plugins.module_utils._profile_refusal import listed
from ansible_collections.llmops.nim.plugins.module_utils._profile_rules import gpus_needed

_PASTED = re.compile(r"\s*(?:-\s+)?([0-9a-fA-F]{64})\s*\(.*")
_ID = re.compile(r"[0-9a-fA-F]{64}")


def pinned(profiles, wishes):
    """(the profile (dict) that wishes.profile means, reasons to take it (list of str), tokens to hold it to or None).

    Raises Problem where there is no such profile, where it is incompatible, or for another number of GPUs.
    """
    wish = wishes.profile.strip()
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
        handed = f", gpus: [{', '.join(wishes.handed)}]" if wishes.handed else ""
        raise wished.contradiction(
            f"the pinned profile is for {wished.gpus(needed)}, not {count}",
            f"profile: {profile['description']}, gpu_count: {count}{handed}",
            f"Give the model {wished.gpus(needed)}, or pin a profile for {count}, or profile: auto.",
        )
    held_to, memory = _memory(profile, wishes)
    return profile, [f"pinned as {wish}", memory, *_against_other_wishes(profile, wishes)], held_to


def _meant(profiles, wish):
    if _ID.fullmatch(wish):
        found = [profile for profile in profiles if profile["id"] == wish.lower()]
    else:
        # NVIDIA's documents leave out the size that 2.x prints, and write A100 where 1.0 prints a100.
        for spelling in (str, str.lower, lambda name: without_size(name.lower())):
            found = [profile for profile in profiles if spelling(profile["description"].strip()) == spelling(wish)]
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


def _memory(profile, wishes):
    """(tokens (int) to hold the profile to, or None, and what is said of its memory)."""
    if profile["group"] != "low_memory":
        return None, "can be compiled on these GPUs" if profile["group"] == "compilable" else "runnable on these GPUs"
    found, hint = fit(profile, wishes), profile["max_model_len_hint"]
    if found.usable:
        return found.max_model_len, f"low memory: {found.why}"
    why = f"low memory: {found.why}; taken because it is pinned"
    if hint is None:
        return None, why
    if wishes.max_model_len is None:
        return hint, f"{why}, with NIM_MAX_MODEL_LEN={hint} as NIM advises"
    return None, f"{why}, with the {wishes.max_model_len} tokens that are set (NIM advises {hint})"


def _against_other_wishes(profile, wishes):
    reasons = []
    wanted, objective = wished.precision(wishes), wishes.objective
    if wanted and profile["precision"] not in (None, wanted):
        reasons.append(f"precision {profile['precision']} as it is pinned, though the weights are {wanted}")
    too_old = wished.too_old(profile["precision"], wishes)
    if too_old:
        reasons.append(f"taken because it is pinned, though {too_old}")
    if objective != "auto" and profile["objective"] not in (None, objective):
        reasons.append(f"objective {profile['objective']} as it is pinned, though {objective} is wished for")
    if profile["lora"] and not wishes.lora:
        reasons.append("serves LoRA adapters because it is pinned, though none are wished for")
    return reasons
