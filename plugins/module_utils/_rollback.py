# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""Going back to a release that is kept on the host: no bytes are moved, and no engine is built.

Private to the collection: breaking changes at any time.
"""

from __future__ import annotations

from ansible_collections.llmops.nim.plugins.module_utils import _strategy
from ansible_collections.llmops.nim.plugins.module_utils._contract import CONTRACTS
from ansible_collections.llmops.nim.plugins.module_utils._decision import (
    before_and_strays,
    misplacement,
    predecessor,
    proven,
    slot_of,
)
from ansible_collections.llmops.nim.plugins.module_utils._environment import share_said
from ansible_collections.llmops.nim.plugins.module_utils._models import LABEL
from ansible_collections.llmops.nim.plugins.module_utils._problem import Problem, report


def back(item):
    """What undoes an item (dict of _plan.plans()) that was activated: the same, with the two releases exchanged.

    None where nothing served before.
    """
    before, after = item["predecessor"], item["release"]
    if before is None:
        return None
    beside = item["swap"]["strategy"] in ("side_by_side", "other_gpu") and before["port"] != after["port"]
    strategy = item["swap"]["strategy"] if beside else "in_place"
    return dict(
        item,
        api=before["api"],
        release=_startable(item["model"], before),
        predecessor={
            "id": after["id"],
            "container": after["container"],
            "health": after["health"],
            "port": after["port"],
            "slot": after["slot"],
            "running": True,
            "served_name": after["env"]["NIM_SERVED_MODEL_NAME"],
            "api": item["api"],
        },
        strays=[],
        swap=dict(item["swap"], strategy=strategy),
        event="rolled_back",
        fallback=f"{after['container']} serves again.",
    )


def _startable(model, kept):
    """A release that is kept (dict of _decision.predecessor()), with the keys that starting and proving it need."""
    return dict(kept, slot=slot_of(model, kept), env={"NIM_SERVED_MODEL_NAME": kept["served_name"]}, engine=None)


def plans(observed, wished, rollout):
    """What takes each model of a host back: a list of dict as _plan.plans() returns them, with C(text) and C(refusal).

    observed: result of gpu_host_info. wished: the id of the release to go back to (str), or None for the previous one.
    rollout: as for _plan.plans().
    """
    return [_plan(model, observed, wished, rollout) for model in observed["models"]]


def _plan(model, observed, wished, rollout):
    ledger = observed["ledger"].get(model["name"]) or {}
    kept = [one for one in observed["releases"] if one["model"] == model["name"]]
    gateway = model["gateway_port"] is not None and model["name"] in rollout["gateway_hosts"]
    item = {"model": model, "action": "refused", "release": None, "gateway": gateway, "event": "rolled_back"}
    try:
        target = _target(model, ledger, kept, wished, gateway)
        before, strays = before_and_strays([one for one in kept if one is not target], ledger)
        serves = bool(before and before["running"])
        current = (ledger.get("current") or {}).get("id")
        if target["running"] and not serves and current == target["release"] and not observed["lock"]:
            text = f"{model['name']}: in sync, {target['container']} serves already"
            return dict(item, action="none", release=_release(model, target), text=text, refusal=None)
        swap, problem = _swap(model, target, before, observed, gateway, rollout) if serves else (_strategy.FIRST, None)
        if problem:
            raise problem
    except Problem as problem:
        return dict(item, text=f"{model['name']}: refused", refusal=report([problem]))
    return dict(
        item,
        action="replace" if serves else "start",
        release=_release(model, target),
        api=target["labels"].get(LABEL + "api") or "completions",
        predecessor=dict(predecessor(before), slot=slot_of(model, before)) if before else None,
        strays=[one["container"] for one in strays],
        swap=swap,
        fallback=f"{before['container']} serves again." if before else "nothing serves then.",
        text=f"{model['name']}: back to {target['container']}"
        + (f" from {before['container']}" if before else "")
        + f", {swap['strategy']} ({swap['why']}); downtime: {swap['downtime']}"
        + (f"; stopped first: {', '.join(one['container'] for one in strays)}" if strays else ""),
        refusal=None,
    )


def _release(model, target):
    return _startable(model, predecessor(target))


def _target(model, ledger, kept, wished, gateway):
    """The kept release (dict of gpu_host_info) to go back to; raises Problem where there is none that could start."""
    before, current = ledger.get("previous"), ledger.get("current")
    if current and any(one["running"] and one["release"] not in proven(ledger) for one in kept):
        # It was left by a run that was killed, and the one that it was to replace was the last to be proven.
        before = current
    if wished is None and before is None:
        raise Problem(
            f"Model {model['name']} has no release to go back to.",
            f"its ledger names {'only ' + current['id'] if current else 'no release'}",
            "Deploy the release that is wished for.",
            "no_previous_release",
        )
    identity = wished or before["id"]
    found = next((one for one in kept if one["release"] == identity), None)
    there = ", ".join(one["release"] for one in kept if one["release"]) or "none"
    if found is None:
        raise Problem(
            f"Release {identity} of model {model['name']} is not on this host.",
            f"kept here: {there}",
            "Give one that is kept (-e nim_release=…), or deploy its weights again.",
            "release_not_kept",
        )
    if found["missing_mounts"]:
        raise Problem(
            f"Release {identity} of model {model['name']} could not start.",
            "gone from the host: " + ", ".join(found["missing_mounts"]),
            f"Deploy its weights again, or go back to another one that is kept: {there}",
            "release_not_bootable",
        )
    problem = misplacement(model, found, gateway)
    if problem:
        raise problem
    return found


def _swap(model, target, before, observed, gateway, rollout):
    can = dict.fromkeys(("side_by_side", "other_gpu"), _crowd(target, before, observed))
    wish = dict(model, strategy=rollout["strategy"] or model["strategy"])
    hosts = rollout["gateway_hosts"].get(model["name"], 0)
    return _strategy.choose(wish, predecessor(before), can, gateway, hosts, rollout["allow_downtime"])


def _crowd(target, before, observed):
    """Why the kept release cannot run beside the one that runs (str), or None if it can."""
    if target["running"]:
        return None
    if target["port"] == before["port"]:
        return f"both answer on port {target['port']}"
    contract = CONTRACTS.get(target["labels"].get(LABEL + "contract"))
    if contract is None:
        return "how much memory it takes is not known"
    share = share_said(target["settings"]["env"], contract.share) or contract.share.default
    for gpu in observed["gpus"]:
        if gpu["uuid"] in target["gpus"]:
            if gpu["memory_used_mib"] is None:
                return "how much memory is free is not known"
            free = gpu["memory_total_mib"] - gpu["memory_used_mib"]
            if int(gpu["memory_total_mib"] * share) > free:
                return f"it takes {share:g} of the memory, and {free} MiB are free"
    return None
