# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

import hashlib
import json
import os

import pytest

from ansible_collections.llmops.nim.plugins.module_utils import _drift, _lfs, _snapshot

IMAGE = "nvcr.io/nim/meta/llama@sha256:" + "a" * 64
OTHER = "nvcr.io/nim/meta/llama@sha256:" + "b" * 64
COMMIT = "c0ffee" + "0" * 34


def release(identity="v1", running=True, model="m", image=IMAGE, **changes):
    return dict(
        {
            "model": model,
            "release": identity,
            "container": f"nim-{model}-{identity}",
            "running": running,
            "status": "running" if running else "exited",
            "image": image,
            "commit": COMMIT,
            "labels": {},
            "settings": {"mounts": []},
        },
        **changes,
    )


def ledger(identity="v1", image=IMAGE):
    return {"m": {"current": {"id": identity, "image": image, "container": f"nim-m-{identity}"}, "previous": None}}


def kinds(releases, ledgers, images=None, weights=None):
    return [(one["release"], one["kind"]) for one in _drift.drift(releases, ledgers, images or {}, weights or {})]


def test_a_host_as_its_ledger_says_has_none():
    images = {"nim-m-v1": [IMAGE]}
    assert kinds([release(), release("v0", running=False)], ledger(), images, {"nim-m-v1": None}) == []
    assert kinds([], {}) == []
    assert kinds([release(running=False)], {}) == []


def test_what_no_run_has_recorded():
    assert kinds([release()], {}) == [("v1", "unrecorded")]
    assert kinds([release()], {"m": {"current": None, "previous": None}}) == [("v1", "unrecorded")]


def test_another_runs_than_the_current_one():
    found = _drift.drift([release("v2"), release("v1", running=False)], ledger("v1"), {}, {})
    assert [(one["release"], one["kind"]) for one in found] == [("v2", "not current"), ("v1", "not running")]
    assert "v1" in found[0]["what"]
    assert "exited" in found[1]["what"]
    assert found[1]["container"] == "nim-m-v1"


def test_the_current_one_is_gone():
    (found,) = _drift.drift([], ledger("v1"), {}, {})
    assert found == {
        "model": "m",
        "release": "v1",
        "container": "nim-m-v1",
        "kind": "not running",
        "what": "the ledger names it as current, but its container is gone",
    }


def test_several_run():
    assert kinds([release("v2"), release("v1")], ledger("v2")) == [("v1", "not current"), ("v2", "several")]
    assert kinds([release("v1"), release("v9", model="n")], {**ledger(), "n": ledger("v9")["m"]}) == []


def test_an_image_by_its_id_is_itself():
    identity = "sha256:" + "e" * 64
    assert kinds([release(image=identity)], ledger(image=identity), {"nim-m-v1": [identity]}) == []


def test_another_image():
    assert kinds([release()], ledger(), {"nim-m-v1": [OTHER]}) == [("v1", "image")]
    assert kinds([release(image=OTHER)], ledger(image=IMAGE), {"nim-m-v1": [OTHER]}) == [("v1", "image")]
    assert kinds([release()], ledger(), {"nim-m-v1": []}) == [("v1", "image")]
    assert kinds([release()], ledger(), {}) == []
    assert kinds([release("v0", running=False)], {}, {"nim-m-v0": [OTHER]}) == []


def test_altered_weights_matter_where_they_serve():
    assert kinds([release()], ledger(), {}, {"nim-m-v1": "altered"}) == [("v1", "weights")]
    assert kinds([release(), release("v0", running=False)], ledger(), {}, {"nim-m-v0": "altered"}) == []


@pytest.fixture
def spot(tmp_path):
    """A snapshot with one file, as it is published."""
    spot = _snapshot.place(str(tmp_path), "lab/x", COMMIT)
    os.makedirs(spot.path)
    path = os.path.join(spot.path, "config.json")
    with open(path, "wb") as stream:
        stream.write(b"{}")
    _lfs.seal(path)
    file = {"path": "config.json", "size": 2, "sha256": hashlib.sha256(b"{}").hexdigest(), "lfs": False}
    with open(spot.manifest, "w", encoding="utf-8") as stream:
        json.dump(_snapshot.manifest("lab/x", COMMIT, {}, [file]), stream)
    return spot


def test_weights_by_other_patterns_are_looked_at_too(spot):
    other = _snapshot.place(spot.store, "lab/x", COMMIT + "-0a1b2c3d")
    os.rename(spot.path, other.path)
    os.rename(spot.manifest, other.manifest)
    assert altered(other) is None
    assert "others than it was started with" in altered(other, "0" * 64)


def altered(spot, digest=None):
    digest = digest or _snapshot.read_manifest(spot.manifest)["digest"]
    mounts = [f"{spot.store}/cache:/opt/nim/.cache:rw", f"{spot.path}:/model:ro"]
    return _drift.altered(release(settings={"mounts": mounts}, labels={"llmops.nim.manifest": digest}))


def test_weights_as_published(spot):
    assert altered(spot) is None
    assert _drift.altered(release()) is None
    assert _drift.altered(release(commit=None, settings={"mounts": [f"{spot.path}:/model:ro"]})) is None


def test_weights_altered(spot):
    assert "others than it was started with" in altered(spot, "0" * 64)
    os.utime(os.path.join(spot.path, "config.json"))
    for name in "abcdef":
        with open(os.path.join(spot.path, name), "w", encoding="utf-8"):
            pass
    assert f"altered on disk: a, b, c, config.json, d and 2 more in {spot.path}" in altered(spot)


def test_bytes_altered_behind_the_seal_are_found_by_reading(spot):
    digest = _snapshot.read_manifest(spot.manifest)["digest"]
    path = os.path.join(spot.path, "config.json")
    os.chmod(path, 0o644)
    with open(path, "wb") as stream:
        stream.write(b"[]")
    _lfs.seal(path)  # as somebody would who hides it
    mounts = [f"{spot.path}:/model:ro"]
    one = release(settings={"mounts": mounts}, labels={"llmops.nim.manifest": digest})
    assert _drift.altered(one) is None
    assert f"altered on disk: config.json in {spot.path}" in _drift.altered(one, deep=True)


def test_weights_gone(spot):
    digest = _snapshot.read_manifest(spot.manifest)["digest"]
    os.rename(spot.manifest, spot.manifest + ".old")
    assert "manifest of its weights is gone" in altered(spot, digest)
    os.rename(spot.path, spot.path + ".old")
    assert "weights are gone" in altered(spot, digest)
