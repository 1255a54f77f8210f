# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""What is to become of the releases of a model on a host: which one is to serve, and which one if that fails.

Private to the collection: breaking changes at any time.
"""

from __future__ import annotations

from ansible_collections.llmops.nim.plugins.module_utils._changes import changes
from ansible_collections.llmops.nim.plugins.module_utils._health import url
from ansible_collections.llmops.nim.plugins.module_utils._models import LABEL, slots
from ansible_collections.llmops.nim.plugins.module_utils._problem import Problem


def own_release(wanted, found):
    """The wanted release (dict of _release.release()) as it is on the host, among found, or None."""
    return next((one for one in found if one["release"] == wanted["id"]), None)


def slot_of(model, one):
    """On which of the model's ports (_models.slots()) a release of the host answers; C(a) where it is none of them."""
    return next((slot for slot, port in slots(model).items() if port == one["port"]), "a")


def misplacement(model, one, gateway):
    """The Problem of a release of the host that answers on a port where nobody asks for the model any more, or None.

    Ports are published when a container is made, so it happens when the model's gateway or second_port is taken away.
    """
    ports = list(slots(model).values()) if gateway else [model["port"]]
    if one["port"] in ports:
        return None
    return Problem(
        f"Release {one['release']} of model {model['name']} answers on port {one['port']}, which is not the model's.",
        f"{one['container']}: port {one['port']}; model {model['name']}: " + " and ".join(map(str, ports)),
        "Set gateway and second_port as they were. Or remove the container, and deploy: nobody serves meanwhile.",
        "port_moved",
    )


def decide(wanted, found, ledger, lock=None, whole=True):
    """What is to be done so that the wanted release serves: dict of action, reasons, changes, predecessor and strays.

    wanted: dict of release(). found: the model's releases on the host, dicts as gpu_host_info returns them. ledger: of
    _ledger.read(), or empty. lock: the host's (dict of C(run)), or None; a run that was killed leaves it, and where the
    gateways send requests is not known then. whole: whether the wanted release's weights are on the disk as published;
    one that runs is proven again once they are mended, and goes on running.
    """
    own = own_release(wanted, found)
    before, strays = before_and_strays([one for one in found if one["release"] != wanted["id"]], ledger)
    serves = bool(before and before["running"])
    current = (ledger.get("current") or {}).get("id")
    if own and own["running"] and not serves and current == wanted["id"] and not lock and whole:
        action, reason, before = "none", f"release {wanted['id']} runs", None
    elif serves:
        action, reason = "replace", "another release runs"
    elif own and own["running"]:
        unsure = "no run has recorded that it was proven"
        if not whole:
            unsure = "its weights are gone, or were altered on disk"
        if lock:
            unsure = f"run {lock['run']} has not come to its end"
        action, reason = "start", f"release {wanted['id']} runs, and {unsure}"
    elif own:
        action, reason = "start", f"release {wanted['id']} is {own['status']}"
    else:
        action, reason = "create", "no release of this model runs here"
    differ = changes(wanted, before) if serves else []
    return {
        "action": action,
        "reasons": [f"{one['key']}: {one['from']} → {one['to']}" for one in differ] or [reason],
        "changes": differ,
        "predecessor": predecessor(before) if before else None,
        "strays": [one["container"] for one in strays],
    }


def proven(ledger):
    """The ids (list) of what a ledger (of _ledger.read(), or empty) calls current and previous, as far as there are."""
    return [ledger[key]["id"] for key in ("current", "previous") if ledger.get(key)]


def before_and_strays(others, ledger):
    """Of the model's other releases (list of gpu_host_info), the one that is to serve again on failure (or None), and
    what runs besides (list). It is the one that was proven last, if that runs or none does; else one that runs."""
    running = [one for one in others if one["running"]]
    known = [one for identity in proven(ledger) for one in running or others if one["release"] == identity]
    before = next(iter(known + running), None)
    return before, [one for one in running if one is not before]


def predecessor(old):
    """What is needed of a release of the host (dict of gpu_host_info) to have it serve again."""
    return {
        "id": old["release"],
        "container": old["container"],
        "health": url(old["port"], old["labels"].get(LABEL + "address", "0.0.0.0")),
        "port": old["port"],
        "running": old["running"],
        "served_name": old["served_name"],
        "api": old["labels"].get(LABEL + "api") or "completions",
    }
