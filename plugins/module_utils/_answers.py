# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""Whether a model's answers are what they should be, and come as fast.

Private to the collection: breaking changes at any time.
"""

from __future__ import annotations

import re
import statistics

from ansible_collections.llmops.nim.plugins.module_utils._problem import Problem
from ansible_collections.llmops.nim.plugins.module_utils._repetition import is_repetition

# Asked when nim_models names no question: any text at all will do.
ANY_ANSWER = {
    "prompt": "What is the capital of France?",
    "expect": r"\S",
    "reject": None,
    "min_chars": 1,
    "max_tokens": 64,
    "finish_reason": None,
}

OK = "ok"

# Verdict → code of the problem, what is wrong and what to do.
_FAULTS = {
    "model": (
        "model_mismatch",
        "answers as another model than the one that was asked",
        "another service may stand there: check the address, the port and served_name",
    ),
    "not_empty": (
        "answer_empty",
        "gives an empty answer",
        "the weights end at once on this question: check weights.repo and weights.revision, or ask another",
    ),
    "not_repeated": (
        "answer_repeats",
        "says the same over and over instead of answering",
        "the weights or the engine made of them are broken, or the precision of the profile does not suit them: "
        "check weights.revision and profile",
    ),
    "min_chars": (
        "answer_short",
        "gives a shorter answer than it should",
        "check weights.repo and weights.revision, or min_chars and max_tokens of the question",
    ),
    "finish_reason": (
        "answer_ended",
        "ends its answer for another reason than it should",
        "raise max_tokens of the question if the reason is length, or correct its finish_reason",
    ),
    "expect": (
        "answer_unexpected",
        "answers, but not what is expected",
        "the service works and the weights don't say it: check weights.repo and weights.revision, or expect",
    ),
    "reject": (
        "answer_rejected",
        "answers what it must not",
        "the service works and the weights say it: check weights.repo and weights.revision, or reject",
    ),
}


def expectation(check, name="expect"):
    """The compiled check[name] (check: of _models.CHECK_OPTIONS); raises Problem for a broken regular expression."""
    try:
        return re.compile(check[name])
    except re.error as error:
        raise Problem(
            f"{name} of the question {check['prompt']!r} is no regular expression",
            f"{check[name]!r}: {error}",
            "write a Python regular expression; a plain word is one",
            f"{name}_invalid",
        ) from None


def verdicts(check, text, finish_reason, models, wished):
    """What each test says of an answer: dict, name → C(ok) or what is wrong, all str. Only what was tested is in it.

    check: dict of _models.CHECK_OPTIONS. text: the answer (str). finish_reason: str or None. models: the ids that the
    answer bears (iterable of str). wished: the id that was asked for (str).
    """
    expect, stripped = expectation(check), text.strip()
    found = {
        "model": set(models) == {wished} or f"it bears the id {' and '.join(sorted(models)) or 'of no model'}",
        "not_empty": bool(stripped) or "it is empty",
        "not_repeated": not is_repetition(text) or "it is the same over and over",
        "min_chars": len(stripped) >= check["min_chars"]
        or f"it has {len(stripped)} characters, expected {check['min_chars']} at least",
        "expect": bool(expect.search(text)) or f"expected /{expect.pattern}/",
    }
    if check["reject"]:
        hit = expectation(check, "reject").search(text)
        found["reject"] = not hit or f"it must not match /{check['reject']}/, and has {hit.group()!r}"
    if check["finish_reason"]:
        found["finish_reason"] = (
            finish_reason in check["finish_reason"]
            or f"it ended with {finish_reason or 'no reason'}, expected {' or '.join(check['finish_reason'])}"
        )
    return {name: OK if verdict is True else verdict for name, verdict in found.items()}


def problems(answers, where):
    """What is wrong with the answers: list of Problem, one a kind of fault; an answer counts for its first fault.

    answers: list of dict(prompt, answer, verdicts). where: the endpoint (str), for the message.
    """
    wrong = {}
    for one in answers:
        fault = next((name for name in _FAULTS if one["verdicts"].get(name, OK) != OK), None)
        if fault:
            quoted = f"{one['prompt']!r} → {one['answer']!r}, {one['verdicts'][fault]}"
            wrong.setdefault(fault, []).append(quoted)
    return [
        Problem(f"{where} {what}", "\n".join(wrong[fault]), remedy, code)
        for fault, (code, what, remedy) in _FAULTS.items()
        if fault in wrong
    ]


def unserved(served, wished, where):
    """The Problem of an endpoint whose C(/v1/models) does not name the wished model, or None.

    served: the ids it names (list of str). wished: an id (str).
    """
    if wished in served:
        return None
    return Problem(
        f"{where} does not serve the model {wished}",
        f"GET /v1/models names {', '.join(served) or 'none'}",
        _FAULTS["model"][2],
        "model_mismatch",
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


def median_ttft(answers):
    """The median time to first token of the answers (list of dict with C(ttft_seconds)), in seconds, or None."""
    known = [one["ttft_seconds"] for one in answers if one["ttft_seconds"] is not None]
    return round(statistics.median(known), 4) if known else None


def slower(measured, reference, ratio, where):
    """The Problem of a time to first token that is more than ratio times the reference, or None.

    measured, reference: seconds (float), ratio: float. Without any of them, or with 0, nothing is judged.
    """
    if not (measured and reference and ratio) or measured <= reference * ratio:
        return None
    return Problem(
        f"{where} takes {measured / reference:.1f} times as long to the first token as the reference",
        f"median of {measured} s, reference {reference} s, at most {ratio} times as long is allowed",
        "compare profile, precision and GPUs of the two releases, or raise the ratio if the new one may be slower",
        "ttft_regression",
    )
