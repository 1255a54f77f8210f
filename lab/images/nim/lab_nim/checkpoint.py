# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""The checkpoint that is mounted into the container: where, is it whole, and how much memory does it want?"""

from __future__ import annotations

import json
from pathlib import Path

from .console import Refusal
from .contract import Generation
from .settings import Settings

HEADER_LIMIT = 100_000_000  # of a safetensors file, as the library has it


def mounted(settings: Settings, generation: Generation) -> Path | None:
    """The folder that the generation's variable names. None: an image for one model was given no weights.

    unverified: what the real container says where the variable or what has to stand beside it is missing.
    """
    variable, value = generation.weights, settings.weights(generation.weights)
    if not value:
        if generation.model_specific:
            return None
        raise Refusal(f"ValueError: {variable} is not set. This NIM serves any model, and has to be told which.")
    if "://" in value:
        raise Refusal(f"The lab's NIM fetches no weights: mount them, and let {variable} be their absolute path.")
    for switch, wanted in generation.weights_need.items():
        if settings.switches.get(switch) != wanted:
            needed = " and ".join(f"{name}={value}" for name, value in generation.weights_need.items())
            raise Refusal(
                f"ValueError: {variable} is set, but TensorRT-LLM's PyTorch back end, the default of this version, "
                f"does not support fine-tuned models. Set {needed}."
            )
    if not value.startswith("/"):
        raise _not_a_checkpoint(value)
    return Path(value)


def read_config(folder: Path) -> dict:
    config = folder / "config.json"
    if not config.is_file():  # also where it is a link to something that was not mounted
        raise _not_a_checkpoint(folder)
    return json.loads(config.read_text(encoding="utf-8"))


def _not_a_checkpoint(folder: Path | str) -> Refusal:
    return Refusal(
        f"ValueError: Invalid repository ID or local directory specified: {folder}. "
        "Missing HuggingFace configuration file named config.json."
    )


def check(folder: Path) -> dict:
    """Its config.json. Refuses what the real container is known to stumble over, in the words it has for it."""
    config = read_config(folder)
    for shard in shards(folder):
        if not shard.is_file():
            raise Refusal(f"FileNotFoundError: No such file or directory: {shard}")
        with shard.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
        if length > HEADER_LIMIT:  # a git-lfs pointer is text, which read as a number is huge
            raise Refusal("safetensors_rust.SafetensorError: Error while deserializing header: HeaderTooLarge")
        if 8 + length > shard.stat().st_size:
            raise Refusal("safetensors_rust.SafetensorError: Error while deserializing header: InvalidHeaderLength")
    return config


def shards(folder: Path) -> list[Path]:
    index = folder / "model.safetensors.index.json"
    if not index.is_file():
        return [folder / "model.safetensors"]
    return [folder / name for name in sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))]


def bytes_in_memory(config: dict) -> int:
    """Of a Llama's weights, two bytes each."""
    hidden, heads = config["hidden_size"], config["num_attention_heads"]
    kv_heads, head = _kv_heads(config)
    attention = hidden * head * (2 * heads + 2 * kv_heads)
    layer = attention + 3 * hidden * config["intermediate_size"] + 2 * hidden
    embeddings = config["vocab_size"] * hidden * (1 if config.get("tie_word_embeddings") else 2)
    return 2 * (embeddings + config["num_hidden_layers"] * layer + hidden)


def kv_bytes_per_token(config: dict) -> int:
    """Of a Llama's KV cache: a key and a value a layer, two bytes a number."""
    kv_heads, head = _kv_heads(config)
    return 2 * config["num_hidden_layers"] * kv_heads * head * 2


def _kv_heads(config: dict) -> tuple[int, int]:
    """How many, and how many numbers each has."""
    heads = config["num_attention_heads"]
    return config.get("num_key_value_heads") or heads, config.get("head_dim") or config["hidden_size"] // heads
