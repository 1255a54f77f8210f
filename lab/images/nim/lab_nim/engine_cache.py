# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""Engines built here: <cache>/local_cache/<NIM_CUSTOM_MODEL_NAME>/trtllm_engine/ [observed].

An engine holds the weights it was built from. As far as is known the real container looks for an engine by its name
only, so a name that is reused for other weights goes on serving the old ones: it is so here too. Who built it is
not asked: a folder that was copied from another server is as good, where it can be read.
"""

from __future__ import annotations

import json
import shutil
import tempfile
import zipfile
from dataclasses import dataclass, replace
from pathlib import Path

from .console import Refusal
from .contract import Generation
from .gpus import Gpu
from .profiles import Profile, made_id

ENGINE, ABOUT = "rank0.engine", "config.json"


@dataclass(frozen=True)
class Engine:
    profile: Profile  # its name is the custom model's
    file: Path


def cached(cache: Path, generation: Generation) -> list[Engine]:
    """All engines in the cache that this version and model can read."""
    engines = []
    for about in sorted(cache.glob(f"local_cache/*/trtllm_engine/{ABOUT}")):
        if not about.with_name(ENGINE).is_file():
            continue
        facts = json.loads(about.read_text(encoding="utf-8"))
        source = next((profile for profile in generation.manifest if profile.id == facts["profile"]), None)
        if source and facts["version"] == generation.version:
            engines.append(_engine(about.parent, facts, source))
    return engines


def _engine(folder: Path, facts: dict, source: Profile) -> Engine:
    name = folder.parent.name
    # unverified: how the real id is made; it is new, has 64 digits, and lasts as long as the engine.
    id_ = made_id(facts["version"], facts["built_for"], source.id, name)
    profile = replace(source, id=id_, name=name, buildable=False, built_for=facts["built_for"])
    return Engine(profile, folder / ENGINE)


def build(weights: Path, file: Path) -> None:
    """The lab's engine: the checkpoint in one file."""
    with zipfile.ZipFile(file, "w", strict_timestamps=False) as archive:
        for path in sorted(weights.iterdir()):
            if path.is_file():
                archive.write(path, path.name)


def store(cache: Path, name: str, file: Path, generation: Generation, profile: Profile, gpu: Gpu) -> Engine:
    if name != Path(name).name or name in (".", ".."):
        raise Refusal(f"ValueError: NIM_CUSTOM_MODEL_NAME is no name for a folder: {name}")
    facts = {"version": generation.version, "profile": profile.id, "built_for": gpu.pci_id}
    folder = cache / "local_cache" / name / "trtllm_engine"
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".building-") as scratch:
        ready = Path(scratch) / folder.name  # renamed into place whole, so that a kill leaves no half engine
        ready.mkdir()
        shutil.copyfile(file, ready / ENGINE)
        (ready / ABOUT).write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")
        shutil.rmtree(folder, ignore_errors=True)
        ready.rename(folder)
    return _engine(folder, facts, profile)


def unpack(file: Path, target: Path) -> Path:
    with zipfile.ZipFile(file) as archive:
        archive.extractall(target)
    return target
