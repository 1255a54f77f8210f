# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

import pytest

from ansible_collections.llmops.nim.plugins.module_utils._readiness import Misses, interruption, verdict


@pytest.mark.parametrize(
    ("state", "word"),
    [
        ({"Status": "exited", "ExitCode": 1}, "exit status 1"),
        ({"Status": "exited", "ExitCode": 137, "OOMKilled": True}, "memory"),
        ({"Status": "restarting", "ExitCode": 2}, "again and again"),
        ({"Status": "running", "ExitCode": 0, "RestartCount": 3}, "again and again"),
        ({"Status": "paused"}, "paused"),
        ({"Status": "dead", "ExitCode": 1}, "exit status 1"),
    ],
)
def test_a_container_that_will_never_be_ready_says_why(state, word):
    assert word in verdict(state, 2)


@pytest.mark.parametrize("status", ["created", "running"])
def test_a_container_that_may_become_ready_gets_time(status):
    assert verdict({"Status": status, "ExitCode": 0, "RestartCount": 2}, 2) is None


RUNNING = {"Status": "running", "StartedAt": "2026-01-02T03:04:05Z", "RestartCount": 1}


def test_a_container_that_goes_on_is_not_interrupted():
    assert interruption(dict(RUNNING), RUNNING) is None


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"StartedAt": "2026-01-02T03:05:00Z"}, "started again at 2026-01-02T03:05:00Z"),
        ({"StartedAt": "2026-01-02T03:05:00Z", "RestartCount": 2}, "started again"),
        ({"RestartCount": 2}, "again and again"),
        ({"Status": "restarting"}, "again and again"),
        ({"Status": "exited", "ExitCode": 143}, "exit status 143"),
        ({"Status": "exited", "OOMKilled": True}, "memory"),
        ({"Status": "paused"}, "paused"),
        ({"Status": "created"}, "it is created"),
    ],
)
def test_an_interruption_says_what_happened(change, word):
    assert word in interruption(dict(RUNNING, **change), RUNNING)


def test_only_failures_in_a_row_are_too_many():
    misses = Misses(2)
    for reason in ("a", "b", None, "c", "d"):
        misses.note(reason)
        assert not misses.too_many
    misses.note("e")
    assert misses.too_many
    assert misses.reasons == ["c", "d", "e"]


def test_none_may_be_allowed():
    misses = Misses(0)
    misses.note("a")
    assert misses.too_many
