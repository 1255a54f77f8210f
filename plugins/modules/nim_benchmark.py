#!/usr/bin/python
# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: nim_benchmark
short_description: Measure an endpoint under load, with NVIDIA's AIPerf
version_added: 0.1.0
author: The llmops.nim authors (@llmops)
description:
  - Runs AIPerf once for each number of clients, the smallest first, and returns times and rates.
  - A step in which requests fail ends the sweep. What was measured until then is returned, and what was not is named.
  - Meant to run on the control node, C(delegate_to=localhost), or wherever the clients are.
requirements:
  - aiperf 0.13.0, in a virtual environment of its own
attributes:
  check_mode:
    support: full
    description: Measures nothing in check mode.
  diff_mode:
    support: none
    description: Changes nothing.
  idempotent:
    support: full
    description: Changes nothing.
options:
  aiperf:
    description: The command.
    type: path
    default: aiperf
  base_url:
    description: Address of the API, such as V(http://gpu1:8000/v1).
    type: str
    required: true
  model:
    description: The served name, as requests give it in C(model).
    type: str
    required: true
  api:
    description: Which endpoint to ask.
    type: str
    choices: [completions, chat]
    default: completions
  tokenizer:
    description:
      - Folder with the tokenizer's files, with which AIPerf makes prompts of a length. The code that some tokenizers
        bring along is not run.
    type: path
    required: true
  concurrency:
    description: How many clients ask at the same time, in each step.
    type: list
    elements: int
    default: [1, 4, 16, 64]
  requests:
    description: How many requests each step sends at least. Each client sends four at least.
    type: int
    default: 100
  input_tokens:
    description: Length of each prompt in tokens.
    type: int
    default: 512
  output_tokens:
    description: Length of each answer in tokens at most.
    type: int
    default: 128
  extra_inputs:
    description: >-
      What each request has besides, such as V({"ignore_eos": true}), by which engines that know it make each answer as
      long as it may be.
    type: dict
    default: {}
  api_key:
    description: Bearer token, where a gateway wants one. It reaches AIPerf by its environment.
    type: str
  ca_path:
    description: File of certificates (PEM) to trust instead of the system's.
    type: path
  request_timeout:
    description: Seconds after which a request counts as failed.
    type: int
    default: 600
  step_timeout:
    description: Seconds after which a step is given up.
    type: int
    default: 3600
"""

EXAMPLES = r"""
- name: Measure an endpoint
  llmops.nim.nim_benchmark:
    aiperf: ~/.cache/llmops.nim/aiperf/bin/aiperf
    base_url: http://gpu1:8000/v1
    model: openmath2
    tokenizer: /tmp/tokenizer
    concurrency: [1, 8]
  delegate_to: localhost
"""

RETURN = r"""
measured:
  description: What was measured.
  returned: always
  type: dict
  contains:
    tool:
      description: AIPerf with its version; null where it has measured nothing.
      type: str
    api:
      description: As O(api).
      type: str
    input_tokens:
      description: As O(input_tokens).
      type: int
    output_tokens:
      description: As O(output_tokens).
      type: int
    extra_inputs:
      description: As O(extra_inputs).
      type: dict
    steps:
      description: >-
        A dictionary for each step that was measured: C(concurrency), C(requests) and C(failed); C(seconds); C(ttft_ms)
        (time to first token), C(itl_ms) (from token to token) and C(latency_ms) (of a whole request), each with C(p50),
        C(p90) and C(p99) in milliseconds, or null where no request succeeded; C(output_tokens_per_second) and
        C(requests_per_second) of all clients together; C(input_tokens) and C(output_tokens), the mean of a request as
        the server counts; and C(errors), a list.
      type: list
      elements: dict
    missing:
      description: The numbers of clients for which nothing was measured.
      type: list
      elements: int
problem:
  description: What stands in the way, with C(what), C(evidence), C(remedy), C(code) and C(source).
  returned: failure
  type: dict
"""

import tempfile

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.llmops.nim.plugins.module_utils import _aiperf
from ansible_collections.llmops.nim.plugins.module_utils._problem import Problem


def refuse(params):
    """Raise Problem where the options cannot be measured by."""
    wrong = [name for name in ("requests", "input_tokens", "output_tokens") if params[name] < 1]
    wrong += ["concurrency"] if not params["concurrency"] or min(params["concurrency"]) < 1 else []
    wrong += ["base_url"] if not params["base_url"].rstrip("/").endswith("/v1") else []
    if wrong:
        raise Problem(
            "This cannot be measured.",
            ", ".join(f"{name}: {params[name]}" for name in wrong),
            "Give numbers that are 1 or more, and an address that ends in /v1.",
            "benchmark_invalid",
        )


def sweep(params, measured):
    """Measure each step into measured; raises Problem where one fails, which ends the sweep."""
    for clients in list(measured["missing"]):
        with tempfile.TemporaryDirectory(prefix="nim-benchmark-") as folder:
            version, step = _aiperf.measure(params, clients, folder)
        measured["tool"] = f"AIPerf {version}"
        measured["steps"].append(step)
        measured["missing"].remove(clients)
        if step["failed"] or not step["requests"]:
            raise Problem(
                f"With {clients} clients, {step['failed']} of {step['requests']} requests failed.",
                "\n".join(step["errors"]),
                "See whether the model still serves: playbooks/diagnose.yml. If it was too much, name fewer clients.",
                "benchmark_failed",
            )


def main():
    module = AnsibleModule(argument_spec=_aiperf.ARGUMENTS, supports_check_mode=True)
    params = module.params
    measured = dict(
        {key: params[key] for key in _aiperf.LOAD}, tool=None, steps=[], missing=sorted(set(params["concurrency"]))
    )
    try:
        refuse(params)
        if not module.check_mode:
            sweep(params, measured)
    except Problem as problem:
        module.fail_json(msg=str(problem), problem=problem.as_dict(), measured=measured)
    module.exit_json(changed=False, measured=measured)


if __name__ == "__main__":
    main()
