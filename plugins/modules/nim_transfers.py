#!/usr/bin/python
# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: nim_transfers
short_description: Wait for images and weights that are on their way
version_added: 0.1.0
author: The llmops.nim authors (@llmops)
description:
  - Waits until all transfers are over that M(llmops.nim.nim_image) and M(llmops.nim.lfs_snapshot) have begun without
    waiting. They go on side by side, and on all hosts, however few of these are waited for at a time.
  - As soon as one has failed it fails with the cause and the remedy of that one. The others go on.
  - It asks the host again and again, by calls of at most O(patience) seconds, so that no connection has to last as long
    as a transfer. Between them the callback P(llmops.nim.nim_progress#callback) is told how far the transfers are.
  - Whether what they brought is right, the modules that have begun them say when they are called again.
extends_documentation_fragment:
  - llmops.nim.transfer
attributes:
  action:
    support: full
    description: The calls are repeated on the control node.
  check_mode:
    support: full
    description: It changes nothing in either mode.
  diff_mode:
    support: none
    description: It changes nothing.
  idempotent:
    support: full
    description: It changes nothing.
options:
  transfers:
    description: Their names, as the modules that have begun them return them.
    type: list
    elements: str
    required: true
  patience:
    description: The number of seconds after which a call returns in any case. The first calls return sooner.
    type: int
    default: 10
notes:
  - Needs Linux.
seealso:
  - module: llmops.nim.lfs_snapshot
  - module: llmops.nim.nim_image
"""

EXAMPLES = r"""
- name: Begin to fetch the weights
  llmops.nim.lfs_snapshot:
    repo: nvidia/OpenMath2-Llama3.1-8B
    token: "{{ lookup('ansible.builtin.env', 'HF_TOKEN') }}"
    wait: false
  register: weights

- name: Begin to pull the image meanwhile
  llmops.nim.nim_image:
    images: ["{{ ngc_images.images['nvcr.io/nim/meta/llama-3.2-1b-instruct:1.8.4'].pinned }}"]
    api_key: "{{ ngc_api_key }}"
    wait: false
  register: image

- name: Wait for both
  llmops.nim.nim_transfers:
    transfers: "{{ [weights, image] | selectattr('transfer', 'defined') | map(attribute='transfer') }}"
"""

RETURN = r"""
over:
  description: Whether all are over.
  type: bool
  returned: success
transfers:
  description: What is known of each.
  type: list
  elements: dict
  returned: always
  contains:
    name:
      description: Its name.
      type: str
    what:
      description: What it brings.
      type: str
      sample: weights lab/Llama-3.2-1B-capitals at 0a4c7e01b2d9c3f4a5b6c7d8e9f0011223344556
    over:
      description: Whether it is over.
      type: bool
    begun:
      description: When it was begun, in UTC.
      type: str
    ended:
      description: When it was over, in UTC, or null.
      type: str
    phase:
      description: >-
        Where it is, or null. Of weights V(fetching) or V(proving), of images V(fetching) or V(unpacking), and at the
        end V(published) or V(failed).
      type: str
    bytes:
      description: How many bytes are there, or null.
      type: int
    total:
      description: How many there will be, or null.
      type: int
    rate:
      description: Bytes a second of late, or null.
      type: float
    seconds_left:
      description: How many seconds it takes still at this rate, or null.
      type: int
    problems:
      description: What stands in its way, each like RV(problem).
      type: list
      elements: dict
    warnings:
      description: What is to be known besides.
      type: list
      elements: str
problem:
  description: What stands in the way, with C(what), C(evidence), C(remedy), C(code) and C(source).
  type: dict
  returned: failure
"""

import time

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.llmops.nim.plugins.module_utils import _transfers
from ansible_collections.llmops.nim.plugins.module_utils._problem import Problem, report

ARGUMENTS = {
    "transfers": {"type": "list", "elements": "str", "required": True},
    "patience": {"type": "int", "default": 10},
    **_transfers.ARGUMENT_SPEC,
}
STEP = 0.2  # seconds


def look(wanted):
    """What is known of the transfers (list of dict), once all are over, one has failed or patience is at its end."""
    end = time.monotonic() + wanted["patience"]
    while True:
        heard = [_transfers.hear(wanted["transfers_dir"], name) for name in wanted["transfers"]]
        if all(one["over"] for one in heard) or any(one["problems"] for one in heard) or time.monotonic() >= end:
            return heard
        time.sleep(STEP)


def main():
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)
    heard = look(module.params)
    for warning in (warning for one in heard for warning in one["warnings"]):
        module.warn(warning)
    failed = [one for one in heard if one["problems"]]
    if failed:
        told = [report([Problem(**problem) for problem in one["problems"]]) for one in failed]
        message = "\n".join(f"{one['what']}:\n{text}" for one, text in zip(failed, told))
        module.fail_json(msg=message, problem=failed[0]["problems"][0], transfers=heard)
    module.exit_json(changed=False, over=all(one["over"] for one in heard), transfers=heard)


if __name__ == "__main__":
    main()
