# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""Removing snapshots and engines from a real disk, with real hard links."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.llmops.nim.plugins.module_utils import _lfs, _prune, _prune_disk, _snapshot


def write(path, content):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as stream:
        stream.write(content)
    _lfs.seal(path)


def publish(store, repo, number, large, linked=True):
    """A snapshot with files as in large (list of bytes) and one small file, as lfs_snapshot leaves it; its place."""
    spot = _snapshot.place(store, repo, f"{number:040x}")
    files = []
    for at, content in enumerate(large):
        oid, name = hashlib.sha256(content).hexdigest(), f"deep/model-{at}.safetensors"
        blob, target = _lfs.object_path(store, oid), os.path.join(spot.path, name)
        if not os.path.exists(blob):
            write(blob, content)
        os.makedirs(os.path.dirname(target), exist_ok=True)
        if linked:
            os.link(blob, target)
        else:
            write(target, content)
        files.append({"path": name, "size": len(content), "sha256": oid, "lfs": True})
    write(os.path.join(spot.path, "config.json"), b"{}")
    files.append({"path": "config.json", "size": 2, "sha256": hashlib.sha256(b"{}").hexdigest(), "lfs": False})
    with open(spot.manifest, "w", encoding="utf-8") as stream:
        json.dump(_snapshot.manifest(repo, f"{number:040x}", {}, files), stream)
    with open(spot.lock, "w", encoding="utf-8"):
        pass
    for directory in (os.path.join(spot.path, "deep"), spot.path):
        if os.path.isdir(directory):
            os.chmod(directory, 0o555)
    return spot


def is_whole(spot):
    found = _snapshot.read_manifest(spot.manifest)
    blobs = [_lfs.object_path(spot.store, file["sha256"]) for file in found["files"] if file["lfs"]]
    return (
        os.path.isdir(spot.path)
        and not _snapshot.altered(spot.path, found["files"])
        and all(map(os.path.exists, blobs))
    )


def disk_usage(store):
    """The bytes of all files beneath store, each inode once."""
    inodes = {}
    for directory, _subdirectories, names in os.walk(store):
        for name in names:
            status = os.lstat(os.path.join(directory, name))
            inodes[status.st_ino] = status.st_size
    return sum(inodes.values())


def remove(store, commits):
    """Remove the snapshots whose commits (numbers) these are; the bytes that were foretold."""
    found = _prune_disk.snapshots(store)
    go = [one for one in found if int(os.path.basename(one.path), 16) in commits]
    stay = [one for one in found if one not in go]
    freed, told, orphans = _prune_disk.Freed(), 0, _prune_disk.orphans(go, stay)
    assert len(set().union(*orphans)) == sum(map(len, orphans))
    for one, oids in zip(go, orphans):
        told += freed.bytes(_prune_disk.paths(store, one, oids))
        _prune_disk.remove_snapshot(store, one, oids)
    return told


SNAPSHOTS = st.lists(
    st.tuples(
        st.sampled_from(["lab/a", "lab/b"]),
        st.lists(st.integers(0, 4).map(lambda number: bytes([number]) * (100 + number)), max_size=3, unique=True),
        st.booleans(),
    ),
    min_size=1,
    max_size=5,
)


@settings(max_examples=30)
@given(SNAPSHOTS, st.sets(st.integers(0, 4)))
def test_what_stays_is_whole_and_the_bytes_are_as_foretold(layout, commits):
    with tempfile.TemporaryDirectory() as store:
        spots = [publish(store, repo, at, large, linked) for at, (repo, large, linked) in enumerate(layout)]
        before = disk_usage(store)
        told = remove(store, commits)
        assert before - disk_usage(store) == told
        for at, spot in enumerate(spots):
            assert (os.path.exists(spot.path), os.path.exists(spot.manifest)) == ((at not in commits,) * 2)
            assert at in commits or is_whole(spot)
        stored = {name for _d, _s, names in os.walk(os.path.join(store, "objects")) for name in names}
        needed = set().union(*map(_prune_disk.objects, _prune_disk.snapshots(store)))
        assert stored == needed
        assert remove(store, commits) == 0


def test_snapshots_are_found_with_their_names(tmp_path):
    store = str(tmp_path)
    publish(store, "lab/a--b", 1, [b"x"])
    broken = publish(store, "lab/c", 2, [])
    os.remove(broken.manifest)
    os.symlink(broken.home, tmp_path / "link")
    assert [(one.name, one.document is None) for one in _prune_disk.snapshots(store)] == [
        (f"lab/a--b@{1:040x}", False),
        (f"lab/c@{2:040x}", True),
    ]
    assert all(0 <= one.age < 60 for one in _prune_disk.snapshots(store))
    assert _prune_disk.snapshots(store + "/none") == []


def test_what_a_killed_run_left_is_finished(tmp_path):
    store = str(tmp_path)
    spot = publish(store, "lab/a", 1, [b"x" * 100])
    os.chmod(spot.path, 0o755)
    os.rename(spot.path, spot.path + ".partial-pruned")
    assert remove(store, {1}) > 200 - 1 - 100
    assert os.listdir(spot.home) == ["lock"]
    assert disk_usage(store) == 0


def test_objects_stay_where_nobody_knows_who_needs_them(tmp_path):
    store = str(tmp_path)
    kept = publish(store, "lab/a", 1, [b"x"])
    publish(store, "lab/a", 2, [b"y"])
    with open(kept.manifest, "w", encoding="utf-8") as stream:
        stream.write("{")
    remove(store, {2})
    assert os.path.exists(_lfs.object_path(store, hashlib.sha256(b"y").hexdigest()))


def test_nothing_goes_while_weights_are_fetched(tmp_path):
    spot = publish(str(tmp_path), "lab/a", 1, [])
    publish(str(tmp_path), "lab/b", 1, [])
    for dry in (True, False):
        with _prune_disk.still(spot.store, dry) as busy:
            assert busy is None
        with _snapshot.locked(spot.lock, 0), _prune_disk.still(spot.store, dry) as busy:
            assert "lab--a" in busy
    with _prune_disk.still(spot.store, False), _prune_disk.still(spot.store, True) as busy:
        assert busy
    with _prune_disk.still(str(tmp_path / "none"), False) as busy:
        assert busy is None
    assert not (tmp_path / "none").exists()


@pytest.fixture
def left(tmp_path):
    """What runs that were cut off have left: a snapshot on its way from host to host, and a bundle's files."""
    for name in ("fleet/lab--model@1", "bundle/images"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "file").write_text("left")
    (tmp_path / "fleet/lab--model@1/lock").write_text("")
    return tmp_path


def test_what_runs_have_left_is_found_and_goes(left):
    found = _prune_disk.leftovers(str(left))
    assert [(one.name, one.held) for one in found] == [("fleet/lab--model@1", False), ("bundle", False)]
    assert _prune.leftover_reason(found[0], grace=3600)
    for one in found:
        assert _prune.leftover_reason(one, grace=0) is None
        _prune_disk.remove_leftover(one)
    assert not list(left.iterdir())


def test_what_is_being_carried_stays(left):
    with _snapshot.locked(str(left / "fleet/lab--model@1/lock"), 0):
        assert _prune.leftover_reason(_prune_disk.leftovers(str(left))[0], grace=0) == "a run works on it"


@pytest.fixture
def cache(tmp_path):
    path = tmp_path / "m" / "cache"
    for name in ("m-1", "m-2"):
        write(str(path / "local_cache" / name / "trtllm_engine" / "rank0.engine"), b"engine")
    (path / "ngc").mkdir()
    return str(path)


def test_engines(cache):
    one, two = _prune_disk.engines("m", cache)
    assert (one.model, one.name) == ("m", "m-1")
    assert _prune_disk.Freed().bytes([one.path]) == 6
    _prune_disk.remove_engine(one)
    assert [other.name for other in _prune_disk.engines("m", cache)] == ["m-2"]
    assert os.path.isdir(os.path.join(cache, "ngc"))
    assert _prune_disk.engines("m", cache + "/none") == []


def test_an_engine_half_removed_is_never_taken_for_one(cache):
    one, _two = _prune_disk.engines("m", cache)
    going = os.path.join(cache, "local_cache", ".pruned-m-1")
    os.rename(one.path, going)
    left = next(other for other in _prune_disk.engines("m", cache) if _prune_disk.is_half_removed(other))
    assert left.path == going
    _prune_disk.remove_engine(left)
    assert not os.path.exists(going)


def test_a_cache_leads_nowhere_else(cache, tmp_path):
    os.makedirs(tmp_path / "precious" / "data")
    os.symlink(tmp_path / "precious", os.path.join(cache, "local_cache", "m-3"))
    assert [one.name for one in _prune_disk.engines("m", cache)] == ["m-1", "m-2"]
    other = tmp_path / "n" / "cache"
    other.mkdir(parents=True)
    os.symlink(tmp_path / "precious", other / "local_cache")
    assert _prune_disk.engines("n", str(other)) == []
