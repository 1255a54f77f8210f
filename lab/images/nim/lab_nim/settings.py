# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""The container's environment and engine flags, as the contract and the lab define them."""

from __future__ import annotations

import os
import shlex
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from .gpus import Gpu

# What an engine takes of a GPU's whole memory if it isn't told otherwise [unverified for 1.x, documented for vLLM].
UTILIZATION = "0.9"


@dataclass(frozen=True)
class Settings:
    # NIM's own
    ngc_api_key: str
    cache: Path
    profile: str
    ft_model: str
    model_name: str
    model_path: str
    switches: Mapping[str, str]
    custom_model_name: str
    served_model_names: tuple[str, ...]
    port: int
    health_port: int
    max_model_len: int | None
    tensor_parallel: int | None
    pipeline_parallel: int | None
    utilization: float
    relax_memory: bool
    peft_source: str
    chat_template: str
    # the lab's (README.md)
    gpus_file: Path
    engine_build_seconds: float
    load_seconds: float
    token_milliseconds: float
    crash: str
    crash_after_seconds: float
    hang: str
    stop_exit_code: int

    def weights(self, variable: str) -> str:
        """What the variable says in which a generation takes its weights."""
        return {"NIM_FT_MODEL": self.ft_model, "NIM_MODEL_NAME": self.model_name, "NIM_MODEL_PATH": self.model_path}[
            variable
        ]

    def budget_mib(self, gpus: list[Gpu]) -> float:
        """What an engine would find on the fullest of the GPUs."""
        return min(self.utilization * gpu.memory_total_mib - gpu.memory_used_mib for gpu in gpus)


def read(
    environ: Mapping[str, str] = os.environ, known: Collection[str] = (), arguments: Sequence[str] = ()
) -> Settings:
    """known: the only NIM_* variables that have an effect; empty: all have. arguments: engine flags of the command
    line, which win over those in NIM_PASSTHROUGH_ARGS, which win over variables [documented]."""

    def get(name: str, default: str = "") -> str:
        ignored = known and name.startswith("NIM_") and name not in known
        return default if ignored else environ.get(name) or default  # an empty variable counts as unset

    flags = {**engine_flags(shlex.split(get("NIM_PASSTHROUGH_ARGS"))), **engine_flags(arguments)}

    def flag(name: str, otherwise: str) -> str:
        return " ".join(flags[name]) if name in flags else otherwise

    names = tuple(name.strip() for name in get("NIM_SERVED_MODEL_NAME").split(",") if name.strip())
    return Settings(
        ngc_api_key=get("NGC_API_KEY"),
        cache=Path(get("NIM_CACHE_PATH", "/opt/nim/.cache")),
        profile=get("NIM_MODEL_PROFILE"),
        ft_model=get("NIM_FT_MODEL"),
        model_name=get("NIM_MODEL_NAME"),
        model_path=get("NIM_MODEL_PATH"),
        switches={name: get(name) for name in ("NIM_USE_TRTLLM_LEGACY_BACKEND", "NIM_DISABLE_TRTLLM_PYTORCH_RT")},
        custom_model_name=get("NIM_CUSTOM_MODEL_NAME"),
        served_model_names=tuple(flags.get("--served-model-name", names)),
        port=int(get("NIM_SERVER_PORT", "8000")),
        health_port=int(get("NIM_HEALTH_PORT", "0")),
        max_model_len=int(flag("--max-model-len", get("NIM_MAX_MODEL_LEN", "0"))) or None,
        tensor_parallel=int(flag("--tensor-parallel-size", get("NIM_TENSOR_PARALLEL_SIZE", "0"))) or None,
        pipeline_parallel=int(flag("--pipeline-parallel-size", get("NIM_PIPELINE_PARALLEL_SIZE", "0"))) or None,
        utilization=float(flag("--gpu-memory-utilization", UTILIZATION)),
        relax_memory=get("NIM_RELAX_MEM_CONSTRAINTS") == "1",
        peft_source=get("NIM_PEFT_SOURCE"),
        chat_template=flag("--chat-template", get("NIM_CHAT_TEMPLATE")),
        gpus_file=Path(get("LAB_GPUS_FILE", "/run/nvidia-lab/gpus.json")),
        engine_build_seconds=float(get("LAB_ENGINE_BUILD_SECONDS", "3")),
        load_seconds=float(get("LAB_LOAD_SECONDS", "0")),
        token_milliseconds=float(get("LAB_TOKEN_MILLISECONDS", "0")),
        crash=get("LAB_CRASH"),
        crash_after_seconds=float(get("LAB_CRASH_AFTER_SECONDS", "5")),
        hang=get("LAB_HANG"),
        stop_exit_code=int(get("LAB_STOP_EXIT_CODE", "143")),
    )


def engine_flags(words: Sequence[str]) -> dict[str, list[str]]:
    """--name value …, --name=value: the values by name. Flags that the lab has no use for are read over."""
    flags: dict[str, list[str]] = {}
    values: list[str] = []  # of words before the first flag
    for word in words:
        if word.startswith("--"):
            name, equals, value = word.partition("=")
            values = flags[name.replace("_", "-")] = [value] if equals else []
        else:
            values.append(word)
    return flags
