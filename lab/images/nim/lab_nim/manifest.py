# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""The profiles that a container has: its image's, or those made for the weights it was given."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace

from . import checkpoint, memory
from .contract import Generation
from .profiles import Profile, made_id
from .settings import Settings


def profiles(generation: Generation, settings: Settings, config: dict | None) -> list[Profile]:
    """config: the config.json of the mounted weights; only an image for any model looks at it."""
    if generation.model_specific:
        return list(generation.manifest)
    precision = {"bfloat16": "bf16", "float16": "fp16"}.get(config.get("torch_dtype"))
    if generation.weights == "NIM_MODEL_NAME":
        tp, pp = settings.tensor_parallel or 1, settings.pipeline_parallel or 1
        return [replace(profile, precision=precision, tp=tp, pp=pp) for profile in generation.manifest]
    tail = hashlib.sha256(json.dumps(config, sort_keys=True).encode()).hexdigest()
    return [_measured(profile, generation, settings, config, precision, tail) for profile in generation.manifest]


def _measured(
    profile: Profile, generation: Generation, settings: Settings, config: dict, precision: str | None, tail: str
) -> Profile:
    name = f"{profile.name}-{tail}"
    need = memory.Need(
        weights=checkpoint.bytes_in_memory(config) // profile.gpu_count,
        kv_per_token=max(1, checkpoint.kv_bytes_per_token(config) // profile.gpu_count),
        tokens=settings.max_model_len or config["max_position_embeddings"],
        overhead_mib=memory.OVERHEAD_MIB + (memory.LORA_MIB if profile.lora else 0),
    )
    return replace(profile, id=made_id(generation.version, name), name=name, precision=precision, need=need)
