# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""The GPUs of a model's release: who holds their memory now, what it will take, and whether that is enough.

Private to the collection: breaking changes at any time.
"""

from __future__ import annotations

from ansible_collections.llmops.nim.plugins.module_utils import _memory
from ansible_collections.llmops.nim.plugins.module_utils._gpus import busy, kind, parse_wish, running_on
from ansible_collections.llmops.nim.plugins.module_utils._problem import Problem

_KEYS = ("index", "uuid", "name", "memory_total_mib", "memory_used_mib", "compute_capability", "cdi_devices")


def gpus(name, observed):
    """The GPUs that the model called name is to have: list of dict with index, uuid, name, memory_total_mib,
    memory_used_mib, compute_capability, cdi_devices and own_memory_mib (int: held by this model's own releases).

    observed: result of gpu_host_info.
    """
    own = {}
    for one in observed["releases"]:
        for uuid, held in one["memory_mib"].items() if one["model"] == name and one["running"] else ():
            own[uuid] = own.get(uuid, 0) + (held or 0)
    return [
        dict({key: gpu[key] for key in _KEYS}, own_memory_mib=own.get(gpu["uuid"], 0))
        for gpu in observed["assignments"].get(name, [])
    ]


def judge(model, checkpoint, assigned, share, length, contract):
    """What the release will take of its GPUs: (memory, problems, warnings), the latter lists of Problem.

    checkpoint: dict of nim_weights_info, empty if not read. assigned: of gpus(). share: fraction of a GPU's memory that
    the engine takes. length: tokens wished for, or None. contract: a Contract.
    memory: dict of share, need_mib (int a GPU, or None), max_model_len, gpus (list of dict index, name, total_mib,
    used_mib, own_mib, others_mib, after_mib) and crowd (None if it fits beside all that is there now, else why not).
    """
    known = checkpoint.get("read", False)
    problems, warnings = [], []
    need = {}
    if known and assigned:
        need = _memory.need(checkpoint, len(assigned), contract.overhead, length)
        strict = length is not None and contract.strict_length
        problems, warnings = _memory.judge(
            model["name"], checkpoint, assigned, share, contract.overhead, length, strict
        )
    taken = [_taken(gpu, share) for gpu in assigned]
    crowded = [gpu for gpu in taken if gpu["after_mib"] is not None and gpu["after_mib"] > gpu["total_mib"]]
    if crowded and not problems:
        warnings.append(_crowded(model, crowded, share))
    return (
        {
            "share": share,
            "need_mib": need.get("total_mib") if need.get("known") else None,
            "max_model_len": need.get("max_model_len"),
            "gpus": taken,
            "crowd": _crowd(need, taken, share),
        },
        problems,
        warnings,
    )


def _taken(gpu, share):
    total, used, own = gpu["memory_total_mib"], gpu["memory_used_mib"], gpu["own_memory_mib"]
    others = None if used is None else max(used - own, 0)
    return {
        "index": gpu["index"],
        "name": gpu["name"],
        "total_mib": total,
        "used_mib": used,
        "own_mib": own,
        "others_mib": others,
        "after_mib": None if None in (total, others) else others + int(total * share),
    }


def _crowd(need, taken, share):
    """Why the release does not fit beside all that is on its GPUs now (str), or None if it does."""
    if any(None in (gpu["total_mib"], gpu["used_mib"]) for gpu in taken):
        return "how much memory is free is not known"
    free = [gpu["total_mib"] - gpu["used_mib"] for gpu in taken]
    if all(int(gpu["total_mib"] * share) <= rest for gpu, rest in zip(taken, free)):
        return None
    why = f"it takes {share:g} of the memory, and {min(free)} MiB are free"
    if need.get("known"):
        fits, smaller = _memory.beside(need["total_mib"], free, [gpu["total_mib"] for gpu in taken])
        why += f" (it needs {need['total_mib']} MiB: memory_share: {smaller} would do)" if fits else ""
    return why


def spare(model, observed):
    """Free GPUs for the model (dict of nim_models) beside those it has: dict of gpus (of gpus()) and why (str) if none.

    As many, of the same kind, without a release, in nobody's use and wished for by no other model.
    """
    mine = observed["assignments"][model["name"]]
    wish = parse_wish(model["gpus"])
    if wish.count is None:
        return {"gpus": [], "why": "gpus names those to use; with gpus: {count: …} others may be taken"}
    taken = {gpu["uuid"] for gpus in observed["assignments"].values() for gpu in gpus}
    taken |= set(running_on(observed["releases"]))
    alike = [gpu for gpu in observed["gpus"] if kind(gpu) == kind(mine[0])]
    free = [gpu for gpu in alike if gpu["uuid"] not in taken and not busy(gpu)]
    if len(free) < wish.count:
        return {"gpus": [], "why": f"{len(free)} further GPUs of this kind are free, and {wish.count} are needed"}
    chosen = free[: wish.count]
    return {"gpus": [dict({key: gpu[key] for key in _KEYS}, own_memory_mib=0) for gpu in chosen], "why": None}


def _crowded(model, crowded, share):
    worst = max(crowded, key=lambda gpu: gpu["after_mib"] - gpu["total_mib"])
    left = (worst["total_mib"] - worst["others_mib"]) / worst["total_mib"]
    return Problem(
        f"Model {model['name']} will find too little free memory on GPU {worst['index']}.",
        f"others hold {worst['others_mib']} of {worst['total_mib']} MiB, and the model takes {share:g} of them all",
        f"Set memory_share to {max(left - 0.01, 0.01):.2f} at most, stop what holds the memory, or choose another GPU.",
        "memory_held",
    )
