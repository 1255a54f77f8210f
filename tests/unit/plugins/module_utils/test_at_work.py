# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""Who is at work, as rows and as lines."""

from __future__ import annotations

import pytest

from ansible_collections.llmops.nim.plugins.module_utils._at_work import (
    MOST_ROWS,
    AtWork,
    interrupted,
)
from ansible_collections.llmops.nim.plugins.module_utils._how_far import of_told, of_transfers

WEIGHTS, READY = "llmops.nim.lfs_snapshot", "llmops.nim.nim_ready"
TRANSFERS, SOAK = "llmops.nim.nim_transfers", "llmops.nim.nim_soak"


def told(rows):
    return [(row.who, row.step, row.length) for row in rows]


@pytest.fixture
def at_work():
    return AtWork()


def test_the_longest_at_work_comes_first(at_work):
    at_work.begin("gpu1", READY, 50)
    at_work.begin("gpu2", WEIGHTS, 0)
    assert told(at_work.rows(61)) == [("gpu2", "fetching weights", "1m 1s"), ("gpu1", "becoming ready", "11s")]
    assert [row.who for row in at_work.rows(61, 20)] == ["gpu2"]


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
    assert told(at_work.rows(250)) == [
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
    assert of_transfers([image, transfer()]).text == "weights 25%, 9s left, 3.0 GiB of 12.0 GiB, 1.0 GiB/s; image"
    # Of a proof the bytes tell nothing.
    assert of_transfers([transfer(phase="proving", bytes=12 * 1024**3)]).text == "proving weights"
    assert of_transfers([transfer(over=True), image]).text == "image"
    assert of_transfers([transfer(over=True)]).text == ""


def test_bytes_of_all_transfers_of_a_host_count_together():
    over = transfer(over=True, bytes=12 * 1024**3)
    far = of_transfers([over, transfer(), transfer(seconds_left=70, rate=0.0)])
    assert far.text == "weights 50%, 1m 10s left, 18.0 GiB of 36.0 GiB, 1.0 GiB/s"


def test_a_host_that_waits_for_transfers_says_how_far_they_are(at_work):
    at_work.begin("東京1", TRANSFERS, 0)
    at_work.tell("東京1", TRANSFERS, [])
    assert told(at_work.rows(5))[0] == ("東京1", "fetching", "5s")
    at_work.tell("東京1", TRANSFERS, [transfer()])
    assert at_work.lines(10)[0] == "東京1: weights 25%, 9s left, 3.0 GiB of 12.0 GiB, 1.0 GiB/s, for 10s"
    at_work.tell("東京1", TRANSFERS, [transfer(over=True)])
    assert told(at_work.rows(11))[0] == ("東京1", "fetching", "11s")
    at_work.begin("東京1", READY, 11)
    assert told(at_work.rows(12))[-1] == ("東京1", "becoming ready", "1s")


@pytest.mark.parametrize(
    ("seconds", "moments"),
    [
        # Ten percent in ten seconds, in forty, in three: never more often than either.
        (100, [10, 20, 30, 40, 50]),
        (400, [10, 20, 40, 80, 120, 160]),
        (30, [10, 20]),
    ],
)
def test_lines_come_at_most_every_ten_seconds_or_ten_percent(at_work, seconds, moments):
    at_work.begin("gpu1", TRANSFERS, 0)
    seen = []
    for now in range(1, moments[-1] + 1):
        at_work.tell("gpu1", TRANSFERS, [transfer(bytes=now * 100, total=seconds * 100)])
        seen += [now] * len(at_work.lines(now))
    assert seen == moments


def test_bytes_of_many_hosts_are_told_together_and_never_shrink(at_work):
    for number in range(20):
        at_work.begin(f"gpu{number}", TRANSFERS, number)
        at_work.tell(f"gpu{number}", TRANSFERS, [transfer(seconds_left=number)])
    (line,) = at_work.lines(60)
    assert line == "20 hosts, longest gpu0: fetching 25%, 19s left, 60.0 GiB of 240.0 GiB, 20.0 GiB/s, for 1m 0s"
    assert at_work.lines(61) == []
    at_work.tell("gpu0", TRANSFERS, [transfer(over=True, bytes=12 * 1024**3)])
    at_work.end("gpu0")
    (row,) = at_work.rows(62)
    assert "19 hosts, longest gpu1: fetching 28%, 19s left, 69.0 GiB of 240.0 GiB, 19.0 GiB/s" in row.text


def step(what, done=None, total=None, unit="bytes", rate=None, seconds_left=None):
    return [{"what": what, "done": done, "total": total, "unit": unit, "rate": rate, "seconds_left": seconds_left}]


@pytest.mark.parametrize(
    ("told", "text", "percent"),
    [
        (step("building the engine"), "building the engine", None),
        (step("downloading", 3 * 1024**3, rate=1024.0**2), "downloading, 3.0 GiB, 1.0 MiB/s", None),
        (step("watched", 15, 60, "seconds", seconds_left=45), "watched 25%, 45s left", 25),
        (step("watched", 0, 0, "seconds", seconds_left=0), "watched, 0s left", None),
        (step("draining", 7, 10, "requests"), "draining 70%, 7 of 10 requests", 70),
        (step("draining", 0, 0, "requests"), "draining", None),
    ],
)
def test_how_far_a_step_is(told, text, percent):
    far = of_told(told)
    assert (far.text, far.percent) == (text, percent)


def test_what_a_host_told_of_another_step_counts_no_more(at_work):
    at_work.begin("gpu1", SOAK, 0)
    at_work.tell("gpu1", READY, step("loading"))
    assert at_work.lines(10) == ["gpu1: being watched, for 10s"]
    at_work.tell("gpu1", SOAK, step("watched", 15, 60, "seconds", seconds_left=45))
    assert at_work.lines(20) == ["gpu1: watched 25%, 45s left, for 20s"]
    at_work.tell("gpu2", SOAK, step("watched", 15, 60, "seconds"))
    at_work.end("gpu1")
    assert at_work.rows(20) == []


def test_who_is_done_counts_as_done_in_the_sum_of_many(at_work):
    for number in range(20):
        at_work.begin(f"gpu{number}", SOAK, 0)
        at_work.tell(f"gpu{number}", SOAK, step("watched", 30, 60, "seconds", seconds_left=30))
    for number in range(10):
        at_work.end(f"gpu{number}")
    at_work.begin("gpu20", SOAK, 30)
    assert at_work.rows(30)[0].percent == 75


def test_hosts_in_different_phases_are_summed_by_what_the_first_counts(at_work):
    for number in range(11):
        at_work.begin(f"gpu{number:02}", READY, number)
        at_work.tell(f"gpu{number:02}", READY, step("downloading", 1024**3, rate=1024.0**3))
    at_work.tell("gpu10", READY, step("loading"))
    (line,) = at_work.lines(20)
    assert line == "11 hosts, longest gpu00: becoming ready, 10.0 GiB, 10.0 GiB/s, for 20s"


def test_who_is_gone_counts_no_more_once_all_are(at_work):
    for _again in range(2):
        for number in range(20):
            at_work.begin(f"gpu{number}", TRANSFERS, 0)
            at_work.tell(f"gpu{number}", TRANSFERS, [transfer()])
        assert at_work.rows(5)[0].far.total == 20 * 12 * 1024**3
        for host in at_work.hosts():
            at_work.end(host)
