# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""What a module tells while it works."""

from __future__ import annotations

import json
import os

import pytest

from ansible_collections.llmops.nim.plugins.module_utils import _aside


@pytest.fixture
def path(tmp_path):
    return tmp_path / "run" / "a.json"


def words(path):
    return json.loads(path.read_text())


def test_it_is_there_for_everybody_to_read_and_gone_at_the_end(path):
    before = os.umask(0o077)
    try:
        with _aside.Aside(str(path)) as aside:
            aside.tell("draining", 7, 10, _aside.REQUESTS)
            assert words(path) == {
                "what": "draining",
                "done": 7,
                "total": 10,
                "unit": "requests",
                "rate": None,
                "seconds_left": None,
            }
            assert (path.stat().st_mode & 0o777, path.parent.stat().st_mode & 0o777) == (0o644, 0o755)
    finally:
        os.umask(before)
    assert list(path.parent.iterdir()) == []


def test_it_is_told_at_most_once_a_second_while_it_is_the_same(path, monkeypatch):
    now = [100.0]
    monkeypatch.setattr(_aside.time, "monotonic", lambda: now[0])
    with _aside.Aside(str(path)) as aside:
        aside.tell("loading", 1)
        now[0] = 100.9
        aside.tell("loading", 2)
        assert words(path)["done"] == 1
        aside.tell("warming up", 3)
        assert words(path)["done"] == 3
        now[0] = 102
        aside.tell("warming up", 4)
        assert words(path)["done"] == 4


@pytest.mark.parametrize("place", [None, "/proc/nowhere/a.json"])
def test_where_nobody_can_be_told_the_work_goes_on(place):
    with _aside.Aside(place) as aside:
        aside.tell("loading")
