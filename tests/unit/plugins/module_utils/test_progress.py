# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""How far a fetch is, as others read it."""

from __future__ import annotations

import json
import threading

import pytest

from ansible_collections.llmops.nim.plugins.module_utils import _progress

SUBJECT = {"repo": "lab/x", "commit": "c" * 40}


@pytest.mark.parametrize(
    ("phase", "samples", "rate", "left"),
    [
        ("fetching", [(0, 0)], 0, None),
        ("fetching", [(0, 0), (10, 500)], 50, 10),
        ("fetching", [(0, 500), (10, 500)], 0, None),
        ("fetching", [(0, 500), (10, 0)], 0, None),  # what was there went away
        ("proving", [(0, 0), (10, 1000)], 0, None),
        ("published", [(0, 0), (10, 1000)], 0, 0),
        ("failed", [(0, 0), (10, 400)], 0, None),
    ],
)
def test_state(phase, samples, rate, left):
    found = _progress.state(SUBJECT, phase, samples, 1000)
    assert found.pop("updated").endswith("Z")
    assert found == {
        **SUBJECT, "phase": phase, "bytes": samples[-1][1], "total": 1000, "rate": rate, "seconds_left": left,
    }  # fmt: skip


def test_it_says_at_the_end_how_that_was(tmp_path):
    path = tmp_path / "progress.json"
    with _progress.Progress(str(tmp_path / _progress.NAME), SUBJECT, lambda: (5, 10)) as progress:
        assert json.loads(path.read_text())["phase"] == "fetching"
        progress.turn("proving")
        assert json.loads(path.read_text())["phase"] == "proving"
    assert json.loads(path.read_text())["phase"] == "published"
    with pytest.raises(ValueError, match="x"), _progress.Progress(
        str(tmp_path / _progress.NAME), SUBJECT, lambda: (5, 10)
    ):
        raise ValueError("x")
    assert json.loads(path.read_text())["phase"] == "failed"


def test_it_is_kept_up_to_date(tmp_path, monkeypatch):
    monkeypatch.setattr(_progress, "_EVERY", 0.01)
    there, asked = [0], threading.Event()

    def measure():
        there[0] += 1
        if there[0] > 5:
            asked.set()
        return there[0], 10

    with _progress.Progress(str(tmp_path / _progress.NAME), SUBJECT, measure):
        assert asked.wait(60)


def test_who_listens_is_told_what_the_file_says(tmp_path):
    path, told = tmp_path / _progress.NAME, []
    with _progress.Progress(str(path), SUBJECT, lambda: (5, 10), told.append) as progress:
        progress.turn("proving")
    assert [words["phase"] for words in told] == ["fetching", "proving", "published"]
    assert told[-1] == json.loads(path.read_text())


def test_a_disk_that_is_full_is_no_reason_to_stop(tmp_path):
    with _progress.Progress(str(tmp_path / "none" / "a"), SUBJECT, lambda: (5, 10)):
        pass
