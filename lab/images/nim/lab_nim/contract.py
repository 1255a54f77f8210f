# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""What one NIM version says and does, read from generations/: common.toml, <version>.toml over it, .profiles."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from .profiles import Profile, made_id, parse

try:
    import tomllib
except ModuleNotFoundError:  # Python 3.10
    import tomli as tomllib

GENERATIONS = Path(__file__).parent / "generations"


@dataclass(frozen=True)
class Generation:
    """The fields are explained in generations/common.toml."""

    version: str
    model: str
    title: str
    copyright: str
    legal: str
    banner_names_model: bool
    weights: str
    weights_need: dict[str, str]
    knows: list[str]
    knows_also: list[str]
    free_gpu_used_percent: int
    default_profile: bool
    pinned_low_memory: bool
    unknown_profile: dict[str, str]
    noise: dict[str, str]
    engine_port: int
    cache_group: int
    gpu_line: str
    headings: dict[str, str]
    layout: dict
    metadata: dict[str, str]
    gpu_devices: dict[str, list[str]]
    compute_capability: dict[str, float]
    health: dict[str, dict[str, str]]
    api: dict[str, str]
    manifest: tuple[Profile, ...]

    @property
    def variables(self) -> set[str]:
        """NIM's variables that have an effect."""
        return {*self.knows, *self.knows_also}

    @property
    def model_specific(self) -> bool:
        """Whether the manifest is the image's own, for one model, or is made for the weights it is given."""
        return self.weights == "NIM_FT_MODEL"


def load(version: str) -> Generation:
    fields = _toml("common")
    for name, value in _toml(version).items():
        fields[name] = {**fields[name], **value} if isinstance(fields.get(name), dict) else value
    return Generation(**fields, manifest=tuple(_manifest(version)))


def installed() -> Generation:
    """The generation that this image rehearses."""
    return load(os.environ["LAB_NIM_VERSION"])


def health(generation: Generation, state: str) -> dict[str, str]:
    """What /v1/health/… answers; state is live, ready or starting."""
    return {"object": "health.response", **generation.health[state]}


def _toml(name: str) -> dict:
    return tomllib.loads((GENERATIONS / f"{name}.toml").read_text(encoding="utf-8"))


def _manifest(version: str) -> list[Profile]:
    """A line is an id and a name, or a name whose id the lab makes."""
    profiles = []
    for line in (GENERATIONS / f"{version}.profiles").read_text(encoding="utf-8").splitlines():
        if not line.startswith("#"):
            *id_, name = line.split()
            profiles.append(parse(id_[0] if id_ else made_id(version, name), name))
    return profiles
