#!/usr/bin/python
# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: nim_weights_info
short_description: Ask a hub which commits revisions of weights mean, and what the checkpoints are
version_added: 0.1.0
author: The llmops.nim authors (@llmops)
description:
  - Looks up branches and tags of hub repositories, so that a run can give the same commit to all its hosts.
  - Asks with C(git ls-remote), or with the same request in plain HTTP where git is not installed.
  - Reads each checkpoint before anything is fetched, over the hub's HTTP API, which needs no git. Read are the list of
    files, a few small JSON files and the headers of the safetensors files, no weights. What would keep the model from
    being served is returned, and does not make the module fail.
extends_documentation_fragment:
  - llmops.nim.reads_only
  - llmops.nim.selection
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
  allow_pickle:
    description:
      - Repositories whose weights may be pickles, where they have no others. A pickle runs code when it is read.
    type: list
    elements: str
    default: []
  checkpoints:
    description:
      - Whether to read the checkpoints as well.
      - A hub without that HTTP API, or one that cannot be reached, is a warning in RV(checkpoints). A commit as
        revision can so be resolved without a hub.
    type: bool
    default: true
notes:
  - The environment variables C(https_proxy), C(no_proxy) and C(SSL_CERT_FILE) are respected.
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

- name: Stop where a checkpoint cannot be served
  ansible.builtin.assert:
    that: item.value.problems | length == 0
    fail_msg: "{{ item.value.problems }}"
  loop: "{{ weights_revisions.checkpoints | dict2items }}"
  loop_control:
    label: "{{ item.key }}"
"""

RETURN = r"""
commits:
  description: The commit (40 hex digits) by C(repo@revision).
  type: dict
  returned: success
  sample: {"nvidia/OpenMath2-Llama3.1-8B@main": "0a4c7e01b2d9c3f4a5b6c7d8e9f0011223344556"}
snapshots:
  description:
    - The same, each C(repo@commit) once, as M(llmops.nim.gpu_host_info) takes them. With O(include) or O(exclude) the
      name of the snapshot stands in the place of the commit.
  type: list
  elements: str
  returned: success
  sample: ["nvidia/OpenMath2-Llama3.1-8B@0a4c7e01b2d9c3f4a5b6c7d8e9f0011223344556"]
selection:
  description:
    - What the name of a snapshot has behind the commit, by which those with other O(include) or O(exclude) are told
      apart. Empty by default.
  type: str
  returned: success
  sample: "-0a1b2c3d"
checkpoints:
  description:
    - What is known of each checkpoint, by C(repo@revision). What its files do not tell is null. Empty without
      O(checkpoints).
  type: dict
  returned: success
  contains:
    repo:
      description: The repository.
      type: str
    commit:
      description: The commit (40 hex digits).
      type: str
    read:
      description: Whether it could be read. If not, all facts are null, and RV(checkpoints) has a warning or a problem.
      type: bool
    problems:
      description: What keeps it from being served, or read, each like one of RV(problems).
      type: list
      elements: dict
    warnings:
      description: What is doubtful about it, each like one of RV(problems).
      type: list
      elements: dict
    architecture:
      description: The first of the architectures in C(config.json).
      type: str
      sample: LlamaForCausalLM
    model_type:
      description: The model type in C(config.json).
      type: str
      sample: llama
    dtype:
      description: The type of the weights as C(config.json) gives it, else that of most tensors.
      type: str
      sample: bfloat16
    precision:
      description: The same as profiles call it, V(bf16), V(fp16) or V(fp8). Null for other types.
      type: str
      sample: bf16
    quantization:
      description: The quantisation method in C(config.json) or C(hf_quant_config.json).
      type: str
    parameters:
      description:
        - The number of parameters, by the tensors' shapes. By C(config.json) where tensors are packed, or far too
          few for it. Null where neither tells.
      type: int
      sample: 1235814400
    max_position_embeddings:
      description: The longest context in tokens.
      type: int
      sample: 131072
    vocab_size:
      description: The number of tokens in C(config.json).
      type: int
      sample: 128256
    embedding_rows:
      description: The number of rows of the embedding matrix.
      type: int
      sample: 128256
    layers:
      description: The number of layers.
      type: int
      sample: 16
    attention_heads:
      description: The number of attention heads of a layer.
      type: int
      sample: 32
    kv_heads:
      description: The number of key-value heads of a layer.
      type: int
      sample: 8
    head_dim:
      description: The size of a head.
      type: int
      sample: 64
    hidden_size:
      description: The hidden size.
      type: int
      sample: 2048
    kv_bytes_per_token:
      description:
        - The bytes of 16-bit KV cache that a token takes, all GPUs together. Null where layers or tokens differ in
          it, as with sliding windows and latent attention.
      type: int
      sample: 32768
    has_chat_template:
      description: Whether there is a chat template, without which there are no chat completions.
      type: bool
    custom_code:
      description: Whether the checkpoint brings Python code (C(auto_map)).
      type: bool
    adapter_only:
      description: Whether it is a LoRA adapter without its base model.
      type: bool
    format:
      description: One of V(huggingface), V(trtllm_checkpoint), V(trtllm_engine) and V(adapter), or null.
      type: str
      sample: huggingface
    weight_files:
      description: The number of weight files.
      type: int
      sample: 2
    weight_bytes:
      description: The size of the weight files in bytes.
      type: int
      sample: 2471645608
    bytes:
      description: The size in bytes of all files that are wanted.
      type: int
      sample: 2488922340
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

from ansible_collections.llmops.nim.plugins.module_utils import _checkpoint_remote, _hub, _selection
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
    **_selection.ARGUMENT_SPEC,
    "allow_pickle": {"type": "list", "elements": "str", "default": []},
    "checkpoints": {"type": "bool", "default": True},
}


def read(commits, params, selection):
    """What _checkpoint_remote.read() says of each of commits (repo@revision -> commit), each asked about once."""
    found = {}
    for key, commit in commits.items():
        repo = key.partition("@")[0]
        if (repo, commit) not in found:
            pickle = repo in params["allow_pickle"]
            found[repo, commit] = _checkpoint_remote.read(
                params["endpoint"], repo, commit, params["token"], selection, pickle
            )
    return {key: found[key.partition("@")[0], commit] for key, commit in commits.items()}


def main():
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    endpoint, token = module.params["endpoint"], module.params["token"]
    commits, problems, selection = {}, [], None
    try:
        selection = _selection.Selection(module.params["include"], module.params["exclude"])
    except Problem as problem:
        problems.append(problem)
    for repo, revision in sorted({(one["repo"], one["revision"]) for one in module.params["weights"]}):
        try:
            commits[f"{repo}@{revision}"] = _hub.resolve(module.run_command, endpoint, repo, revision, token)
        except Problem as problem:
            problems.append(problem)
    if problems:
        told = [problem.as_dict() for problem in problems]
        module.fail_json(msg=report(problems), problem=told[0], problems=told)
    checkpoints = read(commits, module.params, selection) if module.params["checkpoints"] else {}
    snapshots = sorted({f"{key.partition('@')[0]}@{commit}{selection.suffix}" for key, commit in commits.items()})
    module.exit_json(
        changed=False, commits=commits, snapshots=snapshots, selection=selection.suffix, checkpoints=checkpoints
    )


if __name__ == "__main__":
    main()
