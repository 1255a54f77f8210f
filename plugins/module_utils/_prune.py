# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""What of old releases may go, and why the rest stays: pure functions of what was seen on a host.

Private to the collection: breaking changes at any time.

A need is what a release that is kept cannot start without: its container, its image, its snapshot, its engine. What
no release needs goes, provided that it was ours: a container by its label, an image by a label or a ledger.
"""

from __future__ import annotations

import collections
import os
import re

from ansible_collections.llmops.nim.plugins.module_utils import _host_docker, _ledger
from ansible_collections.llmops.nim.plugins.module_utils._problem import Problem

# snapshots: of paths; engines: of (model, name); images: of ids, and of references with a digest as Docker prints them.
Needs = collections.namedtuple("Needs", "snapshots engines images")


def check(keep):
    """Raise a Problem unless keep (int) is a number of releases that leaves one to serve."""
    if keep < 1:
        raise Problem(
            "keep must be 1 or more: the release that serves is never pruned.",
            f"keep: {keep}",
            "Give how many releases of a model to keep, with the one that serves and the one before counted in.",
            "keep_invalid",
        )


def containers(result):
    """All containers (list of dict), ours or not, in the output (a Result) of C(docker inspect).

    As _host_docker.releases(), with image_id, log (a path or None), engine (a name or None) and sources (paths mounted
    from the host).
    """
    raw = {one.get("Id"): one for one in _host_docker.json_lines(result.out)}
    return [
        dict(
            one,
            image_id=raw[one["id"]].get("Image"),
            log=raw[one["id"]].get("LogPath") or None,
            engine=_ledger.engine_of(one),
            sources=[mount.rsplit(":", 2)[0] for mount in one["settings"]["mounts"]],
        )
        for one in _host_docker.releases(result)
    ]


def releases(found, ledger, history, keep, asked=()):
    """Which containers of one model go: (list of those that go, list of (one that stays, why)).

    found: the model's containers (dicts of containers()). ledger: dict of current and previous. history: its records.
    keep: how many to keep. asked: ids of releases that shall go, and nothing but them; a Problem where one cannot.
    """
    current, previous = ((ledger[key] or {}) for key in ("current", "previous"))
    served = {one["release"].get("id"): number for number, one in enumerate(history) if one["event"] in _ledger.SERVING}

    def worth(one):
        return served.get(one["release"], -1), one["created"]

    def bound(one):
        """Why the release must stay whatever else there is, or None."""
        if one["running"]:
            return "it runs"
        if one["release"] and one["release"] == current.get("id"):
            return "the ledger names it as current"
        if one["release"] and one["release"] == previous.get("id"):
            return "the way back: it served before the current one"
        return None

    if asked:
        refuse([one for one in found if one["release"] in asked], bound)
        return (
            [one for one in found if one["release"] in asked],
            [(one, bound(one) or "not asked for") for one in found if one["release"] not in asked],
        )
    go, stay = [], []
    room = keep - sum(1 for one in found if bound(one))
    for one in sorted(found, key=worth, reverse=True):
        reason = bound(one)
        if not reason and _is_staged(one, current):
            reason = "staged, and not started yet"
        elif not reason and room > 0:
            room -= 1
            reason = f"one of the last {keep}"
        if reason:
            stay.append((one, reason))
        else:
            go.append(one)
    return go, stay


def _is_staged(one, current):
    """Whether the container waits to be activated: made since the current release was, and never started."""
    return one["status"] == "created" and one["created"][:19] >= str(current.get("at") or "")[:19]


def refuse(chosen, bound):
    """Raise a Problem where one of the chosen (list of dicts of containers()) must stay, as bound(one) says."""
    held = [(one, bound(one)) for one in chosen if bound(one)]
    if held:
        raise Problem(
            "A release that is in use cannot be pruned.",
            "\n".join(f"{one['container']}: {reason}" for one, reason in held),
            "Activate another release first, or leave this one out.",
            "release_in_use",
        )


def check_asked(asked, found):
    """Raise a Problem where an id in asked is none of a release found (dicts of containers())."""
    known = sorted({one["release"] for one in found if one["release"]})
    unknown = sorted(set(asked) - set(known))
    if unknown:
        raise Problem(
            f"There is no release {', '.join(unknown)} on this host.",
            f"there are {', '.join(known) or 'none'}",
            "Give ids as playbooks/status.yml shows them.",
            "release_unknown",
        )


def needs(kept, ledgers, weights_dir):
    """What the host cannot do without (Needs).

    kept: all containers that stay (dicts of containers()), ours or not. ledgers: dict of model to current and previous,
    which stay startable even where somebody removed their containers.
    """
    snapshots, engines, images = set(), set(), set()
    for one in kept:
        snapshots.update(one["sources"])
        images.add(one["image"])
        _note(one["model"], one, weights_dir, snapshots, engines)
    for model, ledger in ledgers.items():
        for release in (ledger["current"], ledger["previous"]):
            if release:
                images.add(release.get("image"))
                _note(model, release, weights_dir, snapshots, engines)
    return Needs(snapshots, engines, {_host_docker.normal(image) for image in images if image})


def _note(model, release, weights_dir, snapshots, engines):
    if release.get("weights") and release.get("commit"):
        snapshots.add(snapshot_path(weights_dir, release["weights"], release["commit"]))
    if release.get("engine"):
        engines.add((model, release["engine"]))


def used(found, histories, weights_dir):
    """What any release is known to have used, now or ever (Needs).

    found: all containers before anything went (dicts of containers()). histories: dict of model to its records.
    """
    everything = Needs(set(), set(), set())
    now = [(one["model"], one) for one in found if one["model"]]
    ever = [(model, one["release"]) for model, history in histories.items() for one in history]
    for model, release in now + ever:
        _note(model, release, weights_dir, everything.snapshots, everything.engines)
        if release.get("image"):
            everything.images.add(_host_docker.normal(release["image"]))
    return everything


def snapshot_path(weights_dir, repository, commit):
    """Where a snapshot lies, a path."""
    return os.path.join(weights_dir, repository.replace("/", "--"), commit)


def snapshot_reason(path, age, needed, known, grace):
    """Why the snapshot at path must stay (str), or None.

    age: seconds (int) since it was published. needed, known: Needs of the host, now and ever. grace: seconds for which
    one that nobody has used yet waits for its release.
    """
    # By the commit, whatever was selected of it: a ledger does not say.
    path = _commit_path(path)
    if any(_overlap(path, _commit_path(one)) for one in needed.snapshots):
        return "a release that is kept needs it, or a container has it mounted"
    if path not in known.snapshots and age < grace:
        return "just published: a release may be about to use it"
    return None


def _commit_path(path):
    return re.sub(r"(/[0-9a-f]{40})-[0-9a-f]{8}(?=/|\Z)", r"\1", path.rstrip("/"))


def _overlap(one, other):
    one, other = (path.rstrip("/") + "/" for path in (one, other))
    return one.startswith(other) or other.startswith(one)


def engine_reason(model, name, age, needed, known, grace):
    """Why the engine called name of a model must stay (str), or None; as snapshot_reason()."""
    if (model, name) in needed.engines:
        return "a release that is kept uses it"
    if (model, name) not in known.engines and age < grace:
        return "just made: a release may be about to use it"
    return None


def leftover_reason(leftover, grace):
    """Why what an unfinished run has left (a Leftover) must stay (str), or None; grace: as for snapshot_reason()."""
    if leftover.held:
        return "a run works on it"
    return "just left: a run may go on with it" if leftover.age < grace else None


def image_reason(reference, image, kept, needed):
    """Why the image known by reference (one of Needs.images) must stay (str), or None.

    image: dict of C(docker image inspect). kept: all containers that stay (dicts of containers()).
    """
    users = [one["container"] for one in kept if one["image_id"] == image.get("Id")]
    if users:
        return "used by " + ", ".join(sorted(users))
    if reference in needed.images:
        return "a release that the ledger keeps needs it"
    others = [
        name
        for name in (image.get("RepoTags") or []) + (image.get("RepoDigests") or [])
        if _host_docker.normal(name) != reference
    ]
    return f"also known as {', '.join(sorted(others))}: somebody else's as well" if others else None
