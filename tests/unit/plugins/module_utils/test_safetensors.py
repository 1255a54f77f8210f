# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""The headers of safetensors files."""

from __future__ import annotations

import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors_files import BYTES, file, header, pack

from ansible_collections.llmops.nim.plugins.module_utils import _safetensors
from ansible_collections.llmops.nim.plugins.module_utils._problem import Problem

TENSORS = {"a": ("BF16", (3, 2)), "b": ("F32", ()), "c": ("U8", (0, 7))}


def refusal(data, size=None, code="safetensors_header"):
    """The Problem with data (bytes), as text."""
    with pytest.raises(Problem) as caught:
        _safetensors.tensors("x.safetensors", len(data) if size is None else size, data)
    assert caught.value.code == code
    assert "x.safetensors" in caught.value.what
    assert caught.value.remedy
    return str(caught.value)


@given(
    st.dictionaries(
        st.text(max_size=8).filter(lambda name: name != "__metadata__"),
        st.tuples(st.sampled_from(sorted(BYTES)), st.lists(st.integers(0, 5), max_size=3)),
        max_size=6,
    )
)
def test_what_was_written_is_read(tensors):
    data = file(tensors)
    end = _safetensors.span("x", len(data), data[:8])
    found = _safetensors.tensors("x", len(data), data[:end])  # no byte of a tensor is needed
    assert {name: (tensor.dtype, list(tensor.shape)) for name, tensor in found.items()} == tensors
    assert sum(tensor.bytes for tensor in found.values()) == len(data) - end


def test_metadata_and_types_of_tomorrow():
    entries = {"__metadata__": {"format": "pt"}, "a": {"dtype": "F5_NEW", "shape": [9], "data_offsets": [0, 4]}}
    data = pack(entries)
    assert _safetensors.tensors("x", len(data), data) == {"a": ("F5_NEW", (9,), 4)}


def test_a_file_is_read_by_its_path(tmp_path):
    path = tmp_path / "model.safetensors"
    path.write_bytes(file(TENSORS))
    assert _safetensors.read(str(path), "x")["a"] == ("BF16", (3, 2), 12)


@pytest.mark.parametrize("length", [100_000_001, 2**60])
def test_an_absurd_length(length):
    text = refusal(length.to_bytes(8, "little") + b"{}", size=2**62)
    assert str(length) in text
    assert "100000000" in text


def test_the_longest_header_that_is_read():
    assert _safetensors.span("x", 2**40, (100_000_000).to_bytes(8, "little")) == 100_000_008


@given(st.binary(max_size=20))
def test_no_bytes_make_it_fail(head):
    with contextlib.suppress(Problem):
        _safetensors.tensors("x.safetensors", 30, head)


def test_short_files_and_pointers():
    assert "no complete" in refusal(b"\0")
    assert "no complete" in refusal(file(TENSORS)[:30])
    refusal(b"version https://git-lfs.github.com/spec/v1\n", code="pointer_instead_of_file")


@pytest.mark.parametrize("text", [b"[]", b"{", b"\xff\xff", b"[" * 50_000, b"null"])
def test_headers_that_are_no_json_objects(text):
    refusal(len(text).to_bytes(8, "little") + text)


def change(name, **values):
    entries = header(TENSORS)
    entries[name].update(values)
    return entries


@pytest.mark.parametrize(
    ("entries", "words"),
    [
        (change("a", shape=[3, 3]), "which is not the 12 bytes"),
        (change("a", dtype="F32"), "which is not the 12 bytes"),
        (change("a", dtype=7), "'a' lacks a proper dtype"),
        (change("a", shape=[3, -2]), "'a' lacks a proper dtype"),
        (change("a", shape=[3, 2.0]), "'a' lacks a proper dtype"),
        (change("a", shape=[True, 6]), "'a' lacks a proper dtype"),
        (change("a", data_offsets=[0]), "'a' lacks a proper dtype"),
        (change("b", data_offsets=[16, 12]), "-4 bytes"),
        (change("b", dtype="NEW", data_offsets=[16, 12]), "-4 bytes"),
        (change("b", data_offsets=[13, 17]), "begins at byte 13 of the data, not at 12"),
        (change("b", data_offsets=[11, 15]), "begins at byte 11 of the data, not at 12"),
        ({"a": []}, "'a' lacks a proper dtype"),
    ],
)
def test_tensors_that_do_not_fit(entries, words):
    assert words in refusal(pack(entries, 16))


@pytest.mark.parametrize("room", [15, 17])
def test_bytes_too_few_or_too_many(room):
    assert f"its tensors take 16 bytes, the file has {room}" in refusal(pack(header(TENSORS), room))


def test_json_numbers_beyond_reason():
    entries = json.loads('{"a": {"dtype": "U8", "shape": [1e400], "data_offsets": [0, 1]}}')
    refusal(pack(entries))
