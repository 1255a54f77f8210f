# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""The layout of snapshots, manifests, locks and trees."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.llmops.nim.plugins.module_utils import _clone, _lfs, _snapshot
from ansible_collections.llmops.nim.plugins.module_utils._problem import Problem

BLOB = "1" * 40
NAMES = st.text(st.characters(blacklist_categories=("Cs", "Cc"), blacklist_characters="/\\"), min_size=1, max_size=9)


def file(path, sha256="0" * 64, size=1, lfs=False):
    return {"path": path, "sha256": sha256, "size": size, "lfs": lfs}


def tree(*entries):
    return b"".join(f"{mode} blob {BLOB} {size:>7}\t".encode() + path + b"\0" for mode, size, path in entries)


def test_place():
    spot = _snapshot.place("/w", "lab/x", "c")
    assert spot == ("/w", "/w/lab--x", "/w/lab--x/c", "/w/lab--x/c.manifest.json", "/w/lab--x/git", "/w/lab--x/lock")


@given(st.lists(NAMES, min_size=1, max_size=4), st.integers(0, 10**12))
def test_plain_paths_are_taken(parts, size):
    parts = [part for part in parts if part not in (".", "..") and part.lower() != ".git"] or ["x"]
    path = "/".join(parts)
    assert _clone.parse_tree(tree(("100644", size, path.encode()))) == ([(path, BLOB, size)], [])


@pytest.mark.parametrize(
    ("mode", "path", "word"),
    [
        ("120000", b"x", "symbolic link"),
        ("160000", b"x", "submodule"),
        ("100644", b"../x", "leads out"),
        ("100644", b"a/../x", "leads out"),
        ("100644", b"/etc/passwd", "leads out"),
        ("100644", b"a//b", "leads out"),
        ("100644", b"a/.GIT/config", "leads out"),
        ("100644", b"a\nb", "control characters"),
        ("100644", b"a\x1b[0m", "control characters"),
        ("100644", b"a\\b", "backslashes"),
        ("100644", b"a\xff", "not UTF-8"),
    ],
)
def test_other_paths_are_refused(mode, path, word):
    size = "-" if mode == "160000" else "1"
    listing = f"{mode} blob {BLOB} {size}\t".encode() + path + b"\0"
    entries, [problem] = _clone.parse_tree(listing + tree(("100755", 1, b"-ok it is")))
    assert entries == [("-ok it is", BLOB, 1)]
    assert problem.code == "unsafe_path"
    assert word in problem.what
    assert "\x1b" not in problem.what


@given(
    st.lists(st.tuples(NAMES, st.text("0123456789abcdef", min_size=64, max_size=64)), unique_by=lambda item: item[0])
)
def test_the_digest_does_not_depend_on_the_order(pairs):
    files = [file(*pair) for pair in pairs]
    assert _snapshot.digest(files) == _snapshot.digest(files[::-1])
    if files:
        other = [dict(files[0], sha256="g" * 64), *files[1:]]
        assert _snapshot.digest(other) != _snapshot.digest(files)


def test_the_manifest_is_read_back_only_when_it_is_whole(tmp_path):
    path = tmp_path / "m.json"
    assert _snapshot.read_manifest(str(path)) is None
    document = _snapshot.manifest("lab/x", "c", {}, [file("b", size=2), file("a", size=3)])
    _snapshot.judge(document, {"dtype": None}, [Problem("doubtful", code="doubt")])
    assert document["bytes_total"] == 5
    text = json.dumps(document)
    path.write_text(text)
    assert _snapshot.read_manifest(str(path)) == document
    for broken in (
        text[:-5],
        text.replace('"path": "a"', '"path": "c"'),
        "[]",
        "{}",
        text.replace('"format": 1', '"format": 2'),
    ):
        path.write_text(broken)
        assert _snapshot.read_manifest(str(path)) is None


@pytest.fixture
def published(tmp_path):
    """A snapshot directory with the files a and d/b of one byte."""
    (tmp_path / "s" / "d").mkdir(parents=True)
    for name in ("a", "d/b"):
        (tmp_path / "s" / name).write_bytes(b"x")
        _lfs.seal(str(tmp_path / "s" / name))
    return tmp_path / "s"


def test_what_is_altered(published):
    files = [file("a"), file("d/b")]
    assert _snapshot.altered(str(published), files) == []
    assert _snapshot.altered(str(published), [file("a", size=2), file("d/b")]) == ["a"]
    assert _snapshot.altered(str(published), [file("a")]) == ["d/b"]
    os.utime(str(published / "a"))
    (published / "d" / "new").write_bytes(b"")
    (published / "link").symlink_to("d")
    assert _snapshot.altered(str(published), files) == ["a", "d/new", "link"]
    assert _snapshot.altered(str(published / "none"), files) == ["a", "d/b"]


def test_what_killed_runs_left_is_removed(tmp_path):
    partial = tmp_path / "c.partial-9" / "d"
    partial.mkdir(parents=True)
    (partial / "f").write_bytes(b"x")
    partial.chmod(0o555)
    partial.parent.chmod(0o555)
    (tmp_path / "c.manifest.json.partial-9").write_bytes(b"")
    (tmp_path / "git" / "refs").mkdir(parents=True)
    (tmp_path / "git" / "shallow.lock").write_bytes(b"")
    (tmp_path / "git" / "refs" / "x.lock").write_bytes(b"")
    (tmp_path / "c").mkdir()
    (tmp_path / "lock").write_bytes(b"")
    _snapshot.clean(str(tmp_path))
    assert sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*")) == [
        "c",
        "git",
        "git/refs",
        "lock",
    ]


def test_the_lock_is_held_by_one(tmp_path, monkeypatch):
    path, pauses = str(tmp_path / "lock"), []
    with _snapshot.locked(path, 0):
        with pytest.raises(Problem, match="Another run") as caught, _snapshot.locked(path, 0):
            pass
        assert f"process {os.getpid()}" in caught.value.evidence

        class Ended(Exception):
            pass

        def pause(seconds):
            pauses.append(seconds)
            raise Ended

        monkeypatch.setattr(_snapshot.time, "sleep", pause)
        with pytest.raises(Ended), _snapshot.locked(path, 60):
            pass
    assert len(pauses) == 1
    with _snapshot.locked(path, 0):
        pass


def test_a_lock_is_waited_for_as_long_as_its_holder_makes_progress(tmp_path, monkeypatch):
    path, now, signs = str(tmp_path / "lock"), [0], iter([0, 1, 2, 3, 3, 3, 3, 3, 3])
    monkeypatch.setattr(_snapshot.time, "monotonic", lambda: now[0])
    last = [next(signs)]

    def sign():
        return last[0]

    def pause(seconds):
        now[0] += 8
        last[0] = next(signs)

    monkeypatch.setattr(_snapshot.time, "sleep", pause)
    with _snapshot.locked(path, 10, sign), pytest.raises(Problem), _snapshot.locked(path, 10, sign):
        pass
    assert now == [40]  # progress until 24 s, and then more than 10 s without


def test_a_lock_that_was_removed_while_waiting_is_made_anew(tmp_path, monkeypatch):
    spot = _snapshot.place(str(tmp_path / "w"), "lab/x", "c")
    with contextlib.ExitStack() as first:
        first.enter_context(_snapshot.locked(spot.lock, 0))
        assert _snapshot.is_new(spot)

        def end_first(seconds):
            _snapshot.forget(spot)
            first.close()

        monkeypatch.setattr(_snapshot.time, "sleep", end_first)
        with _snapshot.locked(spot.lock, 60) as descriptor:
            assert os.path.samestat(os.fstat(descriptor), os.stat(spot.lock))


def test_a_lock_taken_on_a_removed_file_does_not_count(tmp_path):
    path = str(tmp_path / "lock")
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT)
    os.remove(path)
    assert _snapshot._taken(descriptor, path) is False
    with open(path, "wb"):
        assert _snapshot._taken(descriptor, path) is False
    os.close(descriptor)


def test_the_lock_is_held_by_a_child_that_outlives_its_parent(tmp_path):
    path = str(tmp_path / "lock")
    with _snapshot.locked(path, 0) as descriptor:
        child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, pass_fds=(descriptor,))
    with pytest.raises(Problem), _snapshot.locked(path, 0):
        pass
    child.communicate(b"\n")
    with _snapshot.locked(path, 0):
        pass


def test_a_small_file_that_is_another_is_not_published(tmp_path):
    spot = _snapshot.place(str(tmp_path), "lab/x", "c" * 40)
    os.mkdir(spot.home)
    sha256 = hashlib.sha256(b"{}").hexdigest()
    document = _snapshot.manifest("lab/x", "c" * 40, {}, [file("config.json", sha256, 2)])
    with pytest.raises(Problem, match="not what the manifest says"):
        _snapshot.publish(spot, document, lambda _file: [b"[", b"]"])
    assert not os.path.exists(spot.path)
    assert not os.path.exists(spot.manifest)
    _snapshot.clean(spot.home)
    assert _snapshot.publish(spot, document, lambda _file: [b"{", b"}"]) == []
    assert _snapshot.altered(spot.path, document["files"]) == []


def test_what_was_altered_behind_the_seal_is_found_by_reading(published):
    right = hashlib.sha256(b"x").hexdigest()
    assert _snapshot.rotten(str(published), [file("a", right), file("d/b", right)]) == []
    assert _snapshot.rotten(str(published), [file("a", right), file("d/b"), file("gone", right)]) == ["d/b", "gone"]
