# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""Whether an answer is one token over and over, such as C(!!!!!!) or C(the the the).

Private to the collection: breaking changes at any time.
"""

from __future__ import annotations

import re

# A word said three times in a row, or a piece of at most 16 characters, about what a token is, four times.
_RUNS = re.compile(r"(?<!\S)(?P<word>\S+)(?:\s+(?P=word)){2,}(?!\S)|(?P<piece>\S{1,16}?)(?P=piece){3,}")

# Right answers hold runs of digits: 10,000,000,000,000 and 0.3333333 and matrices of zeros.
_TIMES_OF_A_NUMBER = 32


def _visible(text):
    return len("".join(text.split()))


def _is_number(unit):
    return any(one.isdigit() for one in unit) and not any(one.isalpha() for one in unit)


def share(text):
    """How much of a text (str) is the same word or piece over and over: float, 0 to 1, of its visible characters.

    A sentence that comes again and again does not count: weights without instructions answer so, and rightly.
    """
    text = text.casefold()
    repeated = 0
    for run in _RUNS.finditer(text):
        unit = run.group("word") or run.group("piece")
        length = _visible(run.group())
        if not _is_number(unit) or length >= _TIMES_OF_A_NUMBER * len(unit):
            repeated += length
    return repeated / max(_visible(text), 1)


def is_repetition(text):
    """Whether most of a text (str) is repetition: prose with a rule or a row of dots in it is none."""
    return share(text) > 0.5
