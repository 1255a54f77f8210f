# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""How a release takes the place of the one that runs: beside it, on other GPUs, or in its place.

Private to the collection: breaking changes at any time.
"""

from __future__ import annotations

from ansible_collections.llmops.nim.plugins.module_utils._models import STRATEGIES
from ansible_collections.llmops.nim.plugins.module_utils._problem import Problem

_NO_GATEWAY = "there is no gateway that could switch from one to the other"
# Nothing has to take anybody's place.
FIRST = {"strategy": "first", "why": "nothing serves this model yet", "downtime": "none: nothing serves yet"}
NONE = {"strategy": "none", "why": "in sync", "downtime": "none"}


def choose(model, predecessor, can, gateway, hosts, allow_downtime):
    """The swap (dict strategy, why, downtime), and the Problem that stands in its way, or None.

    model: of nim_models. predecessor: dict with C(container), of the release that runs. can: dict of C(side_by_side)
    and C(other_gpu) to None, if it can be done, or to the reason (str) why not. gateway: whether the model is reached
    through one. hosts: how many hosts serve the model behind it. allow_downtime: nim_allow_downtime.
    """
    impossible = {name: can[name] if gateway else _NO_GATEWAY for name in STRATEGIES[:2]}
    wish = model["strategy"]
    if wish == "auto":
        strategy = next((name for name in STRATEGIES[:2] if impossible[name] is None), "in_place")
        why = _why(strategy, impossible)
    else:
        strategy, why = wish, f"strategy: {wish} is wished for"
    swap = {"strategy": strategy, "why": why, "downtime": _downtime(strategy, predecessor, gateway, hosts)}
    if impossible.get(strategy):
        return swap, Problem(
            f"Model {model['name']} cannot be replaced {strategy.replace('_', ' ')}.",
            impossible[strategy],
            "Set strategy to auto, or mend what stands in the way.",
            "strategy_impossible",
        )
    if swap["downtime"] != "none" and not allow_downtime:
        return swap, Problem(
            f"Replacing the release of model {model['name']} interrupts its service.",
            f"{strategy}: {why}; nobody serves it {swap['downtime']}",
            "Run with -e nim_allow_downtime=true, or put it behind a gateway (gateway_port), with GPU memory to spare.",
            "downtime",
        )
    return swap, None


def _why(strategy, impossible):
    if strategy == "side_by_side":
        return "both releases fit on the GPUs"
    if strategy == "other_gpu":
        return f"GPUs of the same kind are free; beside the running release: {impossible['side_by_side']}"
    return "; ".join(dict.fromkeys(impossible.values()))


def _downtime(strategy, predecessor, gateway, hosts):
    if strategy != "in_place" or (gateway and hosts > 1):
        return "none"
    return f"from the stop of {predecessor['container']} until the release that takes its place has loaded its model"
