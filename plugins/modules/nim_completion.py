#!/usr/bin/python
# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

# Documentation alone: the action plugin of this name does it all.

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
  - Runs on the control node, wherever the task is delegated to, so that the way to the endpoint is proven as well.
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

- name: Verify through the gateway that the model is not slower than it was
  llmops.nim.nim_completion:
    base_url: https://gateway:8443/v1
    model: openmath2
    api_key: "{{ gateway_api_keys | first }}"
    ca_path: /etc/ssl/gateway_ca.pem
    samples: 5
    reference_ttft_seconds: 0.042
    max_ttft_ratio: 2
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
