# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""What is to go into a bundle, and what wishes mean by one that is there: pure functions.

Private to the collection: breaking changes at any time.
"""

from __future__ import annotations

import re

from ansible_collections.llmops.nim.plugins.module_utils._problem import Problem, Refused

_COMMIT = re.compile(r"[0-9a-f]{40}\Z")


def wishes(plans, images, weights):
    """What a bundle is to hold of models (list of dict, as nim_bundle_pack takes them): all that a host serves.

    plans: of _plan.plans(). images: of nim_image_info. weights: result of nim_weights_info.
    """
    found = []
    for item in plans:
        model = item["model"]
        wish = dict(model["weights"])
        commit = weights["commits"][f"{wish['repo']}@{wish['revision']}"]
        found.append(
            {
                "name": model["name"],
                "image": images[model["image"]],
                "weights": dict(wish, commit=commit, snapshot=commit + weights["selection"]),
                "checkpoint": item["checkpoint"],
                "engine": item["release"]["engine"],
            }
        )
    return found


def resolved(document, references, weights, selection):
    """What wishes mean by a bundle's manifest: dict of images, as nim_image_info, and of commits, snapshots, selection
    and checkpoints, as nim_weights_info returns them, and of parcels.

    references: of images (iterable of str). weights: iterable of (repo, revision). selection: a Selection.
    Raises Refused where the bundle does not hold what is wished for.
    """
    images, commits, checkpoints, parcels, problems = {}, {}, {}, {}, []
    for reference in sorted(set(references)):
        one = document["images"].get(reference)
        if one:
            # The id is what an image has without a registry; the registry's digest goes on to name engines.
            images[reference] = {
                "reference": reference,
                "pinned": one["id"],
                "digest": one["digest"],
                "bytes": one["bytes"],
                "archive_bytes": document["files"][one["file"]]["size"],
                "nim_version": one.get("nim_version"),
                "nim_model": one.get("nim_model"),
                "engines": [cache["engine"] for cache in document["caches"].values() if cache.get("engine")],
            }
        else:
            problems.append(_not_held(f"image {reference}", "images", document["images"]))
    for repo, revision in sorted(set(weights)):
        key = f"{repo}@{revision}"
        one = snapshot_of(document, repo, revision)
        if one is None:
            problems.append(_not_held(f"weights {key}", "weights", document["weights"]))
        elif one["snapshot"] != one["commit"] + selection.suffix:
            problems.append(
                Problem(
                    f"The bundle holds other files of {key} than are asked for.",
                    f"its snapshot is {one['snapshot']}, the patterns ask for {one['commit']}{selection.suffix}",
                    "Set weights_include and weights_exclude as they were when the bundle was made, or make it anew.",
                    "bundle_selection",
                )
            )
        else:
            commits[key], checkpoints[key] = one["commit"], one.get("checkpoint") or {}
            parcels[key] = {"directory": one["directory"], "manifest_sha256": one["manifest_sha256"]}
    if problems:
        raise Refused(problems)
    snapshots = sorted({f"{key.partition('@')[0]}@{commit}{selection.suffix}" for key, commit in commits.items()})
    return {
        "images": images,
        "commits": commits,
        "snapshots": snapshots,
        "selection": selection.suffix,
        "checkpoints": checkpoints,
        "parcels": parcels,
    }


def snapshot_of(document, repo, revision):
    """The entry (dict) of a repository at a revision, or at a commit; None where there is none."""
    found = document["weights"].get(f"{repo}@{revision}")
    if found is None and _COMMIT.match(revision):
        same = (one for one in document["weights"].values() if (one["repo"], one["commit"]) == (repo, revision))
        found = next(same, None)
    return found


def _not_held(what, kind, there):
    return Problem(
        f"The bundle does not hold the {what}.",
        f"its {kind}: " + (", ".join(sorted(there)) or "none"),
        "Wish for what it holds (nim_models), or make a bundle with it where hub and registry are reached.",
        "bundle_other",
    )
