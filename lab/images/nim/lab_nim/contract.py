# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""What one NIM version says and does, read from generations/<version>.toml and .profiles."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from .profiles import Profile, parse

try:
    import tomllib
except ModuleNotFoundError:  # Python 3.10
    import tomli as tomllib

GENERATIONS = Path(__file__).parent / "generations"


@dataclass(frozen=True)
class Generation:
    version: str
    model: str
    title: str
    copyright: str
    legal: str
    free_gpu_used_percent: int
    gpu_line: str
    headings: dict[str, str]
    metadata: dict[str, str]
    gpu_devices: dict[str, list[str]]
    compute_capability: dict[str, float]
    api: dict[str, str]
    manifest: tuple[Profile, ...]


def load(version: str) -> Generation:
    text = (GENERATIONS / f"{version}.toml").read_text(encoding="utf-8")
    profiles = (GENERATIONS / f"{version}.profiles").read_text(encoding="utf-8")
    lines = [line.split() for line in profiles.splitlines() if re.match(r"[0-9a-f]{64} ", line)]
    return Generation(**tomllib.loads(text), manifest=tuple(parse(id_, name) for id_, name in lines))


def installed() -> Generation:
    """The generation this image was built to rehearse."""
    return load(os.environ["LAB_NIM_VERSION"])
