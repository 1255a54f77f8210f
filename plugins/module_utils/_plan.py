# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""What is to be done on a host so that its models serve: from wishes and what was observed, asking nobody.

Private to the collection: breaking changes at any time.
"""

from __future__ import annotations

from ansible_collections.llmops.nim.plugins.module_utils import _plan_memory
from ansible_collections.llmops.nim.plugins.module_utils._changes import changes
from ansible_collections.llmops.nim.plugins.module_utils._contract import CONTRACTS
from ansible_collections.llmops.nim.plugins.module_utils._environment import max_length, share_said
from ansible_collections.llmops.nim.plugins.module_utils._health import url
from ansible_collections.llmops.nim.plugins.module_utils._models import LABEL
from ansible_collections.llmops.nim.plugins.module_utils._problem import Problem
from ansible_collections.llmops.nim.plugins.module_utils._release import release

# The engine of Llama 3.2 1B on an RTX 6000 Ada took 84 s; of 70B models minutes to tens of minutes are told (observed).
_BUILD_TIME = "84 s were observed for a model of 1B, tens of minutes for 70B"


def plans(observed, images, weights, weights_dir):
    """The plan of one host: a list of dict, one a model, in the order of nim_models.

    observed: result of gpu_host_info. images: of nim_image_info. weights: result of nim_weights_info. weights_dir:
    where snapshots lie on the host.

    Each has the keys
    action: C(none), C(create), C(start) (it is there and stopped), C(replace), or C(refused); reasons: list of str.
    model: of nim_models. release: of _release.release(), None when refused. api: chat or completions, None if unknown.
    predecessor: C(container) and C(health) of another release that runs, or None.
    fallback: str, what serves if it fails.
    changes: list of dict key, from, to: against the predecessor.
    fetch: dict image_bytes, weights_bytes: what is not on the host yet, 0 or None (unknown).
    engine: dict do (C(reuse), C(build) or C(none)) and why.
    profile: dict id, description and reasons; None until it is chosen.
    listing: dict of C(volumes), with which the image's profiles can be listed beforehand, or None if they cannot.
    checkpoint: of nim_weights_info, empty if not read. gpus, memory: of _plan_memory.
    swap: dict strategy (C(none), C(first) or C(in_place)), why and downtime (str).
    problems, warnings: list of dict of Problem. What concerns the host as a whole stands with the first model.
    """
    found = []
    for model in observed["models"]:
        item = _plan(model, observed, images, weights, weights_dir)
        for kind, seen in (("problems", observed["problems"]), ("warnings", observed["warnings_found"])):
            concern = [one for one in seen if _concerns(one, model, first=not found)]
            item[kind] = concern + item[kind]
        found.append(item)
    return found


def _concerns(finding, model, first):
    return first if finding["model"] is None else finding["model"].split(", ")[0] == model["name"]


def _plan(model, observed, images, weights, weights_dir):
    key = f"{model['weights']['repo']}@{model['weights']['revision']}"
    checkpoint = weights["checkpoints"].get(key) or {}
    gpus = _plan_memory.gpus(model["name"], observed)
    item = dict(_REFUSED, model=model, gpus=gpus, checkpoint=checkpoint, problems=[], warnings=[])
    if not gpus:
        return item  # the host's problems say why
    try:
        wanted = release(model, images[model["image"]], weights["commits"][key], gpus, weights_dir)
    except Problem as problem:
        return dict(item, problems=[problem.as_dict()])

    contract = CONTRACTS[wanted["labels"][LABEL + "contract"]]
    found = [one for one in observed["releases"] if one["model"] == model["name"]]
    own = next((one for one in found if one["release"] == wanted["id"]), None)
    todo = decide(wanted, found)
    item.update(
        todo,
        release=wanted,
        api=own["labels"].get(LABEL + "api") if own else None,
        profile=_known_profile(own),
        fallback=_fallback(wanted, todo["predecessor"]),
    )
    if todo["action"] == "none":
        return dict(item, fetch=_NOTHING, swap=dict(_REFUSED["swap"], why="in sync"))

    share = share_said(wanted["env"], contract.share) or contract.share.default
    memory, problems, warnings = _plan_memory.judge(model, checkpoint, gpus, share, max_length(wanted["env"]), contract)
    fetch = _fetch(model, wanted, observed, images, checkpoint)
    return dict(
        item,
        problems=checkpoint.get("problems", []) + [problem.as_dict() for problem in problems],
        warnings=checkpoint.get("warnings", []) + [problem.as_dict() for problem in warnings],
        fetch=fetch,
        engine=_engine(wanted, contract, observed),
        listing=_listing(found, wanted, fetch),
        memory=memory,
        swap=_swap(todo, wanted, memory),
    )


_NOTHING = {"image_bytes": 0, "weights_bytes": 0}
_REFUSED = {
    "action": "refused",
    "reasons": [],
    "changes": [],
    "predecessor": None,
    "release": None,
    "api": None,
    "fallback": "",
    "fetch": {"image_bytes": None, "weights_bytes": None},
    "engine": {"do": "none", "why": "nothing is started"},
    "profile": None,
    "listing": None,
    "memory": None,
    "swap": {"strategy": "none", "why": "nothing is started", "downtime": "none"},
}


def decide(wanted, found):
    """What is to be done so that the wanted release serves: dict of action, reasons, changes and predecessor.

    wanted: dict of release(). found: the model's releases on the host, dicts as gpu_host_info returns them.
    """
    same = [one for one in found if one["release"] == wanted["id"]]
    running = [one for one in found if one["running"] and one["release"] != wanted["id"]]
    todo = {"changes": [], "predecessor": None}
    if same and same[0]["running"] and not running:
        return dict(todo, action="none", reasons=[f"release {wanted['id']} runs"])
    if running:
        differ = changes(wanted, running[0])
        return {
            "action": "replace",
            "reasons": [f"{one['key']}: {one['from']} → {one['to']}" for one in differ] or ["another release runs"],
            "changes": differ,
            "predecessor": _predecessor(running[0]),
        }
    if same:
        return dict(todo, action="start", reasons=[f"release {wanted['id']} is {same[0]['status']}"])
    return dict(todo, action="create", reasons=["no release of this model runs here"])


def _predecessor(old):
    address = old["labels"].get(LABEL + "address", "0.0.0.0")
    return {"container": old["container"], "health": url(old["port"], address)}


def _fallback(wanted, predecessor):
    if predecessor:
        return f"{wanted['container']} is stopped and kept for its log; {predecessor['container']} serves again."
    return f"{wanted['container']} is stopped and kept for its log; nothing served before, and nothing serves now."


def _fetch(model, wanted, observed, images, checkpoint):
    snapshot = f"{model['weights']['repo']}@{wanted['labels'][LABEL + 'commit']}"
    return {
        "image_bytes": 0 if model["image"] in observed["images"] else images[model["image"]]["bytes"],
        "weights_bytes": 0 if observed["snapshots"].get(snapshot) else checkpoint.get("bytes"),
    }


def _engine(wanted, contract, observed):
    if wanted["engine"] is None:
        return {"do": "none", "why": f"{contract.images}: no engine is built and kept"}
    if wanted["engine"] in observed["engines"].get(wanted["labels"][LABEL + "model"], []):
        return {"do": "reuse", "why": f"{wanted['engine']} is in the cache: same weights, image, GPUs and settings"}
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


def _swap(todo, wanted, memory):
    if todo["predecessor"] is None:
        return {"strategy": "first", "why": "nothing serves this model yet", "downtime": "none: nothing serves yet"}
    why = "the predecessor is stopped first"
    if memory["beside"] is not None:
        why += "; " + memory["beside"]["why"]
    until = f"from the stop of {todo['predecessor']['container']} until {wanted['container']} has loaded its model"
    return {"strategy": "in_place", "why": why, "downtime": until}


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
