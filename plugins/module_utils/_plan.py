# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""What is to be done on a host so that its models serve: from wishes and what was observed, asking nobody.

Private to the collection: breaking changes at any time.
"""

from __future__ import annotations

from ansible_collections.llmops.nim.plugins.module_utils import _least_right, _plan_memory, _strategy
from ansible_collections.llmops.nim.plugins.module_utils._contract import CONTRACTS
from ansible_collections.llmops.nim.plugins.module_utils._decision import (
    decide,
    misplacement,
    own_release,
    proven,
    slot_of,
)
from ansible_collections.llmops.nim.plugins.module_utils._environment import max_length, share_said
from ansible_collections.llmops.nim.plugins.module_utils._gpu_mode import HOOK
from ansible_collections.llmops.nim.plugins.module_utils._gpus import parse_wish
from ansible_collections.llmops.nim.plugins.module_utils._models import LABEL, slots
from ansible_collections.llmops.nim.plugins.module_utils._problem import Problem
from ansible_collections.llmops.nim.plugins.module_utils._release import release

# The engine of Llama 3.2 1B on an RTX 6000 Ada took 84 s; of 70B models minutes to tens of minutes are told (observed).
_BUILD_TIME = "84 s were observed for a model of 1B, tens of minutes for 70B"


def plans(observed, images, weights, weights_dir, rollout):
    """The plan of one host: a list of dict, one a model, in the order of nim_models.

    observed: result of gpu_host_info. images: of nim_image_info. weights: result of nim_weights_info. weights_dir:
    where snapshots lie on the host. rollout: dict of C(gateway_hosts) (model name to how many hosts serve it behind the
    gateways), C(allow_downtime), C(strategy) (for all models, or None), C(gateway_keys) (whether the gateways ask for
    keys) and C(verify_address) (where the control node asks the models).

    Each has the keys
    action: C(none), C(create), C(start) (it is there and does not serve for sure), C(replace), or C(refused).
    reasons: list of str. changes: list of dict key, from, to: against the predecessor.
    model: of nim_models. release: of _release.release(), None when refused. api: chat or completions, None if unknown.
    predecessor: the release that serves, or is to serve again if this one fails, or None: see predecessor().
    strays: list of str, containers of the model that run as well, left by a run that was killed. They are to be stopped
    before anything else is done, once the predecessor has the requests.
    fallback: str, what serves if it fails.
    fetch: dict image_bytes, weights_bytes: what is not on the host yet, 0 or None (unknown).
    engine: dict do (C(reuse), C(build) or C(none)) and why.
    profile: dict id, description and reasons; None until it is chosen.
    listing: dict of C(volumes), with which the image's profiles can be listed beforehand, or None if they cannot.
    checkpoint: of nim_weights_info, empty if not read. gpus, memory: of _plan_memory.
    runs: whether the release runs already, though it is not known to be proven. event: for the ledger.
    gateway: whether requests reach it through gateways. swap: dict of _strategy. keyless: of
    _least_right.keyless_profiles().
    problems, warnings: list of dict of Problem. What concerns the host as a whole stands with the first model.
    """
    found = []
    for model in observed["models"]:
        item = _plan(model, observed, images, weights, weights_dir, rollout)
        for kind, seen in (("problems", observed["problems"]), ("warnings", observed["warnings_found"])):
            concern = [one for one in seen if _concerns(one, model, first=not found)]
            item[kind] = concern + item[kind]
        found.append(item)
        item["problems"] += [one.as_dict() for one in _least_right.problems(model, item["gateway"], rollout)]
        if item["swap"]["strategy"] == "other_gpu":
            # What one model is given the next one cannot have.
            taken = observed["assignments"][model["name"]] + item["gpus"]
            observed = dict(observed, assignments=dict(observed["assignments"], **{model["name"]: taken}))
    return found


def _concerns(finding, model, first):
    return first if finding["model"] is None else finding["model"].split(", ")[0] == model["name"]


def _plan(model, observed, images, weights, weights_dir, rollout):
    key = f"{model['weights']['repo']}@{model['weights']['revision']}"
    checkpoint = weights["checkpoints"].get(key) or {}
    gpus = _plan_memory.gpus(model["name"], observed)
    gateway = model["gateway_port"] is not None and model["name"] in rollout["gateway_hosts"]
    item = dict(_REFUSED, model=model, gpus=gpus, checkpoint=checkpoint, gateway=gateway, problems=[], warnings=[])
    if not gpus:
        return item  # the host's problems say why
    found = [one for one in observed["releases"] if one["model"] == model["name"]]

    modes = observed["gpu_modes"] or [HOOK]  # without any the host's problems say why
    mode = modes[0]

    def release_on(these, slot="a", by=None):
        what = (model, images[model["image"]], weights["commits"][key], these, weights_dir, slot)
        return release(*what, weights["selection"], by or mode)

    def mode_of(one, these):
        """The mode by which a release of the host is the wanted one on these GPUs, or None."""
        return next((by for by in modes if release_on(these, by=by)["id"] == one["release"]), None)

    try:
        observed = _begun(model, observed, found, mode_of)
        gpus = _plan_memory.gpus(model["name"], observed)
        # What is here is not made anew because the server offers another way to the same GPUs as well.
        mode = next(filter(None, (mode_of(one, gpus) for one in found)), mode)
        wanted = release_on(gpus)
    except Problem as problem:
        return dict(item, problems=[problem.as_dict()])

    contract = CONTRACTS[wanted["labels"][LABEL + "contract"]]
    whole = observed["snapshots"].get(_snapshot(model, wanted, weights["selection"]), True)
    todo = decide(wanted, found, observed["ledger"].get(model["name"]) or {}, observed["lock"], whole)
    own, before = own_release(wanted, found), todo["predecessor"]
    runs = bool(own and own["running"])
    misplaced = misplacement(model, own, gateway) if runs else None
    if todo["action"] == "none":
        return dict(
            item,
            **todo,
            gpus=gpus,
            release=release_on(gpus, slot_of(model, own)),
            api=own["labels"].get(LABEL + "api"),
            profile=_known_profile(own),
            fetch=_NOTHING,
            swap=_strategy.NONE,
            problems=[misplaced.as_dict()] if misplaced else [],
        )

    def judge(these):
        share = share_said(wanted["env"], contract.share) or contract.share.default
        return _plan_memory.judge(model, checkpoint, these, share, max_length(wanted["env"]), contract)

    memory, problems, warnings = judge(gpus)
    swap, slot, in_the_way = _strategy.FIRST, "a", misplaced
    if before:
        before["slot"] = slot_of(model, before)
        slot = _other_slot(model, before["slot"]) if gateway else "a"
    if runs:
        slot = slot_of(model, own)
    if before and before["running"]:
        spare = _plan_memory.spare(model, observed)
        can = {"side_by_side": memory["crowd"], "other_gpu": spare["why"]}
        if runs:  # they do it already
            can = dict.fromkeys(can)
        wish = dict(model, strategy=rollout["strategy"] or model["strategy"])
        hosts = rollout["gateway_hosts"].get(model["name"], 0)
        swap, problem = _strategy.choose(wish, before, can, gateway, hosts, rollout["allow_downtime"])
        in_the_way = misplaced or problem
        if swap["strategy"] == "other_gpu" and spare["gpus"] and not runs:
            gpus = spare["gpus"]
            memory, problems, warnings = judge(gpus)
    problems += [in_the_way] if in_the_way else []
    wanted = release_on(gpus, slot)
    fetch = _fetch(model, wanted, observed, images, checkpoint, weights["selection"])
    return dict(
        item,
        **todo,
        gpus=gpus,
        runs=runs,
        release=wanted,
        api=own["labels"].get(LABEL + "api") if own else None,
        profile=_known_profile(own),
        fallback=_fallback(wanted, before),
        problems=checkpoint.get("problems", []) + [problem.as_dict() for problem in problems],
        warnings=checkpoint.get("warnings", []) + [problem.as_dict() for problem in warnings],
        fetch=fetch,
        engine=_engine(wanted, contract, observed, images[model["image"]]),
        listing=_listing(found, wanted, fetch),
        memory=memory,
        swap=swap,
        keyless=_least_right.keyless_profiles(
            model, images[model["image"]], found, proven(observed["ledger"].get(model["name"]) or {})
        ),
    )


def _begun(model, observed, found, mode_of):
    """What was observed, with the model on the GPUs on which its wanted release runs already beside the old one.

    So a run that was killed is finished where it began, though both hold GPUs now and the wish only says how many.
    """
    for one in found:
        these = [gpu for gpu in observed["gpus"] if gpu["uuid"] in one["gpus"]]
        if one["running"] and parse_wish(model["gpus"]).count == len(these) and mode_of(one, these):
            return dict(observed, assignments=dict(observed["assignments"], **{model["name"]: these}))
    return observed


def _other_slot(model, taken):
    """Where the next release goes behind a gateway: to the port that the present one has not."""
    return next(slot for slot in slots(model) if slot != taken)


_NOTHING = {"image_bytes": 0, "weights_bytes": 0}
_REFUSED = {
    "action": "refused",
    "reasons": [],
    "changes": [],
    "predecessor": None,
    "strays": [],
    "release": None,
    "api": None,
    "fallback": "",
    "fetch": {"image_bytes": None, "weights_bytes": None},
    "engine": {"do": "none", "why": "nothing is started"},
    "profile": None,
    "listing": None,
    "memory": None,
    "swap": _strategy.NONE,
    "event": "activated",
    "keyless": [],
    "runs": False,
}


def _fallback(wanted, before):
    kept = f"{wanted['container']} is stopped and kept for its log; "
    if before is None:
        return kept + "nothing served before, and nothing serves now."
    return kept + f"{before['container']} serves again."


def _snapshot(model, wanted, selection):
    """The name by which a host was asked for the snapshot of a release."""
    return f"{model['weights']['repo']}@{wanted['labels'][LABEL + 'commit']}{selection}"


def _fetch(model, wanted, observed, images, checkpoint, selection):
    image, there = images[model["image"]], observed["snapshots"].get(_snapshot(model, wanted, selection))
    return {
        # As it comes, compressed from a registry and as it is in a bundle.
        "image_bytes": 0 if model["image"] in observed["images"] else image.get("archive_bytes", image["bytes"]),
        "weights_bytes": 0 if there else checkpoint.get("bytes"),
    }


def _engine(wanted, contract, observed, image):
    if wanted["engine"] is None:
        return {"do": "none", "why": f"{contract.images}: no engine is built and kept"}
    if wanted["engine"] in observed["engines"].get(wanted["labels"][LABEL + "model"], []):
        return {"do": "reuse", "why": f"{wanted['engine']} is in the cache: same weights, image, GPUs and settings"}
    if wanted["engine"] in image.get("engines", ()):
        return {"do": "reuse", "why": f"{wanted['engine']} comes in the bundle: same weights, image, GPUs and settings"}
    return {"do": "build", "why": f"no {wanted['engine']} in the cache; if the profile is built here, {_BUILD_TIME}"}


def _listing(found, wanted, fetch):
    """With which mounts the profiles can be listed before anything is staged, dict of C(volumes), or None.

    The image must be there, and the model's key on the host, as it is where a release of it was made. Weights are
    mounted if they are there. The cache is not: NIM writes to it while listing.
    """
    if fetch["image_bytes"] != 0 or not found:
        return None
    weights_there = fetch["weights_bytes"] == 0
    # Images for any model list what they know of this very one.
    if not weights_there and wanted["engine"] is None:
        return None
    return {"volumes": [wanted["volumes"][0]] if weights_there else []}


def _known_profile(own):
    if own is None or not own["profile"]:
        return None
    reasons = ["the profile with which this release was started"]
    return {"id": own["profile"], "description": own["profile_name"], "reasons": reasons}


def previewed(items, listings):
    """The plan (list of plans()) with the profiles that were looked through beforehand.

    listings: the registered loop of nim_model_profiles over the names of models whose C(listing) is set.
    """
    found = {one["item"]: one for one in listings["results"]}
    return [
        _previewed(item, found[item["model"]["name"]]) if item["model"]["name"] in found else item for item in items
    ]


def _previewed(item, found):
    if found.get("selected"):
        return dict(item, profile={key: found["selected"][key] for key in ("id", "description", "reasons")})
    problem = found.get("problem")
    if problem is None:
        return item
    # Of a listing that failed nothing is known; of one that was read, that no profile can be used.
    kind = "problems" if found.get("refusal") else "warnings"
    return dict(item, **{kind: item[kind] + [problem]})
