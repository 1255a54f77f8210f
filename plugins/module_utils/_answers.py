# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""Whether a model's answers are what they should be.

Private to the collection: breaking changes at any time.
"""

from __future__ import annotations

import re

from ansible_collections.llmops.nim.plugins.module_utils._problem import Problem

# Asked when nim_models names no question: any text at all will do.
ANY_ANSWER = {"prompt": "What is the capital of France?", "expect": r"\S", "max_tokens": 64}


def expectation(check):
    """The compiled regular expression of a check (dict of prompt and expect); raises Problem for a broken one."""
    try:
        return re.compile(check["expect"])
    except re.error as error:
        raise Problem(
            f"expect of the question {check['prompt']!r} is no regular expression",
            f"{check['expect']!r}: {error}",
            "write a Python regular expression; a plain word is one",
            "expect_invalid",
        ) from None


def judge(answers, where):
    """Raises Problem when one of the answers is not as expected.

    answers: list of dict(prompt, answer, expect). where: the endpoint (str), for the message.
    """
    wrong = [one for one in answers if not expectation(one).search(one["answer"])]
    if not wrong:
        return
    raise Problem(
        f"{where} answers, but not what is expected",
        "\n".join(f"{one['prompt']!r} → {one['answer']!r}, expected /{one['expect']}/" for one in wrong),
        "the service works and the weights don't say it: check weights.repo and weights.revision, or expect",
        "answer_unexpected",
    )


def rates(begin, arrivals, tokens):
    """Time to first token in seconds and tokens per second after it, both float or None when unknown.

    begin: seconds at which the request was sent. arrivals: seconds at which each piece of text came.
    tokens: number of completion tokens.
    """
    if not arrivals:
        return {"ttft_seconds": None, "tokens_per_second": None}
    after_first = arrivals[-1] - arrivals[0]
    return {
        "ttft_seconds": round(arrivals[0] - begin, 4),
        "tokens_per_second": round((tokens - 1) / after_first, 1) if tokens > 1 and after_first > 0 else None,
    }
