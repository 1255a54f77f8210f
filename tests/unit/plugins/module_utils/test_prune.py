# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""Which releases go; and over random histories, that nothing goes that a release which stays needs."""

from __future__ import annotations

import json
import pathlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.llmops.nim.plugins.module_utils import _ledger, _prune
from ansible_collections.llmops.nim.plugins.module_utils._host import Result
from ansible_collections.llmops.nim.plugins.module_utils._problem import Problem

FIXTURES = pathlib.Path(__file__).parents[2] / "fixtures" / "docker"
WEIGHTS = "/var/lib/nim/weights"


def commit(number):
    return f"{number:040x}"


def image(number):
    return f"nvcr.io/nim/meta/llama@sha256:{number:064x}"


def container(identity, status="exited", model="m", created=0, weights=1, kind=1, engine=1):
    """A container as _prune.containers() tells it; numbers stand for a commit, an image and an engine."""
    return {
        "id": f"{model}{identity}",
        "model": model,
        "release": identity,
        "container": f"nim-{model}-{identity}",
        "running": status == "running",
        "status": status,
        "created": f"2026-01-01T00:{created // 60:02}:{created % 60:02}.5Z",
        "image": image(kind),
        "image_id": f"id {kind}",
        "weights": "lab/x",
        "commit": commit(weights),
        "engine": f"{model}-{engine}",
        "sources": [_prune.snapshot_path(WEIGHTS, "lab/x", commit(weights)), f"/var/lib/nim/{model}/cache"],
        "log": None,
    }


def release_of(one):
    keys = ("container", "image", "weights", "commit", "engine")
    return dict({key: one[key] for key in keys}, id=one["release"])


def record(event, one, at=None):
    return {"at": at or one["created"][:19] + "Z", "event": event, "release": release_of(one)}


def decide(found, history, keep=3, asked=()):
    """The ids of what goes, and of what stays with the reason."""
    go, stay = _prune.releases(found, _ledger.state(history), history, keep, asked)
    return [one["release"] for one in go], {one["release"]: reason for one, reason in stay}


V = [container(f"v{number}", created=number, weights=number, kind=number, engine=number) for number in range(6)]


def test_the_last_to_serve_stay():
    found = [*V[:5], dict(V[5], running=True, status="running")]
    history = [record("activated", one) for one in V]
    go, stay = decide(found, history)
    assert go == ["v2", "v1", "v0"]
    assert set(stay) == {"v5", "v4", "v3"}
    assert stay["v5"] == "it runs"
    assert "the way back" in stay["v4"]
    assert stay["v3"] == "one of the last 3"
    assert decide(found, history, keep=1)[0] == ["v3", "v2", "v1", "v0"]
    assert decide(found, history, keep=6)[0] == []


def test_the_last_to_serve_is_not_the_last_that_was_made():
    history = [record("activated", V[0]), record("activated", V[1]), record("rolled_back", V[0])]
    assert decide([*V[:2]], history, keep=1) == (
        [],
        {"v0": "the ledger names it as current", "v1": "the way back: it served before the current one"},
    )
    history.append(record("activated", V[2]))
    assert decide([*V[:3]], history, keep=2)[0] == ["v1"]


def test_one_that_failed_goes_before_one_that_served():
    history = [record("activated", V[0]), record("activated", V[1]), record("failed", V[2]), record("activated", V[3])]
    assert decide([*V[:4]], history, keep=3)[0] == ["v2"]
    assert decide([*V[1:4]], history, keep=3)[0] == []


def test_what_is_staged_stays_beside():
    history = [record("activated", one) for one in V[:3]]
    staged = dict(V[4], status="created")
    go, stay = decide([*V[:3], staged], history, keep=3)
    assert (go, stay["v4"]) == ([], "staged, and not started yet")
    never_started = dict(V[0], status="created", release="old")
    assert decide([*V[:3], never_started], history, keep=3)[0] == ["old"]
    assert decide([staged], [], keep=1)[0] == []


def test_without_a_ledger_the_newest_stay():
    assert decide([*V[:4], dict(V[4], running=True)], [], keep=2)[0] == ["v2", "v1", "v0"]


def test_what_is_asked_for_goes_and_nothing_else():
    history = [record("activated", one) for one in V[:4]]
    go, stay = decide([*V[:4]], history, keep=3, asked=["v0"])
    assert go == ["v0"]
    assert stay["v1"] == "not asked for"


@pytest.mark.parametrize("asked", ["v1", "v2", "v3"])
def test_what_is_in_use_is_refused(asked):
    history = [record("activated", one) for one in V[:3]]
    found = [*V[:3], dict(V[3], running=True)]
    with pytest.raises(Problem) as raised:
        decide(found, history, asked=["v0", asked])
    assert raised.value.code == "release_in_use"
    assert f"nim-m-{asked}" in raised.value.evidence
    assert "nim-m-v0" not in raised.value.evidence


def test_an_unknown_release_is_refused():
    _prune.check_asked(["v0"], V)
    with pytest.raises(Problem) as raised:
        _prune.check_asked(["v0", "v9"], V[:2])
    assert raised.value.code == "release_unknown"
    assert "v9" in raised.value.what
    assert "v0, v1" in raised.value.evidence


@pytest.mark.parametrize("keep", [0, -1])
def test_to_keep_none_is_refused(keep):
    with pytest.raises(Problem) as raised:
        _prune.check(keep)
    assert raised.value.code == "keep_invalid"
    _prune.check(1)


def test_containers_as_docker_tells_them():
    ours = json.loads((FIXTURES / "container.json").read_text())
    other = {"Id": "2" * 64, "Name": "/web", "Image": "sha256:1", "Config": {"Labels": None}, "State": {}}
    lines = "\n".join(map(json.dumps, [ours, other]))
    web, nim = sorted(_prune.containers(Result(0, lines, "")), key=lambda one: one["model"])
    assert (web["model"], web["sources"], web["engine"], web["log"]) == ("", [], None, None)
    assert nim["image_id"] == ours["Image"]
    assert nim["log"] == ours["LogPath"]
    assert nim["engine"] == "nim-1.15-fc0e861487bb"
    assert nim["sources"] == sorted(mount["Source"] for mount in ours["Mounts"])
    assert _prune.snapshot_path(WEIGHTS, nim["weights"], nim["commit"]) in nim["sources"]


def test_why_a_snapshot_stays():
    path = _prune.snapshot_path(WEIGHTS, "lab/x", commit(1))
    nothing = _prune.Needs(set(), set(), set())

    def reason(*needed, known=(), age=100):
        return _prune.snapshot_reason(path, age, _prune.Needs(set(needed), set(), set()), nothing._replace(
            snapshots=set(known)), 1000)  # fmt: skip

    assert "needs it" in reason(path)
    assert "needs it" in reason(WEIGHTS)
    assert "needs it" in reason(path + "/config.json")
    other = path + "-0a1b2c3d"  # of the same commit, by other patterns
    assert "needs it" in reason(other, other + "/config.json")
    assert "needs it" in _prune.snapshot_reason(other, 100, nothing._replace(snapshots={path}), nothing, 1000)
    assert _prune.snapshot_reason(other, 100, nothing, nothing._replace(snapshots={path}), 1000) is None
    assert "about to use it" in reason()
    assert reason(age=1000) is None
    assert reason(known=[path]) is None
    assert reason(path + "0", WEIGHTS + "/lab--y", known=[path]) is None


def test_why_an_image_stays():
    found = json.loads((FIXTURES / "image.json").read_text())
    (reference,) = found["RepoDigests"]
    nothing = _prune.Needs(set(), set(), set())
    user = dict(V[0], image_id=found["Id"])
    assert _prune.image_reason(reference, found, [user], nothing) == "used by nim-m-v0"
    assert "ledger" in _prune.image_reason(reference, found, [V[0]], nothing._replace(images={reference}))
    assert _prune.image_reason(reference, found, [V[0]], nothing) is None
    tagged = dict(found, RepoTags=["mine:1"])
    assert "also known as mine:1" in _prune.image_reason(reference, tagged, [V[0]], nothing)


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["activate", "fail", "stage", "roll back", "stop", "start", "remove", "forget"]),
        st.sampled_from("mn"),
        st.integers(1, 4),  # weights
        st.integers(1, 3),  # image
        st.integers(0, 20),  # which of those there are
    ),
    max_size=14,
)


class Host:
    """A host as a history of steps leaves it: containers, ledgers and what was ever put on its disk."""

    def __init__(self, steps):
        self.containers, self.histories, self.clock = [], {"m": [], "n": []}, 0
        self.disk = {"snapshots": set(), "engines": set(), "images": set()}
        for action, model, weights, kind, which in steps:
            self.clock += 1
            self.step(action, model, weights, kind, which)

    def write(self, event, one):
        at = f"2026-01-01T00:00:{self.clock:02}Z"
        self.histories[one["model"]].append(record(event, one, at))

    def make(self, model, weights, kind, status):
        identity = f"{weights}{kind}"
        self.containers = [one for one in self.containers if (one["model"], one["release"]) != (model, identity)]
        one = container(identity, status, model, self.clock, weights, kind, engine=f"{weights}{kind}")
        self.containers.append(one)
        self.disk["snapshots"].add(_prune.snapshot_path(WEIGHTS, "lab/x", one["commit"]))
        self.disk["engines"].add((model, one["engine"]))
        self.disk["images"].add(one["image"])
        return one

    def serve(self, one, event):
        for other in self.containers:
            if other["model"] == one["model"] and other["running"]:
                other.update(running=False, status="exited")
        one.update(running=True, status="running")
        self.write(event, one)

    def step(self, action, model, weights, kind, which):
        of_model = [one for one in self.containers if one["model"] == model]
        chosen = of_model[which % len(of_model)] if of_model else None
        if action == "activate":
            self.serve(self.make(model, weights, kind, "exited"), "activated")
        elif action == "fail":
            self.write("failed", self.make(model, weights, kind, "exited"))
        elif action == "stage":
            self.make(model, weights, kind, "created")
        elif chosen and action == "roll back":
            self.serve(chosen, "rolled_back")
        elif chosen and action in ("stop", "start"):
            chosen.update(running=action == "start", status="running" if action == "start" else "exited")
        elif chosen and action == "remove":
            self.containers.remove(chosen)
        elif action == "forget":
            self.histories[model] = []


def prune(host, keep, models, asked, grace, age):
    """All that nim_prune would decide: what goes and what stays of each kind."""
    ledgers = {model: _ledger.state(history) for model, history in host.histories.items()}
    known = _prune.used(host.containers, host.histories, WEIGHTS)
    go = []
    for model in models:
        of_model = [one for one in host.containers if one["model"] == model]
        go += _prune.releases(of_model, ledgers[model], host.histories[model], keep, asked)[0]
    stay = [one for one in host.containers if one not in go]
    needed = _prune.needs(stay, ledgers, WEIGHTS)
    images = {one: {"Id": f"id {int(one[-64:], 16)}", "RepoDigests": [one]} for one in host.disk["images"]}
    gone = {
        "snapshots": {
            one for one in host.disk["snapshots"] if not _prune.snapshot_reason(one, age, needed, known, grace)
        },
        "engines": {
            one
            for one in host.disk["engines"]
            if one[0] in models and not _prune.engine_reason(*one, age, needed, known, grace)
        },
        "images": {one for one, found in images.items() if not _prune.image_reason(one, found, stay, needed)},
    }
    return go, stay, ledgers, gone


@given(STEPS, st.integers(1, 4), st.sampled_from([["m"], ["n"], ["m", "n"]]), st.integers(0, 2))
def test_every_release_that_stays_can_be_started(steps, keep, models, age):
    host = Host(steps)
    go, stay, ledgers, gone = prune(host, keep, models, (), 1, age)
    bootable = [(one["model"], release_of(one)) for one in stay]
    bootable += [(model, found[key]) for model, found in ledgers.items() for key in found if found[key]]
    for model, release in bootable:
        assert _prune.snapshot_path(WEIGHTS, release["weights"], release["commit"]) not in gone["snapshots"]
        assert (model, release["engine"]) not in gone["engines"]
        assert release["image"] not in gone["images"]


@given(STEPS, st.integers(1, 4), st.sampled_from([["m"], ["n"], ["m", "n"]]))
def test_what_must_stay_stays_and_the_rest_goes(steps, keep, models):
    host = Host(steps)
    go, stay, ledgers, gone = prune(host, keep, models, (), 0, 0)
    assert not [one for one in go if one["running"] or one["model"] not in models]
    for model in models:
        names = {(found or {}).get("id") for found in ledgers[model].values()}
        assert not [one for one in go if one["model"] == model and one["release"] in names]
        of_model = [one for one in stay if one["model"] == model]
        bound = [one for one in of_model if one["running"] or one["release"] in names or one["status"] == "created"]
        assert len(of_model) <= max(keep, len(bound)) + len([one for one in bound if one["status"] == "created"])
        assert len(of_model) >= min(keep, len([one for one in host.containers if one["model"] == model]))
    # Nothing is left that nobody needs.
    needed = _prune.needs(stay, ledgers, WEIGHTS)
    assert host.disk["snapshots"] - gone["snapshots"] <= needed.snapshots
    assert host.disk["images"] - gone["images"] <= needed.images
    assert {one for one in host.disk["engines"] - gone["engines"] if one[0] in models} <= needed.engines


@given(STEPS, st.integers(1, 4))
def test_a_second_time_nothing_goes(steps, keep):
    host = Host(steps)
    _go, host.containers, _ledgers, gone = prune(host, keep, ["m", "n"], (), 0, 0)
    for kind, names in gone.items():
        host.disk[kind] -= names
    assert prune(host, keep, ["m", "n"], (), 0, 0)[0] == []
    assert not any(prune(host, keep, ["m", "n"], (), 0, 0)[3].values())
