# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""The header of a safetensors file: which tensors are in it, told from its first bytes.

Private to the collection: breaking changes at any time.

A file is the header's length (8 bytes, little endian), the header (a JSON object), and the tensors' bytes, which the
header places without a gap. What is refused here is what the library refuses; tensors themselves are never read.
"""

from __future__ import annotations

import collections
import json

from ansible_collections.llmops.nim.plugins.module_utils._problem import Problem

Tensor = collections.namedtuple("Tensor", "dtype shape bytes")

PREFIX = 8
HEADER_LIMIT = 100_000_000  # bytes; the library reads no longer header
_SOURCE = "https://github.com/huggingface/safetensors#format; NIM fails with: Error while deserializing header"
# Bits of one element.
_BITS = {
    "BOOL": 8, "U8": 8, "I8": 8, "U16": 16, "I16": 16, "U32": 32, "I32": 32, "U64": 64, "I64": 64,
    "F16": 16, "BF16": 16, "F32": 32, "F64": 64, "C64": 64,
    "F8_E4M3": 8, "F8_E5M2": 8, "F8_E8M0": 8, "F6_E2M3": 6, "F6_E3M2": 6, "F4": 4,
}  # fmt: skip


def span(path, size, head):
    """How many bytes at the start of the file make up its header, the length before it included (int).

    path: its name, for the messages; size: of the whole file, in bytes; head: its first bytes, 8 or as many as it has.
    Raises Problem.
    """
    if head.startswith(b"version "):
        raise Problem(
            f"{path} holds the text of a git-lfs pointer: it was uploaded in the place of the weights.",
            f"{size} bytes that begin with {head[:40]!r}",
            "Publish the real file: run git lfs pull where it was uploaded from, then upload it again.",
            "pointer_instead_of_file",
        )
    length = int.from_bytes(head[:PREFIX], "little")
    if len(head) >= PREFIX and length > HEADER_LIMIT:
        raise _absurd(
            path, f"its header would be {length} bytes long, the limit is {HEADER_LIMIT}; the file has {size}"
        )
    if len(head) < PREFIX or length + PREFIX > size:
        raise Problem(
            f"{path} is no complete safetensors file.",
            f"its header would be {length} bytes long, the file is {size}",
            "Publish the file again; the upload was cut or is of another format.",
            "safetensors_header",
            _SOURCE,
        )
    return PREFIX + length


def tensors(path, size, head):
    """The tensors (name -> Tensor of dtype, shape and bytes) of the file whose first bytes are head.

    head: as many bytes as span() says, or more. Raises Problem.
    """
    end = span(path, size, head)
    try:
        header = json.loads(head[PREFIX:end].decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise _absurd(path, f"the header is not JSON: {error}; it begins with {head[PREFIX:][:40]!r}") from None
    if not isinstance(header, dict):
        raise _absurd(path, f"the header is a {type(header).__name__}, not an object")
    header.pop("__metadata__", None)
    found = {name: _tensor(path, name, entry) for name, entry in header.items()}
    _check_places(path, size - end, header)
    return found


def read(path, name):
    """The tensors of the file at path, as tensors() gives them; name is what messages call it. Raises Problem."""
    with open(path, "rb") as stream:
        size = stream.seek(0, 2)
        stream.seek(0)
        head = stream.read(PREFIX)
        return tensors(name, size, head + stream.read(span(name, size, head) - PREFIX))


def _tensor(path, name, entry):
    entry = entry if isinstance(entry, dict) else {}
    dtype, shape, offsets = entry.get("dtype"), entry.get("shape"), entry.get("data_offsets")
    if not (isinstance(dtype, str) and _counts(shape) and _counts(offsets) and len(offsets) == 2):
        raise _absurd(path, f"tensor {name[:100]!r} lacks a proper dtype, shape or data_offsets")
    size = offsets[1] - offsets[0]
    elements = 1
    for length in shape:
        elements *= length
    # A type that came after this table is believed in its size.
    if size < 0 or (dtype in _BITS and elements * _BITS[dtype] != size * 8):
        raise _absurd(
            path, f"tensor {name[:100]!r} is {dtype} of shape {shape}, which is not the {size} bytes it is given"
        )
    return Tensor(dtype, tuple(shape), size)


def _counts(value):
    """Whether value is a list of whole numbers that are not negative."""
    return isinstance(value, list) and all(is_whole(number) and number >= 0 for number in value)


def is_whole(value):
    """Whether a value of JSON is a whole number; true and false are none."""
    return isinstance(value, int) and not isinstance(value, bool)


def _check_places(path, room, header):
    """Raise a Problem unless the tensors fill the room (bytes) after the header from its first to its last byte."""
    at = 0
    for begin, end, name in sorted((*entry["data_offsets"], name) for name, entry in header.items()):
        if begin != at:
            raise _absurd(path, f"tensor {name[:100]!r} begins at byte {begin} of the data, not at {at}")
        at = end
    if at != room:
        raise _absurd(path, f"its tensors take {at} bytes, the file has {room} for them")


def _absurd(path, evidence):
    return Problem(
        f"The header of {path} is not that of a safetensors file.",
        evidence,
        "Publish the file again: the upload was cut, or what wrote it was faulty.",
        "safetensors_header",
        _SOURCE,
    )
