"""Several commands at the same time, as make test runs them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

PROGRAM = Path(__file__).resolve().parents[1] / "side_by_side.py"


def side_by_side(folder, *commands):
    command = [sys.executable, PROGRAM, *commands]
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True, "timeout": 120}
    return subprocess.run(command, cwd=folder, **options)


def test_each_runs_beside_the_others(tmp_path):
    # Neither ends unless the other runs.
    there = "touch {0}; while [ ! -e {1} ]; do sleep 0.1; done; echo {0} is done"
    done = side_by_side(tmp_path, "one=" + there.format("a", "b"), "two=" + there.format("b", "a"))
    assert done.returncode == 0
    assert done.stdout.split("\n") == ["a is done", "", "two:", "b is done", ""]
    assert (tmp_path / "build/two.log").read_text() == "b is done\n"


def test_what_has_failed_is_told_last_and_by_name(tmp_path):
    commands = ["one=echo red >&2; exit 2", "two=echo x=1; false", "three=echo green"]
    done = side_by_side(tmp_path, *commands)
    assert done.returncode == 1
    assert done.stdout.split() == ["red", "three:", "green", "one:", "red", "two:", "x=1", "Failed:", "one,", "two"]
