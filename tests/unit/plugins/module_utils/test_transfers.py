# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""Transfers by processes of their own, and what is told of them."""

from __future__ import annotations

import json
import os
import signal
import threading

import pytest

from ansible_collections.llmops.nim.plugins.module_utils import _progress, _transfers
from ansible_collections.llmops.nim.plugins.module_utils._problem import Problem

PROBLEM = Problem("The disk is full.", "0 bytes", "Make room.", "disk_full").as_dict()


@pytest.fixture
def place(tmp_path):
    return str(tmp_path / "transfers")


class Held:
    """Work that lasts until it is let go, by a pipe of its own."""

    def __init__(self, *outcome):
        self._reader, self._writer = os.pipe()
        self._outcome = outcome or ([], [])

    def __call__(self):
        os.close(self._writer)
        os.read(self._reader, 1)
        return self._outcome

    def let_go(self):
        os.close(self._writer)
        os.close(self._reader)


def ended(place, name):
    """What is known of a transfer once it is over."""
    for _look in range(600):
        heard = _transfers.hear(place, name)
        if heard["over"]:
            return heard
        threading.Event().wait(0.05)
    raise AssertionError("it never ended")


def test_one_is_under_way_until_its_work_is_done(place):
    work = Held([], ["copied"])
    assert _transfers.begin(place, "a", "image a", work) is True
    heard = _transfers.hear(place, "a")
    assert (heard["over"], heard["what"], heard["ended"], heard["problems"]) == (False, "image a", None, [])
    work.let_go()
    heard = ended(place, "a")
    assert heard["warnings"] == ["copied"]
    assert heard["begun"] <= heard["ended"]


def test_while_one_is_under_way_no_second_is_begun(place):
    work = Held()
    assert _transfers.begin(place, "a", "image a", work) is True
    assert _transfers.begin(place, "a", "image a", work) is False
    assert _transfers.begin(place, "b", "image b", lambda: ([], [])) is True
    work.let_go()
    ended(place, "a")
    assert _transfers.begin(place, "a", "image a", lambda: ([], [])) is True
    ended(place, "a")


def test_two_are_under_way_at_the_same_time(place):
    """Each ends only once the other has begun."""
    (first, to_first), (second, to_second) = os.pipe(), os.pipe()
    _transfers.begin(place, "a", "image", lambda: (os.write(to_second, b"x"), os.read(first, 1), ([], []))[2])
    _transfers.begin(place, "b", "weights", lambda: (os.write(to_first, b"x"), os.read(second, 1), ([], []))[2])
    assert ended(place, "a")["problems"] == ended(place, "b")["problems"] == []


def test_what_stands_in_its_way_is_told(place):
    _transfers.begin(place, "a", "image a", lambda: ([PROBLEM], []))
    assert ended(place, "a")["problems"] == [PROBLEM]


def test_one_that_breaks_down_says_where_without_its_secrets(place):
    def work():
        raise ValueError("for a reason, nvapi-0123456789abcdef")

    _transfers.begin(place, "a", "image a", work)
    (problem,) = ended(place, "a")["problems"]
    assert problem["code"] == "transfer_broken"
    assert "for a reason" in problem["evidence"]
    assert "nvapi" not in json.dumps(problem)


def test_one_that_was_killed_is_told_as_killed(place):
    _transfers.begin(place, "a", "image a", lambda: os.kill(os.getpid(), signal.SIGKILL))
    assert ended(place, "a")["problems"][0]["code"] == "killed"


def test_what_nothing_is_known_of_is_over(place):
    heard = _transfers.hear(place, "a")
    assert heard["over"]
    assert heard["problems"] == []


def test_how_far_it_is_comes_from_its_own_file_of_progress_alone(place, tmp_path):
    path, work = _progress.path(tmp_path), Held()
    subject = {"repo": "lab/model", "commit": "1" * 40}
    _transfers.begin(place, "a", "weights", work, path, subject)

    def told(**changes):
        samples = [(0.0, 0), (2.0, 50)]
        state = {**_progress.state(subject, _progress.FETCHING, samples, 100), **changes}
        (tmp_path / "progress.json").write_text(json.dumps(state))
        return [_transfers.hear(place, "a")[key] for key in _transfers.KEYS]

    assert told() == ["fetching", 50, 100, 25.0, 2]
    assert told(commit="2" * 40) == [None] * 5
    assert told(updated="2020-01-01T00:00:00Z") == [None] * 5
    work.let_go()
    ended(place, "a")
