# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""Whether the memory that a profile needs will be there once this model's own old release is gone.

NIM sorts by the memory that is free while it lists, and the old release still serves then. A profile that it calls
low on memory can be used if nobody else holds memory of the GPUs and the requirement fits all of it, or is said to
fit it with a shorter maximum model length. Where others hold some, it can be used if the service is told to take a
share that they leave, and the requirement fits what they leave.

Private to the collection: breaking changes at any time.
"""

from __future__ import annotations

from typing import NamedTuple

from ansible_collections.llmops.nim.plugins.module_utils._contract import FREE_GPU_MAX_USED

# NIM writes GB. Inferred from its numbers for Llama 3.1 8B in bf16, fp8 and nvfp4: they are GiB, which is also the
# careful reading.
MIB_PER_GB = 1024


class Fit(NamedTuple):
    """usable: the service can have the memory. max_model_len: tokens it has to be held to for that, or None.

    why: a clause that says so. strangers: MiB that others hold, over all GPUs, where they stand in the way.
    """

    usable: bool
    max_model_len: int | None
    why: str
    strangers: int = 0


def fit(profile, wishes):
    """The Fit of a profile (as parse_listing returns it) for the GPUs and the length of the wishes."""
    if profile["group"] != "low_memory":
        return Fit(True, None, "its memory is free")
    said = requirement(profile)
    short = "too little GPU memory is free" + (f" ({said})" if said else "")
    if not wishes.gpus:
        return Fit(False, None, f"{short}, and who holds it is not known")
    unknown = [gpu for gpu in wishes.gpus if None in (gpu.memory_total_mib, gpu.memory_used_mib)]
    if unknown:
        return Fit(False, None, f"{short}, and how much memory GPU {unknown[0].index} has is not known")
    taken = [(gpu, strangers(gpu)) for gpu in wishes.gpus if strangers(gpu) > FREE_GPU_MAX_USED * gpu.memory_total_mib]
    # Beside others only if it is told to take no more than they leave.
    share = wishes.memory_share if profile["memory_gb_per_gpu"] is not None else None
    if not taken or (share and all(mib + share * gpu.memory_total_mib <= gpu.memory_total_mib for gpu, mib in taken)):
        return _in_what_is_left(profile, wishes, short, dict(taken))
    who = ", ".join(f"{mib} MiB of GPU {gpu.index}" for gpu, mib in taken)
    why = f"{short}: others than this model's own old release hold {who}"
    return Fit(False, None, why, sum(mib for _gpu, mib in taken))


def _in_what_is_left(profile, wishes, short, taken):
    """The Fit in the memory that will be there: all of it, less what others hold (taken, MiB by Gpu)."""
    left, smallest = min(
        ((gpu.memory_total_mib - taken.get(gpu, 0), gpu) for gpu in wishes.gpus), key=lambda one: one[0]
    )
    there = f"the {left} MiB of GPU {smallest.index}" + (" that others leave" if taken else "")
    own = any(gpu.own_memory_mib for gpu in wishes.gpus)
    freed = f"{short} now, but only this model's own old release holds it" if own else f"{short}, but nobody holds it"
    freed = f"{short} now" if taken else freed
    needed, reduced = profile["memory_gb_per_gpu"], profile["reduced_memory_gb_per_gpu"]
    hint, held_to = profile["max_model_len_hint"], wishes.max_model_len

    def fits(gigabytes):
        return gigabytes is not None and gigabytes * MIB_PER_GB <= left

    if needed is None:
        return Fit(True, None, freed)
    if fits(needed):
        return Fit(True, None, f"{freed}, and it fits {there}")
    if hint is None or not fits(reduced):
        return Fit(False, None, f"{short}: more than {there}")
    if held_to is None:
        return Fit(True, hint, f"{freed}; it fits {there} with NIM_MAX_MODEL_LEN={hint}")
    if held_to <= hint:
        return Fit(True, None, f"{freed}; it fits {there} with the {held_to} tokens that are set ({hint} at most)")
    return Fit(False, None, f"{short}: more than {there} with the {held_to} tokens that are set")


def strangers(gpu):
    """MiB (int) of the Gpu that others than this model's own old release hold; its memory in use is known."""
    return max(0, gpu.memory_used_mib - gpu.own_memory_mib)


def requirement(profile):
    """What NIM printed about the memory of the profile, e.g. C(needs 33 GB a GPU, 27 GB with --max-model-len=82944)."""
    parts = []
    if profile["memory_gb_per_gpu"] is not None:
        parts.append(f"needs {profile['memory_gb_per_gpu']:g} GB a GPU")
    if profile["max_model_len_hint"] is not None:
        less = profile["reduced_memory_gb_per_gpu"]
        with_less = "try" if less is None else f"{less:g} GB with"
        parts.append(f"{with_less} --max-model-len={profile['max_model_len_hint']}")
    return ", ".join(parts)
