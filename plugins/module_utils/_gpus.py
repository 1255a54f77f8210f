# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""Which GPUs a model is to have: its wish, the GPUs that there are, and what runs on them.

Private to the collection: breaking changes at any time.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from ansible_collections.llmops.nim.plugins.module_utils._contract import FREE_GPU_MAX_USED
from ansible_collections.llmops.nim.plugins.module_utils._problem import Problem

HOW_TO_ASK = "Write gpus: [0] (indexes), gpus: [GPU-fef8089b] (UUIDs, or what they begin with), or gpus: {count: 1}."

# nvidia-smi and Docker take the beginning of a UUID where it is unique; so does this.
_UUID = re.compile(r"GPU-[0-9a-fA-F-]{4,36}")


class Wish(NamedTuple):
    """The GPUs asked for: either so many of one kind, or these (int index or str UUID)."""

    count: int | None
    these: tuple = ()


def parse_wish(raw):
    """The Wish in what C(gpus) holds (any value); a Problem when it is none."""
    if isinstance(raw, dict):
        count = raw.get("count")
        if set(raw) == {"count"} and _is_index(count) and int(count) > 0:
            return Wish(int(count))
    elif isinstance(raw, (list, tuple)) and raw:
        these = [_one(item) for item in raw]
        if None not in these:
            return Wish(None, tuple(these))
    raise Problem(
        "gpus says neither which GPUs nor how many.", evidence=f"gpus: {raw!r}", remedy=HOW_TO_ASK, code="gpus_invalid"
    )


def _is_index(item):
    if isinstance(item, bool):
        return False
    return (isinstance(item, int) and 0 <= item < 1000) or (
        isinstance(item, str) and re.fullmatch(r"[0-9]{1,3}", item) is not None
    )


def _one(item):
    if _is_index(item):
        return int(item)
    return item if isinstance(item, str) and _UUID.fullmatch(item) else None


def kind(gpu):
    """What makes two GPUs the same to NIM: product, PCI device and memory."""
    return (gpu["name"], gpu["pci_device_id"], gpu["memory_total_mib"])


def show(gpus):
    """GPUs (list of dicts) for the eye, one a line."""
    return "\n".join(f"{gpu['index']}: {gpu['name']}, {gpu['memory_total_mib']} MiB, {gpu['uuid']}" for gpu in gpus)


def busy(gpu):
    """Is more of its memory in use than a GPU that NIM calls free may have? (Unknown: no.)"""
    total, used = gpu["memory_total_mib"], gpu["memory_used_mib"]
    return bool(total and used and used > FREE_GPU_MAX_USED * total)


def running_on(releases, model=None, other_than=None):
    """The UUIDs (list, one entry a release) held by running releases: of one model, or of all others than one."""
    return [
        uuid
        for release in releases
        if release["running"] and model in (None, release["model"]) and release["model"] != other_than
        for uuid in release["gpus"]
    ]


def assign(models, gpus, releases):
    """Which GPUs each model is to have.

    models: list of dicts with name and gpus (the wish). gpus: the host's, dicts with index, uuid, name, pci_device_id,
    memory_total_mib and memory_used_mib. releases: what is on the host, dicts with model, running and gpus (UUIDs).
    Returns (dict of model name to list of GPUs, list of (model name, Problem)).

    Those named come first. Those counted keep what their running release has, if it is as many; the others get the
    least used GPUs of one kind: fewest other models on them, then those whose memory is free, then the largest, then
    those the model is on already, then the lowest index. The same input always gives the same answer, and the order
    of gpus does not matter.
    """
    gpus = sorted(gpus, key=lambda gpu: gpu["index"])
    wishes = [(model["name"], parse_wish(model["gpus"])) for model in models]
    assigned, problems = {}, []
    for step in (_named, _kept, _counted):
        for name, wish in wishes:
            if name in assigned or any(name == one for one, dummy in problems):
                continue
            try:
                found = step(name, wish, gpus, releases, assigned)
            except Problem as problem:
                problems.append((name, problem))
                continue
            if found:
                assigned[name] = found
    return {name: assigned[name] for name, dummy in wishes if name in assigned}, problems


def _named(name, wish, gpus, dummy_releases, dummy_assigned):
    """The GPUs named by index or UUID; None for a count."""
    if wish.count is not None:
        return None
    found = []
    for one in wish.these:
        if isinstance(one, int):
            matches = [gpu for gpu in gpus if gpu["index"] == one]
        else:
            matches = [gpu for gpu in gpus if (gpu["uuid"] or "").lower().startswith(one.lower())]
        if not matches:
            raise Problem(
                f"Model {name} asks for GPU {one}, which this host does not have.",
                evidence="its GPUs:\n" + show(gpus),
                remedy="Ask for those that are there. " + HOW_TO_ASK,
                code="gpu_not_present",
            )
        if len(matches) > 1:
            raise Problem(
                f"Model {name} asks for GPU {one}, and more than one GPU begins so.",
                evidence=show(matches),
                remedy="Write more of the UUID.",
                code="gpu_ambiguous",
            )
        found.extend(matches)
    if len({gpu["index"] for gpu in found}) < len(found):
        raise Problem(
            f"Model {name} asks for the same GPU more than once.",
            evidence=f"gpus: {list(wish.these)}",
            remedy="Name each GPU once.",
            code="gpu_twice",
        )
    if len({kind(gpu) for gpu in found}) > 1:
        alone = [gpu for gpu in found if kind(gpu) == kind(max(found, key=_strength))]
        raise Problem(
            f"Model {name} asks for GPUs of different kinds.",
            evidence=show(found),
            remedy=f"Ask for GPUs of one kind, for example gpus: {[gpu['index'] for gpu in alone]}",
            code="gpu_mix",
            source="observed: list-model-profiles of NIM 1.8.4 calls every profile incompatible when it sees an RTX "
            "6000 Ada and a T600, and serves on the first alone; inferred: the mix is the cause",
        )
    return found


def _kept(name, wish, gpus, releases, dummy_assigned):
    """The GPUs of the model's running release where it has as many of one kind as wished, else None."""
    if wish.count is None:
        return None
    held = set(running_on(releases, model=name))
    found = [gpu for gpu in gpus if gpu["uuid"] in held]
    return found if len(found) == wish.count and len({kind(gpu) for gpu in found}) == 1 else None


def _counted(name, wish, gpus, releases, assigned):
    """The least used GPUs of one kind, as many as wished."""
    if wish.count is None:
        return None
    if len(gpus) < wish.count:
        raise Problem(
            f"Model {name} asks for {wish.count} GPUs, and this host has {len(gpus)}.",
            evidence="its GPUs:\n" + show(gpus),
            remedy=f"Ask for at most {len(gpus)}. " + HOW_TO_ASK,
            code="gpu_too_few",
        )
    # A model of this run is counted once, where it will be; one that is not of this run, where it is.
    elsewhere = [release for release in releases if release["model"] not in assigned]
    load = running_on(elsewhere, other_than=name) + [gpu["uuid"] for one in sorted(assigned) for gpu in assigned[one]]
    own = running_on(releases, model=name)

    def rank(gpu):
        mine = gpu["uuid"] in own
        return (load.count(gpu["uuid"]), busy(gpu) and not mine, not mine, gpu["index"])

    groups = {}
    for gpu in sorted(gpus, key=rank):
        groups.setdefault(kind(gpu), []).append(gpu)
    enough = [group[: wish.count] for group in groups.values() if len(group) >= wish.count]
    if not enough:
        most = max(len(group) for group in groups.values())
        raise Problem(
            f"Model {name} asks for {wish.count} GPUs, and this host has at most {most} of one kind.",
            evidence="its GPUs:\n" + show(gpus),
            remedy=f"Ask for at most {most}; NIM finds no profile for a mix of kinds. " + HOW_TO_ASK,
            code="gpu_too_few",
        )

    def cost(group):
        ranks = [rank(gpu) for gpu in group]
        return (sum(r[0] for r in ranks), sum(r[1] for r in ranks), -(group[0]["memory_total_mib"] or 0), ranks)

    return sorted(min(enough, key=cost), key=lambda gpu: gpu["index"])


def _strength(gpu):
    return (gpu["memory_total_mib"] or 0, -gpu["index"])
