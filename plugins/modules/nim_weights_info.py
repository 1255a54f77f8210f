#!/usr/bin/python
# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: nim_weights_info
short_description: Ask a hub which commits revisions of weights mean
version_added: 0.1.0
author: The llmops.nim authors (@llmops)
description:
  - Looks up branches and tags of hub repositories, so that a run can give the same commit to all its hosts.
  - Asks with C(git ls-remote), or with the same request in plain HTTP where git is not installed.
extends_documentation_fragment:
  - llmops.nim.reads_only
options:
  weights:
    description: The repositories and revisions. One that occurs twice is asked about once.
    type: list
    elements: dict
    required: true
    suboptions:
      repo:
        description: The repository, as C(organisation/name).
        type: str
        required: true
      revision:
        description: A branch, a tag or a commit. A commit (40 hex digits) is not asked about.
        type: str
        default: main
  endpoint:
    description: The address of the hub.
    type: str
    default: https://huggingface.co
  token:
    description: The token for repositories that are gated or private. It is given to the address in O(endpoint) only.
    type: str
"""

EXAMPLES = r"""
- name: Ask which commits the revisions mean
  llmops.nim.nim_weights_info:
    weights:
      - {repo: nvidia/OpenMath2-Llama3.1-8B, revision: main}
    token: "{{ lookup('ansible.builtin.env', 'HF_TOKEN') }}"
  register: weights_revisions

- name: Show the commit
  ansible.builtin.debug:
    msg: "{{ weights_revisions.commits['nvidia/OpenMath2-Llama3.1-8B@main'] }}"
"""

RETURN = r"""
commits:
  description: The commit (40 hex digits) by C(repo@revision).
  type: dict
  returned: success
  sample: {"nvidia/OpenMath2-Llama3.1-8B@main": "0a4c7e01b2d9c3f4a5b6c7d8e9f0011223344556"}
problems:
  description: What stands in the way, each with C(code), C(what), C(evidence), C(remedy) and C(source).
  type: list
  elements: dict
  returned: failure
problem:
  description: The first of RV(problems).
  type: dict
  returned: failure
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.llmops.nim.plugins.module_utils import _hub
from ansible_collections.llmops.nim.plugins.module_utils._problem import Problem, report

ARGUMENT_SPEC = {
    "weights": {
        "type": "list",
        "elements": "dict",
        "required": True,
        "options": {
            "repo": {"type": "str", "required": True},
            "revision": {"type": "str", "default": "main"},
        },
    },
    "endpoint": {"type": "str", "default": _hub.HUB},
    "token": {"type": "str", "no_log": True},
}


def main():
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    endpoint, token = module.params["endpoint"], module.params["token"]
    commits, problems = {}, []
    for repo, revision in sorted({(one["repo"], one["revision"]) for one in module.params["weights"]}):
        try:
            commits[f"{repo}@{revision}"] = _hub.resolve(module.run_command, endpoint, repo, revision, token)
        except Problem as problem:
            problems.append(problem)
    if problems:
        told = [problem.as_dict() for problem in problems]
        module.fail_json(msg=report(problems), problem=told[0], problems=told)
    module.exit_json(changed=False, commits=commits)


if __name__ == "__main__":
    main()
