# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""Who is at work, as rows and as lines."""

from __future__ import annotations

import pytest

from ansible_collections.llmops.nim.plugins.module_utils._at_work import (
    MOST_ROWS,
    TRANSFERS,
    AtWork,
    how_far,
    interrupted,
)

WEIGHTS, READY = "llmops.nim.lfs_snapshot", "llmops.nim.nim_ready"


@pytest.fixture
def at_work():
    return AtWork()


def test_the_longest_at_work_comes_first(at_work):
    at_work.begin("gpu1", READY, 50)
    at_work.begin("gpu2", WEIGHTS, 0)
    assert at_work.rows(61) == [("gpu2", "fetching weights", "1m 1s"), ("gpu1", "becoming ready", "11s")]
    assert [who for who, _step, _length in at_work.rows(61, 20)] == ["gpu2"]


def test_a_host_is_done_when_its_task_is_or_another_begins(at_work):
    at_work.begin("gpu1", READY, 0)
    at_work.begin("gpu2", READY, 0)
    at_work.end("gpu1")
    at_work.begin("gpu2", "ansible.builtin.set_fact", 5)
    assert at_work.rows(10) == []
    at_work.end("gpu2")


def test_lines_come_after_ten_seconds_and_then_ever_rarer(at_work):
    at_work.begin("gpu1", READY, 0)
    moments = [now for now in range(1001) if at_work.lines(now)]
    assert moments == [10, 20, 40, 80, 160, 320, 620, 920]


def test_the_next_step_has_lines_of_its_own(at_work):
    at_work.begin("gpu1", WEIGHTS, 0)
    assert at_work.lines(300) == ["gpu1: fetching weights, for 5m 0s"]
    at_work.begin("gpu1", READY, 301)
    assert at_work.lines(305) == []
    assert at_work.lines(311) == ["gpu1: becoming ready, for 10s"]


def test_many_hosts_are_counted_by_step(at_work):
    for number in range(200):
        at_work.begin(f"gpu{number}", READY if number < 3 else WEIGHTS, number)
    assert at_work.rows(250) == [
        ("3 hosts, longest gpu0", "becoming ready", "4m 10s"),
        ("197 hosts, longest gpu3", "fetching weights", "4m 7s"),
    ]
    assert len(at_work.lines(250)) == 2
    assert at_work.lines(251) == []


def test_as_many_hosts_as_rows_have_one_each(at_work):
    for number in range(MOST_ROWS):
        at_work.begin(f"gpu{number}", READY, 0)
    assert len(at_work.rows(5)) == MOST_ROWS


def test_an_interruption_says_what_was_done_and_how_to_go_on(at_work):
    at_work.begin("東京1", WEIGHTS, 0)
    said = interrupted(at_work.rows(75))
    assert "東京1: fetching weights, for 1m 15s" in said
    assert "status.yml" in said
    assert "same command" in said


def transfer(what="weights lab/x at 1", **changes):
    known = {"phase": "fetching", "bytes": 3 * 1024**3, "total": 12 * 1024**3, "rate": 1024.0**3, "seconds_left": 9}
    return {"what": what, "over": False, **known, **changes}


def test_how_far_transfers_are():
    unknown = dict.fromkeys(("phase", "bytes", "total", "rate", "seconds_left"))
    image = transfer("image nvcr.io/nim/a", **unknown)
    assert how_far([image, transfer()]) == "weights 25%, 9s left, 3.0 GiB of 12.0 GiB, 1.0 GiB/s; image"
    assert how_far([transfer(phase="proving", bytes=12 * 1024**3, rate=0.0, seconds_left=None)]) == (
        "weights 100%, proving, 12.0 GiB of 12.0 GiB"
    )
    assert how_far([transfer(over=True), image]) == "image"
    assert how_far([]) == ""


def test_a_host_that_waits_for_transfers_says_how_far_they_are(at_work):
    at_work.begin("東京1", TRANSFERS, 0)
    at_work.begin("gpu2", READY, 0)
    assert at_work.transferring() == ["東京1"]
    assert at_work.rows(5)[0] == ("東京1", "fetching", "5s")
    at_work.tell("東京1", [transfer()])
    assert at_work.lines(10)[0] == "東京1: weights 25%, 9s left, 3.0 GiB of 12.0 GiB, 1.0 GiB/s, for 10s"
    at_work.begin("東京1", READY, 11)
    assert at_work.rows(12)[-1] == ("東京1", "becoming ready", "1s")
