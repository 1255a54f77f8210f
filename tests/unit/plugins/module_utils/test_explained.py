# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

from ansible_collections.llmops.nim.plugins.module_utils._explained import explained

FULL = "failed to register layer: write /x: no space left on device"


def test_a_known_failure_gets_its_cause():
    told = explained({"failed": True, "msg": f"Error pulling image: {FULL}"}, "The image could not be pulled")
    assert told.startswith("The image could not be pulled. The disk is full")
    assert "  evidence: Error pulling image" in told
    assert "  do: Free space" in told


def test_what_a_command_wrote_counts_before_that_it_failed():
    told = explained({"failed": True, "msg": "non-zero return code", "stderr": FULL}, "It could not be started")
    assert "The disk is full" in told


def test_of_a_loop_those_that_failed_are_told_once():
    good, bad = {"failed": False, "changed": True}, {"failed": True, "msg": FULL}
    told = explained({"failed": True, "msg": "One or more items failed", "results": [good, bad, bad]}, "No")
    assert told.count("The disk is full") == 1
    assert "One or more" not in told


def test_words_that_nobody_knows_are_left_as_they_are():
    assert explained({"msg": "the flux is out of phase"}, "No") == "the flux is out of phase"
    assert explained({}, "It failed") == "It failed, and the task did not say why"


def test_a_problem_of_our_own_is_left_as_it_is():
    own = {"msg": f"There it stands: {FULL}\n  do: this", "problem": {"code": "x"}}
    assert explained(own, "No") == own["msg"]


def test_no_secret_is_told():
    assert "nvapi-0" not in explained({"msg": "odd nvapi-0123456789"}, "No")
