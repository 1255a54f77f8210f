# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

import pytest

from ansible_collections.llmops.nim.plugins.module_utils._circumstances import causes, of_end


def codes(lines, state, env=None):
    return [cause.problem.code for cause in causes(lines, state, env)]


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        ({"Status": "exited", "ExitCode": 137, "OOMKilled": True}, ["container_oom"]),
        ({"Status": "exited", "ExitCode": 137}, ["killed"]),
        ({"Status": "restarting", "ExitCode": "139"}, ["crash"]),
        ({"Status": "exited", "ExitCode": 127}, ["entrypoint"]),
        ({"Status": "exited", "ExitCode": 1}, []),
        ({"Status": "restarting", "ExitCode": "unknown"}, []),
        ({"Status": "running", "ExitCode": 137}, []),
        ({}, []),
    ],
)
def test_the_end_of_a_container(state, expected):
    assert [cause.problem.code for cause in of_end(state)] == expected


def test_the_log_tells_more_than_the_end():
    log = ["[TRT] [I] Building", "Killed"]
    assert codes(log, {"Status": "exited", "ExitCode": 137})[0] == "build_host_memory"
    assert codes(["UVA is not available"], {"Status": "exited", "ExitCode": 143}) == ["uva_missing"]
    assert codes(["odd"], {"Status": "exited", "ExitCode": 143}) == ["stopped"]


def test_a_length_that_an_engine_does_not_support_may_be_why_there_is_no_profile():
    log = ["Could not find a profile that is currently runnable", "- Free GPUs:", "  -  [2e12:10de] (0) NVIDIA GB10"]
    assert codes(log, {}, {"NIM_MAX_MODEL_LEN": "4096"}) == ["profile_none", "length_rejects_profiles"]
    assert codes(log, {}, {}) == ["profile_none"]
    assert codes([], {}, {"NIM_MAX_MODEL_LEN": "4096"}) == []
