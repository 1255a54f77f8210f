# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

from datetime import datetime, timezone

import pytest

from ansible_collections.llmops.nim.plugins.module_utils import _diagnosis
from ansible_collections.llmops.nim.plugins.module_utils._failures import explain

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=timezone.utc)


def release(name, created, model="m", running=False):
    return {"model": model, "container": name, "running": running, "created": created}


@pytest.mark.parametrize(
    ("state", "ready", "sentence"),
    [
        ({"Status": "running", "StartedAt": "2026-01-02T03:00:00Z"}, True, "it serves, since 4m 5s"),
        ({"Status": "running", "StartedAt": "2026-01-02T03:00:00Z"}, False, "is not ready (phase: load)"),
        (
            {"Status": "restarting", "ExitCode": 1, "RestartCount": 7},
            False,
            "with exit status 1; Docker restarted it 7 times",
        ),
        ({"Status": "running", "ExitCode": 0, "RestartCount": 7}, False, "again and again"),
        ({"Status": "exited", "ExitCode": 137, "FinishedAt": "2026-01-02T03:04:00Z"}, False, "exit status 137, 5s ago"),
        ({"Status": "created"}, False, "not started yet"),
        ({"Status": "created", "Error": "port is already allocated"}, False, "did not start"),
        ({"Status": "paused"}, False, "it is paused"),
    ],
)
def test_what_happened(state, ready, sentence):
    assert sentence in _diagnosis.happened(state, ready, "load", NOW)


def test_the_releases_that_tell_how_a_model_is():
    releases = [
        release("a", "1"), release("b", "2"), release("c", "3"), release("d", "4", running=True), release("e", "5"),
        release("x", "1", "other"),
    ]  # fmt: skip
    failed = {"event": "failed", "release": {"container": "c"}}
    ledgers = {"m": {"current": {"container": "b"}, "last": failed}}
    assert [one["container"] for one in _diagnosis.choose(releases, ledgers)] == ["b", "c", "d", "e", "x"]
    assert [one["container"] for one in _diagnosis.choose(releases, {}, ["m"])] == ["d", "e"]
    assert _diagnosis.choose(releases, {}, ["nobody"]) == []


def test_a_service_that_is_ready_has_got_over_what_its_log_shows():
    causes = explain("CUDA out of memory\nModel w does not have a default chat template defined in the tokenizer")
    assert len(_diagnosis.relevant(causes, False)) == 2
    assert [one.problem.code for one in _diagnosis.relevant(causes, True)] == ["chat_template_missing"]


def test_a_report_says_what_why_and_what_to_do():
    causes = explain("UVA is not available\nNo available memory for the cache blocks")
    told = _diagnosis.report("nim-m-1 (model m): it ended", causes, "some line", False)
    assert told.splitlines()[0] == "nim-m-1 (model m): it ended"
    assert [line.split(":")[0].strip() for line in told.splitlines()[1:]] == [
        "cause", "evidence", "do", "source", "perhaps also",
    ]  # fmt: skip


def test_a_report_of_something_unknown_quotes_lines_and_says_so():
    assert "not a known one; these lines tell most:\n    odd" in _diagnosis.report("x", [], "odd", False)
    assert _diagnosis.report("x", [], "odd", True) == "x"
    assert "more: not a known one" in _diagnosis.report("x", explain("Engine process failed to start"), "odd", False)
