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
        description: The address of the host on which the model answers.
        type: str
        default: 0.0.0.0
      served_name:
        description: The id that requests give as C(model); O(models[].name) by default.
        type: str
      uid:
        description: The user id that the container runs as.
        type: int
        default: 1000
      shm_size:
        description: Shared memory of the container. Several GPUs without NVLink need it large.
        type: str
        default: 16g
      env:
        description: Further variables for NIM, such as C(NIM_MAX_MODEL_LEN).
        type: dict
        default: {}
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
          max_tokens:
            description: Length of the answer in tokens at most.
            type: int
            default: 64
"""
