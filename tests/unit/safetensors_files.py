# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""Safetensors files for tests."""

from __future__ import annotations

import json

BYTES = {"U8": 1, "F8_E4M3": 1, "BF16": 2, "F16": 2, "F32": 4, "I32": 4}


def header(tensors):
    """The header (dict) of tensors: name -> (dtype, shape)."""
    at, entries = 0, {}
    for name, (dtype, shape) in tensors.items():
        size = BYTES[dtype]
        for length in shape:
            size *= length
        entries[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [at, at + size]}
        at += size
    return entries


def pack(entries, room=None):
    """A file (bytes) with the header entries (dict) and room bytes of zeros, or as many as the header wants."""
    text = json.dumps(entries).encode()
    if room is None:
        room = max((entry["data_offsets"][1] for name, entry in entries.items() if name != "__metadata__"), default=0)
    return len(text).to_bytes(8, "little") + text + bytes(room)


def file(tensors):
    """A whole file (bytes) of tensors: name -> (dtype, shape)."""
    return pack(header(tensors))
