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
  - Sends each question to an OpenAI-compatible endpoint, streaming, and fails when an answer does not match what is
    expected. An HTTP 200 alone proves nothing.
  - Meant to run on the control node, C(delegate_to=localhost), so that the way to the endpoint is proven as well.
requirements:
  - openai >= 1.0
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
      max_tokens:
        description: Length of the answer in tokens at most.
        type: int
        default: 64
  api_key:
    description: Bearer token, where a gateway wants one. NIM itself checks none.
    type: str
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
    tokens:
      description: Tokens of the answer, as the server counts them; pieces of the stream where it does not.
      type: int
    ttft_seconds:
      description: Time to first token, in seconds.
      type: float
    tokens_per_second:
      description: Tokens per second after the first, or null when too few came to tell.
      type: float
problem:
  description: What stands in the way, with C(what), C(evidence), C(remedy), C(code) and C(source).
  returned: failure
  type: dict
"""

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

from ansible_collections.llmops.nim.plugins.module_utils._answers import ANY_ANSWER, expectation, judge, rates
from ansible_collections.llmops.nim.plugins.module_utils._models import MODEL_OPTIONS
from ansible_collections.llmops.nim.plugins.module_utils._problem import Problem


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


def text_of(chunk, api):
    """The piece of text in a chunk (str), empty for a chunk that only counts."""
    if not chunk.choices:
        return ""
    return (chunk.choices[0].delta.content if api == "chat" else chunk.choices[0].text) or ""


def ask(client, params, check):
    """One question: dict of the RETURN block's answers."""
    begin = time.monotonic()
    pieces, arrivals, counted = [], [], None
    for chunk in stream(client, params, check):
        piece = text_of(chunk, params["api"])
        if piece:
            pieces.append(piece)
            arrivals.append(time.monotonic())
        if chunk.usage:
            counted = chunk.usage.completion_tokens
    tokens = len(pieces) if counted is None else counted
    return dict(
        {"prompt": check["prompt"], "answer": "".join(pieces), "expect": check["expect"], "tokens": tokens},
        **rates(begin, arrivals, tokens),
    )


def refused(error, params):
    """The Problem behind an error of the openai client."""
    where = f"{params['base_url']} (model {params['model']}, {params['api']} endpoint)"
    if isinstance(error, openai.APIStatusError):
        remedy = "read the answer above; the server's log tells more: docker logs on the host"
        if "chat template" in str(error):
            remedy = (
                "the weights have no chat template: ask the completions endpoint, or add one to tokenizer_config.json"
            )
        return Problem(
            f"{where} refuses the question", f"HTTP {error.status_code} {error.message}", remedy, "http_error"
        )
    return Problem(
        f"{where} does not answer the control node",
        f"{error} {error.__cause__ or ''}".strip(),
        "the service is ready on its own host, so check the way to it: address, firewall, nim_verify_address",
        "endpoint_unreachable",
    )


def main():
    module = AnsibleModule(
        argument_spec={
            "base_url": {"type": "str", "required": True},
            "model": {"type": "str", "required": True},
            "api": {"type": "str", "choices": ["completions", "chat"], "default": "completions"},
            "checks": {
                "type": "list",
                "elements": "dict",
                "default": [],
                "options": MODEL_OPTIONS["verify"]["options"],
            },
            "api_key": {"type": "str", "no_log": True},
            "timeout": {"type": "int", "default": 120},
        },
        supports_check_mode=True,
    )
    if openai is None:
        module.fail_json(msg=missing_required_lib("openai"), exception=OPENAI_ERROR)
    params, answers = module.params, []
    checks = params["checks"] or [ANY_ANSWER]
    try:
        for check in checks:
            expectation(check)
        if not module.check_mode:
            client = openai.OpenAI(
                base_url=params["base_url"],
                api_key=params["api_key"] or "none",
                timeout=params["timeout"],
                max_retries=0,
            )
            for check in checks:
                answers.append(ask(client, params, check))
            judge(answers, f"{params['base_url']} (model {params['model']})")
    except openai.OpenAIError as error:
        problem = refused(error, params)
        module.fail_json(msg=str(problem), problem=problem.as_dict(), answers=answers)
    except Problem as problem:
        module.fail_json(msg=str(problem), problem=problem.as_dict(), answers=answers)
    module.exit_json(changed=False, answers=answers)


if __name__ == "__main__":
    main()
