# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""The one shared input, documented. A unit test holds it equal to MODEL_OPTIONS in module_utils/_models.py."""

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  models:
    description: The models of the host, C(nim_models) in an inventory.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description:
          - Name of the deployment. It becomes a directory under C(/var/lib/nim) and part of the container's name.
        type: str
        required: true
      image:
        description: The NIM image, with a tag or digest, such as V(nvcr.io/nim/meta/llama-3.2-1b-instruct:1.8.4).
        type: str
        required: true
      weights:
        description: The fine-tuned weights on the hub.
        type: dict
        required: true
        suboptions:
          repo:
            description: The repository, such as V(nvidia/OpenMath2-Llama3.1-8B).
            type: str
            required: true
          revision:
            description: Branch, tag or commit.
            type: str
            default: main
      profile:
        description:
          - V(auto), or V(latency) or V(throughput) to choose among the profiles of that objective, or the id (64
            hexadecimal digits) or the description of one.
        type: str
        default: auto
      gpus:
        description:
          - Which GPUs the model is to have, a list of indexes or UUIDs (or what these begin with), or how many, as a
            dictionary with the key C(count).
          - A count keeps the GPUs that the model's running release has, else takes the least used of one kind.
        type: raw
        default: {count: 1}
      port:
        description: The port of the host on which the model answers.
        type: int
        default: 8000
      address:
        description:
          - The address of the host on which the model answers, such as V({{ ansible_host }}). NIM itself asks nobody
            for a key.
          - With V(0.0.0.0) it answers on all addresses, which is refused unless gateways ask for keys, or
            O(models[].allow) says so.
        type: str
        default: 127.0.0.1
      served_name:
        description: The id that requests give as C(model); O(models[].name) by default.
        type: str
      uid:
        description: The user id that the container runs as; V(0) is refused unless O(models[].allow) says V(root).
        type: int
        default: 1000
      shm_size:
        description: Shared memory of the container. Several GPUs without NVLink need it large.
        type: str
        default: 16g
      env:
        description:
          - Further variables for NIM, such as C(NIM_MAX_MODEL_LEN). One that begins with C(NIM_) and that the image's
            generation does not know is refused, with the right name where there is one.
        type: dict
        default: {}
      unchecked_env:
        description: Further variables that are handed to the container as they are, for what only the image knows.
        type: dict
        default: {}
      memory_share:
        description:
          - Share of each GPU's memory to take, weights and KV cache together, such as V(0.45), so that another release
            fits beside this one. It becomes C(NIM_KVCACHE_PERCENT) and C(NIM_RELAX_MEM_CONSTRAINTS) for NIM 1.x,
            C(--gpu-memory-utilization) in C(NIM_PASSTHROUGH_ARGS) for 2.x with vLLM, and C(NIM_KV_CACHE_PERCENT) for
            2.x with SGLang.
          - By default the image's own, which is not verified for 1.x and believed to be V(0.9).
        type: float
      contract:
        description:
          - How the image takes fine-tuned weights. V(auto) reads it from the NIM version that the image is labelled
            with, from its name (C(llm-nim), C(model-free-nim)), and where it has no label, from its tag.
          - V(1.3), V(1.11) and V(1.15) are images for one model (C(NIM_FT_MODEL), with 1.15 and its two switches to the
            older backend); V(multi_llm) is C(llm-nim) (C(NIM_MODEL_NAME)); V(model_free) and V(model_free_sglang) are
            the model-free images of 2.x (C(NIM_MODEL_PATH)). V(1.0) and V(2), images for one model, take none.
        type: str
        choices: [auto, "1.0", "1.3", "1.11", "1.15", multi_llm, "2", model_free, model_free_sglang]
        default: auto
      gateway_port:
        description:
          - The port on which the gateways (hosts of the group C(nim_gateways)) answer for this model. The same on all
            hosts that serve a model of this name. Without it there is no gateway in front of the model.
        type: int
      second_port:
        description:
          - The port on which the next release answers while the present one holds O(models[].port), and the other way
            round. By default 10000 above that. Of use behind a gateway only.
        type: int
      strategy:
        description:
          - How the next release takes the place of the present one. V(side_by_side) starts it on the same GPUs,
            V(other_gpu) on free ones of the same kind, V(in_place) after the present one is stopped. V(auto) takes the
            first of these that the memory allows; the first two want a gateway.
        type: str
        choices: [auto, side_by_side, other_gpu, in_place]
        default: auto
      ngc_key:
        description:
          - When the container gets the NGC key. With V(auto) it does where it may have to download still; a release
            whose image and profile have served on this host gets none, since its cache has what they need.
        type: str
        choices: [auto, always, never]
        default: auto
      allow:
        description:
          - What is refused unless it is allowed here. V(all_addresses) has a model without a gateway's keys answer on
            all addresses of the host, V(remote_code) has NIM run code that a checkpoint brings, V(root) lets the
            container run as root.
        type: list
        elements: str
        choices: [all_addresses, remote_code, root]
        default: []
      verify:
        description: Questions to ask once it serves.
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
"""
