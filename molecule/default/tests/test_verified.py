"""What serves already is asked again by every deployment, and a wrong answer ends it red with nothing to be done."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "shared"))

from lab import model, playbook, recap

FRANCE = "What is the capital of France?"


def test_a_wrong_answer_of_a_server_in_sync_ends_red():
    done = playbook("deploy", limit="gpu2", nim_models=[model(verify=[{"prompt": FRANCE, "expect": "Rennes"}])])
    assert done.returncode != 0, done.stdout
    assert "gpu2: http://10.83.0.12:8000/v1 (model capitals) answers, but not what is expected" in done.stdout
    assert "expected /Rennes/" in done.stdout
    assert recap(done.stdout)["gpu2"]["changed"] == 0, done.stdout
