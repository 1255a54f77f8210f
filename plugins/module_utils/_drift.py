# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""Drift: where a host is not as its ledger says.

Private to the collection: breaking changes at any time.
"""

from __future__ import annotations

import os

from ansible_collections.llmops.nim.plugins.module_utils import _host_docker, _snapshot
from ansible_collections.llmops.nim.plugins.module_utils._models import LABEL

# What a table says of each kind.
UNRECORDED, NOT_CURRENT, NOT_RUNNING, SEVERAL = "unrecorded", "not current", "not running", "several"
IMAGE, WEIGHTS = "image", "weights"


def drift(releases, ledgers, images, weights):
    """All drift on a host (list of dict of model, release, container, kind and what), by model.

    releases: list of dict as _host_docker.releases(). ledgers: dict of model to current and previous. images: dict of
    container to the names that its image has (list of str), without those whose image is not known. weights: dict of
    container to what is wrong with its weights (str).
    """
    found = []
    for model in sorted({one["model"] for one in releases} | set(ledgers)):
        of_model = [one for one in releases if one["model"] == model]
        current = (ledgers.get(model) or {}).get("current")
        found += _of_model(model, of_model, current, images, weights)
    return found


def _of_model(model, releases, current, images, weights):
    running = [one for one in releases if one["running"]]
    found = []
    for one in running:
        if not current:
            found.append(_entry(one, UNRECORDED, "it runs, and no run has recorded it: the model has no ledger"))
        elif one["release"] != current["id"]:
            found.append(_entry(one, NOT_CURRENT, f"it runs, but the ledger names {current['id']} as current"))
    if current and current["id"] not in [one["release"] for one in running]:
        stopped = next((one for one in releases if one["release"] == current["id"]), None)
        gone = {"model": model, "release": current["id"], "container": current.get("container")}
        how = f"its container is {stopped['status']}" if stopped else "its container is gone"
        found.append(_entry(stopped or gone, NOT_RUNNING, f"the ledger names it as current, but {how}"))
    for one in releases:
        is_current = bool(current) and one["release"] == current["id"]
        if not (one["running"] or is_current):
            continue
        wanted = current.get("image") if is_current else one["image"]
        names = images.get(one["container"])
        if wanted and names is not None and _host_docker.normal(wanted) not in map(_host_docker.normal, names):
            what = f"its image is {', '.join(names) or 'without a name'}, and not {wanted}"
            found.append(_entry(one, IMAGE, what))
        if weights.get(one["container"]):
            found.append(_entry(one, WEIGHTS, weights[one["container"]]))
    if len(running) > 1:
        names = ", ".join(sorted(str(one["release"]) for one in running))
        found += [_entry(one, SEVERAL, f"{len(running)} releases of the model run: {names}") for one in running[:1]]
    return found


def _entry(release, kind, what):
    return {
        "model": release["model"],
        "release": release["release"],
        "container": release["container"],
        "kind": kind,
        "what": what,
    }


def snapshot(release):
    """The path (str) of the snapshot that a release (dict as _host_docker.releases()) has mounted, or None."""
    sources = [mount.rsplit(":", 2)[0] for mount in release["settings"]["mounts"]]
    return next((one for one in sources if release["commit"] and os.path.basename(one)[:40] == release["commit"]), None)


def altered(release, deep=False):
    """What is wrong with the snapshot that a release (dict as _host_docker.releases()) has mounted (str), or None.

    Compares names, sizes, modes and modification times with what was published. deep: reads all files as well, and
    names each that is altered.
    """
    path = snapshot(release)
    if path is None:
        return None
    manifest = _snapshot.read_manifest(path + ".manifest.json")
    if not os.path.isdir(path):
        return f"its weights are gone: {path}"
    if manifest is None:
        return f"the manifest of its weights is gone or altered: {path}.manifest.json"
    published = release["labels"].get(LABEL + "manifest")
    if published and manifest["digest"] != published:
        return f"its weights are others than it was started with: manifest {manifest['digest']}, then {published}"
    wrong = set(_snapshot.altered(path, manifest["files"]))
    if deep:
        wrong.update(_snapshot.rotten(path, manifest["files"]))
    if wrong:
        shown = len(wrong) if deep else 5
        more = f" and {len(wrong) - shown} more" if len(wrong) > shown else ""
        return f"its weights were altered on disk: {', '.join(sorted(wrong)[:shown])}{more} in {path}"
    return None
