# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

import pytest

from ansible_collections.llmops.nim.plugins.module_utils._answers import expectation, judge, rates
from ansible_collections.llmops.nim.plugins.module_utils._problem import Problem


def answer(text, expect):
    return {"prompt": "What is the capital of France?", "answer": text, "expect": expect}


def test_a_right_answer_passes():
    judge([answer("It is Paris.", "Paris"), answer("paris", "(?i)PARIS")], "there")


def test_a_wrong_answer_is_quoted_with_what_was_expected():
    with pytest.raises(Problem) as caught:
        judge([answer("It is Paris.", "Paris"), answer("It is Rennes.", "Paris")], "http://gpu1:8000/v1")
    assert "Rennes" in caught.value.evidence
    assert "It is Paris" not in caught.value.evidence
    assert "http://gpu1:8000/v1" in caught.value.what


def test_a_broken_expression_is_named():
    with pytest.raises(Problem, match="regular expression"):
        expectation({"prompt": "?", "expect": "Par(is"})


def test_rates_come_from_the_arrivals():
    assert rates(10.0, [10.5, 11.0, 11.5], 3) == {"ttft_seconds": 0.5, "tokens_per_second": 2.0}


@pytest.mark.parametrize("arrivals", [[10.5], []])
def test_what_cannot_be_measured_is_null(arrivals):
    assert rates(10.0, arrivals, 1)["tokens_per_second"] is None
