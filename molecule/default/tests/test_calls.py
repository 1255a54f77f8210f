"""What a deployment costs in module calls: a task more for every host is a choice, not an accident."""

from __future__ import annotations

import json
import sys
from collections import Counter
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "shared"))

from lab import ROOT

# They take as long as their bytes do.
TRANSFERS = {"llmops.nim.lfs_snapshot", "llmops.nim.nim_image", "llmops.nim.nim_transfers"}
# Once a run, by the control node: what tags and revisions mean.
ONCE = {"llmops.nim.nim_image_info": 1, "llmops.nim.nim_weights_info": 1}


@pytest.fixture(scope="module")
def runs():
    """The calls of each deployment since the servers were made bare: list of {host: {module: int}}."""
    lines = [json.loads(line) for line in (ROOT / ".lab" / "calls.jsonl").read_text().splitlines()]
    bare = max(number for number, line in enumerate(lines) if line["playbook"] == "bare")
    return [line["calls"] for line in lines[bare:] if line["playbook"] == "deploy"]


def test_a_host_in_sync_takes_one_call_and_the_fleet_two(runs):
    assert sum(map(Counter, runs[2].values()), Counter()) == Counter({"llmops.nim.gpu_host_info": 2, **ONCE})


def test_a_first_deployment_takes_few(runs):
    called = {module: times for module, times in runs[1]["gpu2"].items() if module not in TRANSFERS}
    assert sum(called.values()) <= 12, called
