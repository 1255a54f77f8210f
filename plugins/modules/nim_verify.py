#!/usr/bin/python
# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

# Documentation alone: the action plugin of this name does it all.

from __future__ import annotations

DOCUMENTATION = r"""
module: nim_verify
short_description: Verify the endpoints of a whole fleet at once
version_added: 0.1.0
author: The llmops.nim authors (@llmops)
description:
  - Asks many endpoints what M(llmops.nim.nim_completion) asks of one, side by side and in one call, so that fifty
    servers cost little more than one. Fails when any answer is not what it should be, after all were asked, and tells
    everything that is wrong.
  - Runs on the control node, wherever the task is delegated to, so that the ways to the endpoints are proven as well.
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
  endpoints:
    description:
      - The endpoints. Each has O(llmops.nim.nim_completion#module:base_url), O(llmops.nim.nim_completion#module:model)
        and, where wished, O(llmops.nim.nim_completion#module:api), O(llmops.nim.nim_completion#module:checks) and
        O(llmops.nim.nim_completion#module:timeout), as that module takes them.
      - C(host) (a name) tells in the output whose endpoint it is, and with C(gateway=true) the endpoint is asked with
        O(api_key) and O(ca_path).
    type: list
    elements: dict
    required: true
  api_key:
    description: Bearer token, where gateways want one.
    type: str
  ca_path:
    description: File of certificates (PEM) to trust instead of the system's, where gateways have their own.
    type: path
  parallel:
    description: How many endpoints are asked at once.
    type: int
    default: 32
"""

EXAMPLES = r"""
- name: Verify two endpoints
  llmops.nim.nim_verify:
    endpoints:
      - host: gpu1
        base_url: http://gpu1:8000/v1
        model: openmath2
        checks:
          - prompt: What is the capital of France?
            expect: Paris
      - host: gateway
        base_url: https://gateway:8443/v1
        model: openmath2
        gateway: true
    api_key: "{{ gateway_api_keys | first }}"
    ca_path: /etc/ssl/gateway_ca.pem
  run_once: true
"""

RETURN = r"""
results:
  description: What each endpoint said, in the order of O(endpoints).
  returned: always
  type: list
  elements: dict
  contains:
    host:
      description: Whose endpoint it is.
      type: str
    base_url:
      description: Where it was asked.
      type: str
    answers:
      description: As RV(llmops.nim.nim_completion#module:answers).
      type: list
      elements: dict
    ttft_seconds:
      description: The median time to first token of its answers, in seconds; null when nothing was answered.
      type: float
    problems:
      description: All that is wrong, each with C(what), C(evidence), C(remedy), C(code) and C(source).
      type: list
      elements: dict
    msg:
      description: The same in words, or empty.
      type: str
"""
