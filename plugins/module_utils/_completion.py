# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""Questions to an OpenAI-compatible endpoint, through the C(openai) client.

Where a function takes params, they are the options of nim_completion (dict of ARGUMENTS).
Private to the collection: breaking changes at any time.
"""

from __future__ import annotations

import functools
import ssl
import threading
import time
import traceback

try:
    import openai
except ImportError:
    openai = None
    OPENAI_ERROR = traceback.format_exc()
else:
    OPENAI_ERROR = None

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
from ansible_collections.llmops.nim.plugins.module_utils._failures import explain, told_of
from ansible_collections.llmops.nim.plugins.module_utils._models import CHECK_OPTIONS
from ansible_collections.llmops.nim.plugins.module_utils._problem import Problem

ARGUMENTS = {
    "base_url": {"type": "str", "required": True},
    "model": {"type": "str", "required": True},
    "api": {"type": "str", "choices": ["completions", "chat"], "default": "completions"},
    "checks": {"type": "list", "elements": "dict", "default": [], "options": CHECK_OPTIONS},
    "samples": {"type": "int", "default": 1},
    "reference_ttft_seconds": {"type": "float"},
    "max_ttft_ratio": {"type": "float"},
    "api_key": {"type": "str", "no_log": True},
    "headers": {"type": "dict", "default": {}, "no_log": True},
    "ca_path": {"type": "path"},
    "timeout": {"type": "int", "default": 120},
}


_MAKING = threading.Lock()


def place(params):
    """The endpoint in words (str)."""
    return f"{params['base_url']} (model {params['model']}, {params['api']} endpoint)"


def http_client(ca_path):
    """What carries the questions to all endpoints; raises Problem when the certificates can't be read.

    To read the certificates takes longer than to ask an endpoint, so it is done once for a whole fleet.
    """
    with _MAKING:  # or all threads would begin to
        return _http_client(ca_path)


@functools.lru_cache(maxsize=None)
def _http_client(ca_path):
    if not ca_path:
        return openai.DefaultHttpxClient()
    try:
        trust = ssl.create_default_context(cafile=ca_path)
    except OSError as error:  # an ssl.SSLError is one
        raise Problem(
            f"The certificates in {ca_path} can't be read",
            str(error),
            "give ca_path a file of PEM certificates on the control node",
            "ca_unreadable",
        ) from None
    return openai.DefaultHttpxClient(verify=trust)


def connect(params):
    """The openai client; raises Problem when the certificates can't be read."""
    return openai.OpenAI(
        base_url=params["base_url"],
        api_key=params["api_key"] or "none",
        default_headers={name: str(value) for name, value in params["headers"].items()},
        timeout=params["timeout"],
        max_retries=0,
        http_client=http_client(params["ca_path"]),
    )


def served(client, params):
    """The ids (list of str) of the models that the endpoint names."""
    answer = client.models.with_raw_response.list().http_response
    try:
        return [one["id"] for one in answer.json()["data"]]
    except (ValueError, LookupError, TypeError):
        raise Problem(
            f"{place(params)} does not list its models as OpenAI's API does",
            f"GET /v1/models: {answer.text[:500]}",
            "another service may stand there: check the address and the port",
            "models_unreadable",
        ) from None


def stream(client, params, check):
    """The server's chunks of one answer."""
    common = {
        "model": params["model"],
        "max_tokens": check["max_tokens"],
        "temperature": 0,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    if params["api"] == "chat":
        return client.chat.completions.create(messages=[{"role": "user", "content": check["prompt"]}], **common)
    return client.completions.create(prompt=check["prompt"], **common)


def chunks(client, params, check):
    """What stream gives; raises Problem when it breaks off."""
    begun = stream(client, params, check)
    try:
        yield from begun
    # It may come from the library beneath the client, and which one that is depends on the client's version.
    except Exception as error:
        raise cut(error, params) from None


def text_of(choice, api):
    """The piece of text in a choice of a chunk (str)."""
    return (choice.delta.content if api == "chat" else choice.text) or ""


def ask(client, params, check):
    """One question: dict of the RETURN block's answers."""
    begin = time.monotonic()
    pieces, arrivals, models, counted, finish_reason = [], [], set(), None, None
    for chunk in chunks(client, params, check):
        if chunk.model:
            models.add(chunk.model)
        # A chunk that only counts has no choice.
        for choice in chunk.choices or ():
            piece = text_of(choice, params["api"])
            if piece:
                pieces.append(piece)
                arrivals.append(time.monotonic())
            finish_reason = choice.finish_reason or finish_reason
        if chunk.usage:
            counted = chunk.usage.completion_tokens
    answer, tokens = "".join(pieces), len(pieces) if counted is None else counted
    return dict(
        {"prompt": check["prompt"], "answer": answer, "expect": check["expect"], "finish_reason": finish_reason},
        models=sorted(models),
        tokens=tokens,
        verdicts=verdicts(check, answer, finish_reason, models, params["model"]),
        **rates(begin, arrivals, tokens),
    )


def told(error):
    """What an error says, with its cause, which the client's own errors leave out (str)."""
    return f"{error} {error.__cause__ or ''}".strip()


def cut(error, params):
    """The Problem of an answer that ended in an error."""
    return Problem(
        f"{place(params)} does not bring its answer to an end",
        f"{type(error).__name__}: {told(error)}",
        "the service, or what stands before it, broke off: the server's log tells more, docker logs on the host",
        "answer_cut",
    )


def refused(error, params):
    """The Problem behind an error of the openai client."""
    where, evidence = place(params), told(error)
    if isinstance(error, openai.APIStatusError):
        remedy = "read the answer above; the server's log tells more: docker logs on the host"
        if error.status_code in (401, 403):
            remedy = "NIM checks no key, so a gateway does: give one that it accepts as api_key"
        answer = f"HTTP {error.status_code} {error.message}"
        return told_of(f"{where} refuses the question", explain(answer), answer, "http_error", remedy)
    if "CERTIFICATE_VERIFY_FAILED" in evidence:
        return Problem(
            f"{where} shows a certificate that the control node does not trust",
            evidence,
            "give the certificate of the authority that signed it as ca_path, and the name in it in the address",
            "certificate_untrusted",
        )
    if isinstance(error, openai.APIConnectionError):
        return Problem(
            f"{where} does not answer the control node",
            evidence,
            "the service is ready on its own host, so check the way to it: address, firewall, nim_verify_address",
            "endpoint_unreachable",
        )
    return cut(error, params)


def verify(params, dry=False):
    """All questions and what comes of them: (answers, list of dict; what is wrong, list of Problem). Raises nothing.

    dry: whether to look at the questions alone, and to ask none (bool).
    """
    answers, checks = [], params["checks"] or [ANY_ANSWER]
    try:
        for check in checks:
            expectation(check)
            if check["reject"]:
                expectation(check, "reject")
    except Problem as problem:
        return answers, [problem]
    return answers, [] if dry else prove(params, checks, answers)


def prove(params, checks, answers):
    """Asks all questions, adds to answers, and returns what is wrong, a list of Problem."""
    where = f"{params['base_url']} (model {params['model']})"
    try:
        client = connect(params)
        other = unserved(served(client, params), params["model"], where)
        if other:
            return [other]
        for check in checks:
            for _sample in range(max(params["samples"], 1)):
                answers.append(ask(client, params, check))
    except Problem as problem:
        return problems(answers, where) + [problem]
    except openai.OpenAIError as error:
        return problems(answers, where) + [refused(error, params)]
    late = slower(median_ttft(answers), params["reference_ttft_seconds"], params["max_ttft_ratio"], where)
    return problems(answers, where) + ([late] if late else [])
