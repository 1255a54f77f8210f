# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""How often, and after which pauses, it is asked again."""

from __future__ import annotations

import subprocess
import sys
import threading

from ansible_collections.llmops.nim.plugins.module_utils import _patience
from ansible_collections.llmops.nim.plugins.module_utils._problem import Problem


def persist(monkeypatch, codes, sizes, retries, asked=None):
    """The pauses that persist makes with these outcomes (codes, None for success) and bytes after each.

    asked: how long the hub wants to be left alone.
    """
    outcomes, progress, pauses = iter(codes), iter(sizes), []
    monkeypatch.setattr(_patience.time, "sleep", pauses.append)
    problem = _patience.persist(
        lambda: (lambda code: code and Problem("", code=code))(next(outcomes)),
        lambda: next(progress),
        retries,
        lambda: asked,
    )
    return problem and problem.code, pauses


def test_persist(monkeypatch):
    assert persist(monkeypatch, [None], [0], 3) == (None, [])
    assert persist(monkeypatch, ["no_access"], [0], 3) == ("no_access", [])
    assert persist(monkeypatch, ["hub_busy"] * 4, [0] * 5, 3) == ("hub_busy", [1, 4, 16])
    assert persist(monkeypatch, ["hub_busy", None], [0, 0], 0) == ("hub_busy", [])
    # As long as bytes come it goes on.
    assert persist(monkeypatch, ["hub_unreachable"] * 6 + [None], range(9), 1) == (None, [1] * 6)
    assert persist(monkeypatch, ["hub_busy"] * 6 + [None], [0] * 9, 9) == (None, [1, 4, 16, 60, 60, 60])


def test_a_hub_is_left_alone_as_long_as_it_asks(monkeypatch):
    assert persist(monkeypatch, ["hub_busy"] * 3 + [None], [0] * 9, 3, asked=10) == (None, [10, 10, 16])
    assert persist(monkeypatch, ["hub_error", None], [0] * 9, 3, asked=900) == (None, [900])
    assert persist(monkeypatch, ["hub_error"], [0] * 9, 3, asked=901) == ("hub_error", [])
    assert persist(monkeypatch, ["hub_unreachable", None], [0] * 9, 3, asked=901) == (None, [1])


def test_a_program_that_does_nothing_is_ended(monkeypatch):
    monkeypatch.setattr(_patience, "STALLED", 0.2)
    program = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    _patience.end_when_stalled(lambda: 7)(program)
    assert program.wait(timeout=60) == -15
    program.stdin.close()


def test_a_program_that_makes_progress_may_last(monkeypatch):
    monkeypatch.setattr(_patience, "STALLED", 0.2)
    asked, often = [], threading.Event()

    def progress():
        asked.append(1)
        if len(asked) > 5:
            often.set()
        return len(asked)

    program = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    _patience.end_when_stalled(progress)(program)
    assert often.wait(60)
    program.communicate(b"\n")
    assert program.returncode == 0
