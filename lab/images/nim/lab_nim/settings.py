# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""The container's environment, as the contract and the lab define it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Settings:
    # NIM's own
    ngc_api_key: str
    cache: Path
    profile: str
    ft_model: str
    custom_model_name: str
    served_model_names: tuple[str, ...]
    port: int
    max_model_len: int | None
    relax_memory: bool
    peft_source: str
    chat_template: str
    # the lab's (README.md)
    gpus_file: Path
    engine_build_seconds: float
    token_milliseconds: float
    crash: str
    crash_after_seconds: float
    hang: str
    stop_exit_code: int


def read(environ: Mapping[str, str] = os.environ) -> Settings:
    def get(name: str, default: str = "") -> str:
        return environ.get(name) or default  # an empty variable counts as unset

    return Settings(
        ngc_api_key=get("NGC_API_KEY"),
        cache=Path(get("NIM_CACHE_PATH", "/opt/nim/.cache")),
        profile=get("NIM_MODEL_PROFILE"),
        ft_model=get("NIM_FT_MODEL"),
        custom_model_name=get("NIM_CUSTOM_MODEL_NAME"),
        served_model_names=tuple(name.strip() for name in get("NIM_SERVED_MODEL_NAME").split(",") if name.strip()),
        port=int(get("NIM_SERVER_PORT", "8000")),
        max_model_len=int(get("NIM_MAX_MODEL_LEN", "0")) or None,
        relax_memory=get("NIM_RELAX_MEM_CONSTRAINTS") == "1",
        peft_source=get("NIM_PEFT_SOURCE"),
        chat_template=get("NIM_CHAT_TEMPLATE"),
        gpus_file=Path(get("LAB_GPUS_FILE", "/run/nvidia-lab/gpus.json")),
        engine_build_seconds=float(get("LAB_ENGINE_BUILD_SECONDS", "3")),
        token_milliseconds=float(get("LAB_TOKEN_MILLISECONDS", "0")),
        crash=get("LAB_CRASH"),
        crash_after_seconds=float(get("LAB_CRASH_AFTER_SECONDS", "5")),
        hang=get("LAB_HANG"),
        stop_exit_code=int(get("LAB_STOP_EXIT_CODE", "143")),
    )
