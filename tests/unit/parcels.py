# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""For tests: parcels of a model made by hand, as another host might send them."""

from __future__ import annotations

import hashlib
import json

from ansible_collections.llmops.nim.plugins.module_utils import _snapshot
from ansible_collections.llmops.nim.plugins.module_utils._selection import Selection

REPO, COMMIT = "lab/model", "c" * 40


def weights(seed, size=5000):
    """A safetensors file of size bytes that depend on seed (int), with the tensors a and b."""
    room = size - 8 - 192
    places = {"a": [0, room - 2], "b": [room - 2, room]}
    header = {
        name: {"dtype": "U8", "shape": [end - at], "data_offsets": [at, end]} for name, (at, end) in places.items()
    }
    text = json.dumps(header).encode().ljust(192)
    return len(text).to_bytes(8, "little") + text + (bytes([seed % 251, seed // 251 % 251]) * size)[:room]


def model(extra=None, without=(), seeds=(1, 2)):
    """The files (path -> bytes) of a model of two shards."""
    names = [f"model-0000{n}-of-00002.safetensors" for n in (1, 2)]
    files = {
        "config.json": json.dumps({"architectures": ["LlamaForCausalLM"], "torch_dtype": "bfloat16"}).encode(),
        "tokenizer.json": b"{}",
        "tokenizer_config.json": b"{}",
        "model.safetensors.index.json": json.dumps({"weight_map": dict(zip("ab", names))}).encode(),
        **{name: weights(seed) for name, seed in zip(names, seeds)},
        **(extra or {}),
    }
    return {path: data for path, data in files.items() if path not in without}


def manifest(files, commit=COMMIT):
    """The manifest (dict) of files (path -> bytes); safetensors are LFS objects."""
    entries = [
        {
            "path": path,
            "size": len(data),
            "sha256": hashlib.sha256(data).hexdigest(),
            "lfs": path.endswith(".safetensors"),
        }
        for path, data in files.items()
    ]
    return {**_snapshot.manifest(REPO, commit, Selection().as_dict(), entries), "checkpoint": {}}


def write(directory, files, document=None):
    """Make a parcel in directory (Path) of files (path -> bytes), with the manifest given or theirs; the manifest."""
    document = document or manifest(files)
    (directory / "files").mkdir(parents=True)
    (directory / "manifest.json").write_text(json.dumps(document))
    for data in files.values():
        (directory / "files" / hashlib.sha256(data).hexdigest()).write_bytes(data)
    return document
