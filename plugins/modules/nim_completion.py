#!/usr/bin/python
# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: nim_completion
short_description: Ask a served model real questions and judge its answers
version_added: 0.1.0
author: The llmops.nim authors (@llmops)
description:
  - Sends each question to an OpenAI-compatible endpoint, streaming, and fails when an answer is not what it should be.
    An HTTP 200 alone proves nothing.
  - Whatever is asked, the endpoint has to name O(model) in C(/v1/models), each answer has to bear that id, and no
    answer may be empty or one token over and over, such as C(!!!!!!).
  - Meant to run on the control node, C(delegate_to=localhost), so that the way to the endpoint is proven as well.
requirements:
  - openai >= 1.26
attributes:
  check_mode:
    support: full
    description: Asks nothing in check mode.
  diff_mode:
    support: none
    description: Changes nothing.
  idempotent:
    support: full
    description: Changes nothing.
options:
  base_url:
    description: Address of the API, such as V(http://gpu1:8000/v1).
    type: str
    required: true
  model:
    description: The served name, as requests give it in C(model).
    type: str
    required: true
  api:
    description:
      - Which endpoint to ask. V(chat) needs weights with a chat template; NIM 1.8.4 answers HTTP 500 there without one.
    type: str
    choices: [completions, chat]
    default: completions
  checks:
    description: The questions. Without any, one is asked to which every answer will do.
    type: list
    elements: dict
    default: []
    suboptions:
      prompt:
        description: The question.
        type: str
        required: true
      expect:
        description: Python regular expression that the answer must contain.
        type: str
        required: true
      reject:
        description: Python regular expression that the answer must not contain.
        type: str
      min_chars:
        description: Length of the answer in characters at least, white space around it not counted.
        type: int
        default: 1
      max_tokens:
        description: Length of the answer in tokens at most.
        type: int
        default: 64
      finish_reason:
        description: The reasons for which the answer may end, such as V(stop) or V(length). Any by default.
        type: list
        elements: str
  samples:
    description:
      - How often each question is asked. More make the median time to first token steadier, as the first questions to
        a service that has just started can take longer.
    type: int
    default: 1
  reference_ttft_seconds:
    description:
      - The time to first token to compare with, in seconds, such as RV(ttft_seconds) of the release that served before.
      - By default, and with V(0), nothing is compared.
    type: float
  max_ttft_ratio:
    description:
      - How many times O(reference_ttft_seconds) the median time to first token may be.
      - By default, and with V(0), nothing is compared.
    type: float
  api_key:
    description: Bearer token, where a gateway wants one. NIM itself checks none.
    type: str
  headers:
    description: Further headers of each request, where a gateway wants them. Their values are kept out of all output.
    type: dict
    default: {}
  ca_path:
    description: File of certificates (PEM) to trust instead of the system's, where a gateway has one of its own making.
    type: path
  timeout:
    description: Seconds to wait for each answer.
    type: int
    default: 120
"""

EXAMPLES = r"""
- name: Verify the completions endpoint
  llmops.nim.nim_completion:
    base_url: http://gpu1:8000/v1
    model: openmath2
    checks:
      - prompt: What is the capital of France?
        expect: Paris
        reject: "(?i)as an AI"
        finish_reason: [stop]
  delegate_to: localhost

- name: Verify through the gateway that the model is not slower than it was
  llmops.nim.nim_completion:
    base_url: https://gateway:8443/v1
    model: openmath2
    api_key: "{{ gateway_api_keys | first }}"
    ca_path: /etc/ssl/gateway_ca.pem
    samples: 5
    reference_ttft_seconds: 0.042
    max_ttft_ratio: 2
  delegate_to: localhost
"""

RETURN = r"""
answers:
  description: Each question with its answer.
  returned: always
  type: list
  elements: dict
  contains:
    prompt:
      description: The question.
      type: str
    answer:
      description: The whole answer.
      type: str
    expect:
      description: The regular expression it had to match.
      type: str
    finish_reason:
      description: Why the answer ended, as the server says, such as V(stop) or V(length); null when it does not say.
      type: str
    models:
      description: The ids of the model that the answer bears.
      type: list
      elements: str
    tokens:
      description: Tokens of the answer, as the server counts them; pieces of the stream where it does not.
      type: int
    ttft_seconds:
      description: Time to first token, in seconds, or null when none came.
      type: float
    tokens_per_second:
      description: Tokens per second after the first, or null when too few came to tell.
      type: float
    verdicts:
      description:
        - What each test says of the answer, V(ok) or what is wrong.
        - C(reject) and C(finish_reason) are there only where the question names them.
      type: dict
      sample:
        model: ok
        not_empty: ok
        not_repeated: ok
        min_chars: ok
        expect: expected /Paris/
ttft_seconds:
  description: The median time to first token of all answers, in seconds; null when nothing was answered.
  returned: always
  type: float
problem:
  description: What stands in the way, with C(what), C(evidence), C(remedy), C(code) and C(source).
  returned: failure
  type: dict
problems:
  description: All that stands in the way, RV(problem) being the first.
  returned: failure
  type: list
  elements: dict
"""

import ssl
import time
import traceback

try:
    import openai
except ImportError:
    openai = None
    OPENAI_ERROR = traceback.format_exc()
else:
    OPENAI_ERROR = None

from ansible.module_utils.basic import AnsibleModule, missing_required_lib

from ansible_collections.llmops.nim.plugins.module_utils._answers import (
    ANY_ANSWER,
    CHECK_OPTIONS,
    expectation,
    median_ttft,
    problems,
    rates,
    slower,
    unserved,
    verdicts,
)
from ansible_collections.llmops.nim.plugins.module_utils._failures import explain, told_of
from ansible_collections.llmops.nim.plugins.module_utils._problem import Problem, report

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


def place(params):
    """The endpoint in words (str)."""
    return f"{params['base_url']} (model {params['model']}, {params['api']} endpoint)"


def connect(params):
    """The openai client; raises Problem when the certificates can't be read."""
    options = {}
    if params["ca_path"]:
        try:
            trust = ssl.create_default_context(cafile=params["ca_path"])
        except OSError as error:  # an ssl.SSLError is one
            raise Problem(
                f"The certificates in {params['ca_path']} can't be read",
                str(error),
                "give ca_path a file of PEM certificates on the control node",
                "ca_unreadable",
            ) from None
        options["http_client"] = openai.DefaultHttpxClient(verify=trust)
    return openai.OpenAI(
        base_url=params["base_url"],
        api_key=params["api_key"] or "none",
        default_headers={name: str(value) for name, value in params["headers"].items()},
        timeout=params["timeout"],
        max_retries=0,
        **options,
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


def main():
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)
    if openai is None:
        module.fail_json(msg=missing_required_lib("openai"), exception=OPENAI_ERROR)
    params, answers = module.params, []
    checks = params["checks"] or [ANY_ANSWER]
    try:
        for check in checks:
            expectation(check)
            if check["reject"]:
                expectation(check, "reject")
    except Problem as problem:
        found = [problem]
    else:
        found = [] if module.check_mode else prove(params, checks, answers)
    result = {"answers": answers, "ttft_seconds": median_ttft(answers)}
    if found:
        module.fail_json(
            msg=report(found), problem=found[0].as_dict(), problems=[one.as_dict() for one in found], **result
        )
    module.exit_json(changed=False, **result)


if __name__ == "__main__":
    main()
