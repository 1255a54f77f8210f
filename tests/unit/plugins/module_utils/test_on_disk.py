# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

import hashlib
import json
import os

import pytest

from ansible_collections.llmops.nim.plugins.module_utils import _lfs, _on_disk, _snapshot
from ansible_collections.llmops.nim.plugins.module_utils._problem import Problem

COMMIT = "c0ffee" + "0" * 34


def engine(cache, name, file="rank0.engine"):
    folder = cache / "local_cache" / name / "trtllm_engine"
    folder.mkdir(parents=True)
    if file:
        (folder / file).write_text("")


def test_engines(tmp_path):
    cache = tmp_path / "a[b]" / "cache"
    engine(cache, "two")
    (cache / "local_cache" / "two" / "trtllm_engine" / "rank1.engine").write_text("")
    engine(cache, "custom name: 1")
    engine(cache, "cut off", file=None)
    engine(cache, "other", file="config.json")
    engine(cache, "folder", file=None)
    (cache / "local_cache" / "folder" / "trtllm_engine" / "x.engine").mkdir()
    (cache / "ngc").mkdir()
    assert _on_disk.engines(str(cache)) == ["custom name: 1", "two"]


def test_no_engines(tmp_path):
    assert _on_disk.engines(str(tmp_path / "none")) == []
    (tmp_path / "local_cache").write_text("")
    assert _on_disk.engines(str(tmp_path)) == []


def test_parse_snapshot():
    assert _on_disk.parse_snapshot(f"lab/Llama-3.2-1B@{COMMIT}") == ("lab/Llama-3.2-1B", COMMIT)


@pytest.mark.parametrize(
    "text", ["", "lab/x", "lab/x@main", f"x@{COMMIT}", f"lab/x@{COMMIT}0", f"a/b/c@{COMMIT}", f"lab/x@{COMMIT}\n"]
)
def test_what_is_no_snapshot_is_refused(text):
    with pytest.raises(Problem) as raised:
        _on_disk.parse_snapshot(text)
    assert raised.value.code == "snapshots_invalid"
    assert repr(text) in raised.value.evidence


@pytest.fixture
def spot(tmp_path):
    """A snapshot with one file, as it is published."""
    spot = _snapshot.place(str(tmp_path), "lab/x", COMMIT)
    os.makedirs(spot.path)
    content = b"{}"
    path = os.path.join(spot.path, "config.json")
    with open(path, "wb") as stream:
        stream.write(content)
    _lfs.seal(path)
    file = {"path": "config.json", "size": 2, "sha256": hashlib.sha256(content).hexdigest(), "lfs": False}
    with open(spot.manifest, "w", encoding="utf-8") as stream:
        json.dump(_snapshot.manifest("lab/x", COMMIT, {}, [file]), stream)
    return spot


def published(spot):
    return _on_disk.is_published(spot.store, "lab/x", COMMIT)


def test_published(spot):
    assert published(spot)
    assert not _on_disk.is_published(spot.store, "lab/x", "d" * 40)
    assert not _on_disk.is_published(spot.store + "/none", "lab/x", COMMIT)
    assert not _on_disk.is_published(spot.manifest, "lab/x", COMMIT)  # a file, where a directory is wanted


def test_a_name_says_by_which_patterns_it_was_made(spot):
    assert _on_disk.parse_snapshot(f"lab/x@{COMMIT}-0a1b2c3d") == ("lab/x", f"{COMMIT}-0a1b2c3d")
    assert not _on_disk.is_published(spot.store, "lab/x", f"{COMMIT}-0a1b2c3d")


def test_only_manifest_and_directory_together_count(spot):
    os.rename(spot.path, spot.path + ".partial-1")
    assert not published(spot)
    os.rename(spot.path + ".partial-1", spot.path)
    assert published(spot)
    os.remove(spot.manifest)
    assert not published(spot)


def test_an_altered_snapshot_is_none(spot):
    with open(os.path.join(spot.path, "more"), "w", encoding="utf-8"):
        assert not published(spot)
