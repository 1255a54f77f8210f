# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""Pointers, the store and proof."""

from __future__ import annotations

import hashlib
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.llmops.nim.plugins.module_utils import _lfs

OIDS = st.text("0123456789abcdef", min_size=64, max_size=64)
OID = "0" * 63 + "1"


def text(oid, size):
    return f"version https://git-lfs.github.com/spec/v1\noid sha256:{oid}\nsize {size}\n".encode()


@given(OIDS, st.integers(0, 10**15))
def test_a_pointer_is_read(oid, size):
    assert _lfs.parse_pointer(text(oid, size)) == (oid, size)


@given(OIDS, st.integers(0, 10**15), st.integers(0, 126), st.binary(max_size=3))
def test_what_is_not_quite_a_pointer_is_none(oid, size, at, other):
    good = text(oid, size)
    bad = good[:at] + other + good[at + 1 :]
    parsed = _lfs.parse_pointer(bad)
    assert parsed is None or text(*parsed) == bad or b"hawser" in bad


@given(st.binary(max_size=2000))
def test_other_blobs_are_none(blob):
    assert _lfs.parse_pointer(blob) is None


def test_a_pointer_with_an_extension_is_read_and_a_long_blob_is_not():
    blob = text(OID, 5).replace(b"oid", b"ext-0-foo sha256:" + b"1" * 64 + b"\noid")
    assert _lfs.parse_pointer(blob) == (OID, 5)
    assert _lfs.parse_pointer(blob + b"x" * 1024) is None


def put(store, data, oid=None):
    pointer = _lfs.Pointer(oid or hashlib.sha256(data).hexdigest(), len(data))
    path = _lfs.object_path(str(store), pointer.oid)
    os.makedirs(os.path.dirname(path))
    with open(path, "wb") as stream:
        stream.write(data)
    return pointer, path


def test_prove_seals_what_is_right_and_removes_what_is_wrong(tmp_path):
    good, good_path = put(tmp_path, b"good" * 1000)
    bad, bad_path = put(tmp_path, b"bad", OID)
    gone = _lfs.Pointer("f" * 64, 3)
    assert _lfs.prove(str(tmp_path), [good, bad, gone]) == {OID}
    assert _lfs.is_sealed(good_path, good.size)
    assert not os.path.exists(bad_path)
    assert _lfs.missing(str(tmp_path), [good, bad, gone]) == {bad, gone}


def test_a_sealed_object_is_not_read_again(tmp_path, monkeypatch):
    pointer, _path = put(tmp_path, b"data")
    assert _lfs.prove(str(tmp_path), [pointer]) == set()
    monkeypatch.setattr(_lfs, "sha256", lambda path: pytest.fail("read again"))
    assert _lfs.prove(str(tmp_path), [pointer]) == set()


def write(path):
    os.chmod(path, 0o644)
    with open(path, "r+b") as stream:
        stream.write(b"X")
    os.chmod(path, 0o444)


def swap(path):
    os.remove(path)
    os.symlink("/etc/hostname", path)


@pytest.mark.parametrize(
    "break_it", [write, swap, os.utime, lambda path: os.chmod(path, 0o644), lambda path: os.truncate(path, 1)]
)
def test_the_seal_breaks(tmp_path, break_it):
    pointer, path = put(tmp_path, b"data")
    _lfs.prove(str(tmp_path), [pointer])
    assert _lfs.is_sealed(path, pointer.size)
    break_it(path)
    assert not _lfs.is_sealed(path, pointer.size)


def test_an_object_of_another_size_is_wrong_without_reading(tmp_path):
    pointer, path = put(tmp_path, b"data")
    os.truncate(path, 3)
    assert _lfs.prove(str(tmp_path), [pointer]) == {pointer.oid}


def parts(directory, sizes):
    for name, size in sizes.items():
        (directory / name).write_bytes(b"x" * size)


def test_the_largest_part_is_adopted(tmp_path):
    pointer = _lfs.Pointer(OID, 100)
    parts(tmp_path, {OID + "123": 60, OID + ".part": 20, OID + "456": 60, "e" * 64 + ".part": 5})
    assert _lfs.incomplete(str(tmp_path), [pointer]) == {OID: 60}
    _lfs.adopt(str(tmp_path), [pointer])
    assert {path.name: path.stat().st_size for path in tmp_path.iterdir()} == {OID + ".part": 60, "e" * 64 + ".part": 5}


def test_the_part_of_an_older_git_lfs_keeps_its_name(tmp_path):
    parts(tmp_path, {OID + ".tmp": 60})
    _lfs.adopt(str(tmp_path), [_lfs.Pointer(OID, 100)])
    assert os.listdir(str(tmp_path)) == [OID + ".tmp"]


def test_nothing_to_adopt(tmp_path):
    _lfs.adopt(str(tmp_path / "none"), [_lfs.Pointer(OID, 100)])
    _lfs.discard(str(tmp_path / "none"), {OID})
    parts(tmp_path, {OID + ".part": 100, "e" * 64 + ".part": 5})
    assert _lfs.incomplete(str(tmp_path), [_lfs.Pointer(OID, 100)]) == {}
    _lfs.discard(str(tmp_path), {OID})
    assert os.listdir(str(tmp_path)) == ["e" * 64 + ".part"]
