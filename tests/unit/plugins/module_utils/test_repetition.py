# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.llmops.nim.plugins.module_utils._repetition import is_repetition, share

PROSE = """The capital of France is Paris. It lies on the river Seine, and has been the capital, with breaks, since 987.
Do you want to know more about its history, its boroughs or its 105 square kilometres? I had had that that you had."""


@pytest.mark.parametrize(
    "garbage",
    [
        "!!!!",
        "!" * 300,
        " ! ! !",
        "the the the",
        " The the THE the",
        "aaaaaaa",
        "assistantassistantassistantassistant",
        "<0x0A><0x0A><0x0A><0x0A><0x0A>",
        ".\n.\n.\n.",
        "......",
        "哈哈哈哈",
        "0" * 64,
        "0 " * 64,
        "123" * 64,
        "Paris" + "!" * 59,
        "Paris is the" + " the" * 50,
        "the the the of of of is is is",
    ],
)
def test_garbage(garbage):
    assert is_repetition(garbage)


@pytest.mark.parametrize(
    "answer",
    [
        "",
        "Paris",
        " Paris.",
        "No.",
        "no, no",
        "ha ha",
        "...",
        "42",
        "1111",
        "10,000,000,000,000",
        "0.3333333333333333",
        "1 0 0\n0 1 0\n0 0 1",
        "127.0.0.1 and 1.1.1.1",
        "Mississippi",
        "The capital of France is Paris.\n" * 20,
        "| country | capital |\n|---|---|\n| France | Paris |\n| Germany | Berlin |",
        "Contents ........ 3",
        PROSE,
    ],
)
def test_answers_that_are_none(answer):
    assert not is_repetition(answer)


@given(st.text(string.ascii_letters + string.punctuation, min_size=1, max_size=16), st.integers(4, 200))
def test_any_piece_over_and_over_is_repetition(piece, times):
    assert share(piece * times) == 1


@given(st.text(string.ascii_letters, min_size=1, max_size=40), st.integers(3, 100), st.sampled_from([" ", "\n", " \t"]))
def test_any_word_over_and_over_is_repetition(word, times, space):
    assert is_repetition(space.join([word] * times))


@given(st.permutations(PROSE.split()), st.integers(1, 40))
def test_words_in_any_order_are_no_repetition(words, length):
    assert not is_repetition(" ".join(words[:length])) or len(set(words[:length])) <= 2


@given(st.text())
def test_a_share_is_a_share(text):
    assert 0 <= share(text) <= 1


@given(st.integers(0, 10**30))
def test_no_number_is_repetition(number):
    assert not is_repetition(str(number))
    assert not is_repetition(f"{number:,}")
