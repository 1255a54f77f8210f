# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""The fine-tuned checkpoint that is mounted into the container: is it whole, and how much memory does it want?"""

from __future__ import annotations

import json
from pathlib import Path

from .console import Refusal

HEADER_LIMIT = 100_000_000  # of a safetensors file, as the library has it


def check(folder: Path) -> dict:
    """Its config.json. Refuses what the real container is known to stumble over, in the words it has for it."""
    config = folder / "config.json"
    if not config.is_file():  # also where it is a link to something that was not mounted
        raise Refusal(
            f"ValueError: Invalid repository ID or local directory specified: {folder}. "
            "Missing HuggingFace configuration file named config.json."
        )
    for shard in shards(folder):
        if not shard.is_file():
            raise Refusal(f"FileNotFoundError: No such file or directory: {shard}")
        with shard.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
        if length > HEADER_LIMIT:  # a git-lfs pointer is text, which read as a number is huge
            raise Refusal("safetensors_rust.SafetensorError: Error while deserializing header: HeaderTooLarge")
        if 8 + length > shard.stat().st_size:
            raise Refusal("safetensors_rust.SafetensorError: Error while deserializing header: InvalidHeaderLength")
    return json.loads(config.read_text(encoding="utf-8"))


def shards(folder: Path) -> list[Path]:
    index = folder / "model.safetensors.index.json"
    if not index.is_file():
        return [folder / "model.safetensors"]
    return [folder / name for name in sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))]


def bytes_in_memory(config: dict) -> int:
    """Of a Llama's weights, two bytes each."""
    hidden, heads = config["hidden_size"], config["num_attention_heads"]
    head = config.get("head_dim") or hidden // heads
    kv_heads = config.get("num_key_value_heads") or heads
    attention = hidden * head * (2 * heads + 2 * kv_heads)
    layer = attention + 3 * hidden * config["intermediate_size"] + 2 * hidden
    embeddings = config["vocab_size"] * hidden * (1 if config.get("tie_word_embeddings") else 2)
    return 2 * (embeddings + config["num_hidden_layers"] * layer + hidden)
