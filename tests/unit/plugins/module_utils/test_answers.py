# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

import pytest

from ansible_collections.llmops.nim.plugins.module_utils._answers import (
    ANY_ANSWER,
    expectation,
    median_ttft,
    problems,
    rates,
    slower,
    unserved,
    verdicts,
)
from ansible_collections.llmops.nim.plugins.module_utils._models import CHECK_OPTIONS
from ansible_collections.llmops.nim.plugins.module_utils._problem import Problem


def judged(text, ended="stop", models=("wren",), **check):
    """The codes of what is wrong with an answer, and the text of the first."""
    check = dict(ANY_ANSWER, **check)
    answer = {
        "prompt": check["prompt"],
        "answer": text,
        "verdicts": verdicts(check, text, ended, models, "wren"),
    }
    found = problems([answer], "there")
    return [one.code for one in found], found[0].evidence if found else ""


@pytest.mark.parametrize(
    ("text", "check"),
    [
        ("It is Paris.", {"expect": "Paris"}),
        ("paris", {"expect": "(?i)PARIS", "reject": "Rennes"}),
        (" x ", {}),
        ("Paris", {"min_chars": 5, "finish_reason": ["length", "stop"]}),
    ],
)
def test_a_right_answer_passes(text, check):
    assert judged(text, **check) == ([], "")


@pytest.mark.parametrize(
    ("text", "check", "code", "word"),
    [
        ("It is Rennes.", {"expect": "Paris"}, "answer_unexpected", "/Paris/"),
        ("Paris, not Rennes", {"expect": "Paris", "reject": "R.nn"}, "answer_rejected", "'Renn'"),
        (" \n", {}, "answer_empty", "empty"),
        ("!!!!!!!!", {"expect": "!"}, "answer_repeats", "over and over"),
        ("Paris ", {"min_chars": 6}, "answer_short", "5 characters"),
        ("Paris", {"finish_reason": ["length"]}, "answer_ended", "ended with stop, expected length"),
    ],
)
def test_a_wrong_answer_is_quoted_with_what_is_wrong(text, check, code, word):
    codes, evidence = judged(text, **check)
    assert codes == [code]
    assert repr(text) in evidence
    assert word in evidence


@pytest.mark.parametrize("models", [(), ("sparrow",), ("sparrow", "wren")])
def test_an_answer_bears_the_id_that_was_asked_and_no_other(models):
    assert judged("Paris", models=models)[0] == ["model_mismatch"]


def test_an_answer_without_a_reason_for_its_end_passes_unless_one_is_wished():
    assert judged("Paris", ended=None)[0] == []
    check = dict(ANY_ANSWER, finish_reason=["stop"])
    assert verdicts(check, "Paris", None, ["wren"], "wren")["finish_reason"] == "it ended with no reason, expected stop"


def test_only_what_was_tested_has_a_verdict():
    made = verdicts(ANY_ANSWER, "Paris", "stop", ["wren"], "wren")
    assert made == dict.fromkeys(["model", "not_empty", "not_repeated", "min_chars", "expect"], "ok")
    check = dict(ANY_ANSWER, reject="x", finish_reason=["stop"])
    assert set(verdicts(check, "Paris", "stop", ["wren"], "wren")) == {*made, "reject", "finish_reason"}


def test_right_answers_are_not_quoted_beside_wrong_ones():
    check = dict(ANY_ANSWER, expect="Paris")
    answers = [
        {"prompt": text, "answer": text, "verdicts": verdicts(check, text, None, ["wren"], "wren")}
        for text in ("It is Paris.", "It is Rennes.", "")
    ]
    empty, unexpected = problems(answers, "http://gpu1:8000/v1")
    assert empty.code == "answer_empty"
    assert "Rennes" in unexpected.evidence
    assert "It is Paris" not in unexpected.evidence
    assert "http://gpu1:8000/v1" in unexpected.what


@pytest.mark.parametrize("name", ["expect", "reject"])
def test_a_broken_expression_is_named(name):
    with pytest.raises(Problem, match=f"{name} of the question '.' is no regular expression") as caught:
        expectation({"prompt": "?", name: "Par(is"}, name)
    assert caught.value.code == f"{name}_invalid"


def test_the_default_question_has_all_keys():
    assert set(ANY_ANSWER) == set(CHECK_OPTIONS)


def test_the_endpoint_names_the_model():
    assert unserved(["sparrow", "wren"], "wren", "there") is None
    assert "names sparrow" in unserved(["sparrow"], "wren", "there").evidence
    assert "names none" in unserved([], "wren", "there").evidence


def test_rates_come_from_the_arrivals():
    assert rates(10.0, [10.5, 11.0, 11.5], 3) == {"ttft_seconds": 0.5, "tokens_per_second": 2.0}


@pytest.mark.parametrize("arrivals", [[10.5], []])
def test_what_cannot_be_measured_is_null(arrivals):
    assert rates(10.0, arrivals, 1)["tokens_per_second"] is None


def test_the_median_leaves_out_what_was_not_measured():
    assert median_ttft([{"ttft_seconds": one} for one in (0.3, None, 0.1, 9.0)]) == 0.3
    assert median_ttft([{"ttft_seconds": None}]) is None
    assert median_ttft([]) is None


def test_a_slower_first_token_is_told_with_both_figures():
    problem = slower(0.3, 0.1, 2.0, "there")
    assert problem.code == "ttft_regression"
    assert "3.0 times" in problem.what
    assert "0.3 s" in problem.evidence
    assert "0.1 s" in problem.evidence


@pytest.mark.parametrize(
    ("measured", "reference", "ratio"),
    [(0.2, 0.1, 2.0), (0.3, None, 2.0), (0.3, 0, 2.0), (0.3, 0.1, None), (0.3, 0.1, 0), (None, 0.1, 2.0)],
)
def test_without_a_regression_or_a_reference_nothing_is_wrong(measured, reference, ratio):
    assert slower(measured, reference, ratio, "there") is None
