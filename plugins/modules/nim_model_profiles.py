#!/usr/bin/python
# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: nim_model_profiles
short_description: Read the profiles of a NIM for LLMs and choose one
version_added: 0.1.0
author:
  - The llmops.nim authors (@llmops)
description:
  - Runs C(list-model-profiles) of a NIM image with the docker command, or takes its output as somebody saved it,
    returns it as data, and chooses the profile to serve with, saying why, and why none of the others.
  - Reads the dialects of the NIMs for LLMs from 1.0 to 2.x, also with log lines mixed in, as JSON log lines, behind
    the prefixes of docker compose, or in a Markdown block. Other NIM families (speech, embedding, GenMol and others)
    are refused by name.
  - "The choice: a pinned O(profile) is obeyed or refused. Otherwise the cached engine called O(engine_name) comes
    first. Otherwise of those that are runnable or compilable, or low on memory that will be there (see O(gpu_facts)),
    for LoRA or not as O(lora) says, for O(gpu_count) GPUs, in the O(precision) wished for, on GPUs that can serve in
    it, the first by O(objective), then: TensorRT-LLM engines made for this GPU, other settings made for this GPU,
    TensorRT-LLM engines built on the host, vLLM and SGLang, then the order printed. A name that does not tell the
    number of GPUs or the precision does not rule a profile out, but those that tell come before it."
  - With O(weights=fine_tuned) the TensorRT-LLM engines that NVIDIA built come last, because they hold the weights
    that the image was made for. Fine-tuned weights are documented to go through an engine built on the host; what
    NIM does with C(NIM_FT_MODEL) and such a profile is not verified.
  - A C(-pytorch) profile of 1.15 is settings, not an engine. It counts as TensorRT-LLM made for this GPU for the
    image's own weights, and comes last for fine-tuned ones, which 1.15 is documented not to serve by PyTorch.
  - Weights that are quantised, though not by ModelOpt, go to vLLM and SGLang before TensorRT-LLM, as is documented.
  - An engine cached under a name other than O(engine_name) is never chosen unless it is pinned, because it was built
    from other weights, another image, or for another GPU.
  - The exit status of the listing says nothing about the profiles, it is 0 even where none can run.
options:
  image:
    description:
      - Image of a NIM for LLMs whose profiles are listed on the host. It must be there already; nothing is pulled.
    type: str
  gpus:
    description:
      - Indexes or UUIDs of the GPUs that the service will have, or V([all]). Required with O(image).
      - NIM matches profiles against exactly the GPUs it sees.
    type: list
    elements: str
  gpu_mode:
    description:
      - How the container is given the GPUs, V(gpus) by C(--gpus), V(cdi) by C(--device nvidia.com/gpu=...).
      - With V(cdi), O(gpus) are to be names that a CDI specification of the host has, which may be indexes alone.
    type: str
    choices: [gpus, cdi]
    default: gpus
  user:
    description:
      - User, and group after a colon, that the container runs as, for example V(1000:0).
    type: str
  env:
    description:
      - Environment variables of the container. Their values go to docker by its environment, not by arguments.
      - Values of variables whose names end with KEY, TOKEN, SECRET, PASSWORD, PASSWD or CREDENTIALS are masked
        wherever they occur in the result. O(env_file) is the better place for secrets.
      - Names that begin with C(DOCKER_) are refused.
      - C(NIM_MAX_MODEL_LEN), or C(--max-model-len) in C(NIM_PASSTHROUGH_ARGS), also says whether a profile fits that
        fits with a shorter length only.
    type: dict
    default: {}
  env_file:
    description:
      - Path on the host of a file of variables for the container, one C(NAME=value) a line, for C(NGC_API_KEY).
      - Some NIMs (1.8.4 for one) download small files while listing and need the key for that.
    type: path
  volumes:
    description:
      - Mounts of the container as C(docker run -v) takes them, for example the NIM cache, whose engines are listed.
    type: list
    elements: str
    default: []
  shm_size:
    description:
      - Size of the container's C(/dev/shm) with its unit, for example V(16g).
    type: str
  timeout:
    description:
      - Seconds that the listing may take. After that its container is removed and the module fails.
    type: int
    default: 900
  listing:
    description:
      - The output of C(list-model-profiles), stdout and stderr together.
    type: str
  listing_file:
    description:
      - Path on the host of a file with that output.
    type: path
  profile:
    description:
      - V(auto), V(latency), V(throughput), the id of a profile (64 hexadecimal digits, in either case), or its
        description, exactly or without the size that 2.x adds to it.
      - A pinned profile of the group V(incompatible) is refused, one of the group V(low_memory) is taken, with the
        maximum model length that NIM printed (RV(selected.max_model_len)) unless O(gpu_facts) show that all will fit.
    type: str
    default: auto
  objective:
    description:
      - What to prefer where a profile tells. V(auto) prefers latency to throughput to profiles that do not tell.
      - V(throughput) exchanges the first two.
    type: str
    choices: [auto, latency, throughput]
    default: auto
  gpu_count:
    description:
      - GPUs that the service will have; profiles whose tensor times pipeline parallelism is another number are put
        aside. By default the number of O(gpus), or of O(gpu_facts) where they are V([all]) or where a saved listing is
        read, or none.
    type: int
  precision:
    description:
      - Precision to serve in, for example V(bf16), as a rule that of the weights. By default that of O(quantization)
        where it names one, else any; fine-tuned weights are then not quantised.
    type: str
  memory_share:
    description:
      - Share of each GPU's memory that the service is told to take. Where others hold memory of the GPUs, a profile of
        the group V(low_memory) can be used only if they leave that share.
    type: float
  quantization:
    description:
      - How the weights are quantised, for example V(fp8), V(modelopt) or V(awq), as their C(config.json) says. By
        default they are not.
      - fp8 weights want fp8 profiles and GPUs of compute capability 8.9 or more.
    type: str
  lora:
    description:
      - Whether LoRA adapters will be served. NIM takes only LoRA profiles then, and only others else.
    type: bool
    default: false
  engine_name:
    description:
      - C(NIM_CUSTOM_MODEL_NAME) of the service, which must name weights, image, GPU and settings. A cached engine is
        listed under exactly that description.
    type: str
  gpu_facts:
    description:
      - What the host knows of its GPUs, entries of RV(llmops.nim.gpu_host_info#module:gpus) with C(own_memory_mib)
        added. Those that O(gpus) names are taken, or all.
      - C(index), C(uuid), C(name), C(memory_total_mib), C(memory_used_mib), C(compute_capability) (for example
        V("9.0")), and C(own_memory_mib), the MiB in use that this model's own old release holds, by default 0. Other
        keys are passed over. Null is what is not known.
      - A profile of the group V(low_memory) can be used where no more than 5 % of the memory of each GPU is held by
        others than the old release, which will be gone by the time the new one starts, and where the requirement fits
        all the memory of each GPU, at least with the maximum model length that NIM advises. GB that NIM prints count as
        GiB.
      - Without these facts such a profile is used only where it is pinned, and no precision is found too new for the
        GPUs.
    type: list
    elements: dict
    default: []
  weights:
    description:
      - Whether the service gets the weights that the image was made for, or fine-tuned ones.
      - By default V(fine_tuned) where O(env) has C(NIM_FT_MODEL), C(NIM_MODEL_NAME) or C(NIM_MODEL_PATH), else
        V(base).
    type: str
    choices: [base, fine_tuned]
  require:
    description:
      - Whether to fail where no profile can be used. Otherwise RV(selected) is null and RV(refusal) says why.
    type: bool
    default: false
extends_documentation_fragment:
  - llmops.nim.reads_only
  - llmops.nim.commands
"""

EXAMPLES = r"""
- name: Choose a profile for fine-tuned weights on the first GPU
  llmops.nim.nim_model_profiles:
    image: nvcr.io/nim/meta/llama-3.1-8b-instruct:1.8.4
    gpus: [0]
    user: "1000:0"
    env_file: /var/lib/nim/openmath2-8b/secrets.env
    volumes:
      - /var/lib/nim/openmath2-8b/cache:/opt/nim/.cache
    weights: fine_tuned
    precision: bf16
    gpu_facts:
      - index: 0
        uuid: GPU-5a1ce9a4-5e2c-4e5b-9a57-0c9b8d4b2f10
        name: NVIDIA L40S
        memory_total_mib: 46068
        memory_used_mib: 41500
        compute_capability: "8.9"
        own_memory_mib: 41498
    require: true
  register: profiles

- name: Show the choice
  ansible.builtin.debug:
    msg: "{{ profiles.selected.id }}: {{ profiles.selected.reasons | join('; ') }}"

- name: Read what somebody saved
  llmops.nim.nim_model_profiles:
    listing: "{{ lookup('ansible.builtin.file', 'profiles.txt') }}"
    gpu_count: 2
    objective: throughput
"""

RETURN = r"""
nim:
  description: What the banner says; null where the listing has none.
  returned: success
  type: dict
  contains:
    version:
      description: Version of the NIM.
      type: str
      sample: 1.8.4
    model:
      description: Model of the NIM; 2.x does not print it.
      type: str
      sample: meta/llama-3.2-1b-instruct
gpus:
  description: GPUs that the container saw, in the order printed.
  returned: success
  type: list
  elements: dict
  contains:
    index:
      description: Index inside the container.
      type: int
    name:
      description: Name of the GPU.
      type: str
      sample: NVIDIA H100 80GB HBM3
    family:
      description: What NIM prints in parentheses behind the name, or null.
      type: str
    pci_id:
      description: PCI device and vendor, by which NIM matches GPUs and profiles.
      type: str
      sample: 2330:10de
    free:
      description: Whether NIM takes the GPU for free.
      type: bool
    utilization_percent:
      description: Share of the GPU's memory in use; null where NIM prints none or C(N/A).
      type: int
profiles:
  description: All profiles in the order printed. What a name does not tell is null.
  returned: success
  type: list
  elements: dict
  contains:
    id:
      description: Id of the profile, 64 hexadecimal digits in lower case.
      type: str
    description:
      description: Name of the profile as printed.
      type: str
      sample: tensorrt_llm-h100-bf16-tp1-pp1-throughput
    group:
      description: One of V(runnable), V(low_memory), V(compilable) and V(incompatible).
      type: str
    lora:
      description: Whether it serves LoRA adapters, by its name or the list it stands in.
      type: bool
    engine:
      description: V(tensorrt_llm), V(vllm), V(sglang) or null.
      type: str
    buildable:
      description: Whether the engine is built on the host, or null.
      type: bool
    gpu:
      description: GPU that it was made for, in lower case, or null.
      type: str
      sample: h100_nvl
    precision:
      description: Precision in lower case, or null.
      type: str
      sample: bf16
    tensor_parallel:
      description: Tensor parallelism, or null.
      type: int
    pipeline_parallel:
      description: Pipeline parallelism, or null (names before 1.8 leave it out).
      type: int
    objective:
      description: V(latency), V(throughput) or null.
      type: str
    pytorch:
      description: Whether it is settings for PyTorch, not an engine (names of 1.15).
      type: bool
    memory_gb_per_gpu:
      description: GB that each GPU needs by the printed requirement, or else by the name, or null.
      type: float
    reduced_memory_gb_per_gpu:
      description: GB that each GPU needs with RV(profiles[].max_model_len_hint), or null.
      type: float
    max_model_len_hint:
      description: Maximum model length in tokens that NIM suggests, or null.
      type: int
selected:
  description:
    - The chosen one of RV(profiles), with all its keys, RV(selected.max_model_len) and RV(selected.reasons), or null.
  returned: success
  type: dict
  contains:
    id:
      description: Id of the profile, the value for C(NIM_MODEL_PROFILE).
      type: str
    description:
      description: Name of the profile as printed.
      type: str
    max_model_len:
      description:
        - Tokens to set as C(NIM_MAX_MODEL_LEN), because the profile is low on memory without it; null where it is not,
          and where O(env) sets a length already.
      type: int
    reasons:
      description: Why it was chosen, a sentence each.
      type: list
      elements: str
rejected:
  description: All other profiles in the order printed.
  returned: success
  type: list
  elements: dict
  contains:
    id:
      description: Id of the profile.
      type: str
    description:
      description: Name of the profile as printed.
      type: str
    reason:
      description: Why it was not chosen.
      type: str
refusal:
  description: Why no profile can be used, with evidence and what would work; null where RV(selected) is not.
  returned: success
  type: str
notes:
  description: What to know about the listing, for example that whoever saved it had shortened it.
  returned: success
  type: list
  elements: str
problem:
  description: The reason of the failure, and where RV(refusal) is set, in parts.
  returned: failure, and where nothing can be used
  type: dict
  contains:
    code:
      description: A stable word, for example V(listing_cut) or V(profile_none_gpu_mix).
      type: str
    what:
      description: What is wrong.
      type: str
    evidence:
      description: What was seen.
      type: str
    remedy:
      description: What to do.
      type: str
    source:
      description: Where the rule comes from that was broken.
      type: str
raw:
  description: The last lines that were read, without secrets.
  returned: failure after something was read
  type: str
"""

import os
import uuid

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.llmops.nim.plugins.module_utils import _profile_run as docker_run
from ansible_collections.llmops.nim.plugins.module_utils._gpu_mode import HOOK, MODES
from ansible_collections.llmops.nim.plugins.module_utils._problem import Problem
from ansible_collections.llmops.nim.plugins.module_utils._profile_choice import choose
from ansible_collections.llmops.nim.plugins.module_utils._profile_wishes import Wishes, facts, length_set
from ansible_collections.llmops.nim.plugins.module_utils._profiles import parse_listing
from ansible_collections.llmops.nim.plugins.module_utils._secrets import secret_values

# The variables that hand over other weights than the image was made for, by generation.
WEIGHTS_VARIABLES = ("NIM_FT_MODEL", "NIM_MODEL_NAME", "NIM_MODEL_PATH")

ARGUMENTS = {
    "image": {"type": "str"},
    "gpus": {"type": "list", "elements": "str"},
    "gpu_mode": {"type": "str", "choices": list(MODES), "default": HOOK},
    "user": {"type": "str"},
    # Kept out of the system's log; main() then lets values be shown that no name calls a secret.
    "env": {"type": "dict", "default": {}, "no_log": True},
    "env_file": {"type": "path"},
    "volumes": {"type": "list", "elements": "str", "default": []},
    "shm_size": {"type": "str"},
    "docker": {"type": "str", "default": "docker"},
    "timeout": {"type": "int", "default": 900},
    "listing": {"type": "str"},
    "listing_file": {"type": "path"},
    "profile": {"type": "str", "default": "auto"},
    "objective": {"type": "str", "choices": ["auto", "latency", "throughput"], "default": "auto"},
    "gpu_count": {"type": "int"},
    "precision": {"type": "str"},
    "memory_share": {"type": "float"},
    "quantization": {"type": "str"},
    "lora": {"type": "bool", "default": False},
    "engine_name": {"type": "str", "no_log": False},
    "gpu_facts": {"type": "list", "elements": "dict", "default": []},
    "weights": {"type": "str", "choices": ["base", "fine_tuned"]},
    "require": {"type": "bool", "default": False},
}


def run_listing(module, secrets):
    """What list-model-profiles of the image wrote (str); adds the secrets of the env file to secrets."""
    params = module.params
    env = docker_run.container_env(params["env"])
    docker = module.get_bin_path(params["docker"])
    if not docker:
        raise Problem(
            "There is no docker command on this host.",
            evidence=f"docker: {params['docker']}",
            remedy="Install Docker, or give the path of its command.",
            code="docker_missing",
        )
    if params["env_file"]:
        file_env = docker_run.read_env_file(read_file(params["env_file"], "env_file"))
        secrets |= secret_values(file_env)
    name = f"nim-profiles-{uuid.uuid4().hex[:12]}"
    command = docker_run.listing_command(
        docker,
        name,
        params["image"],
        params["gpus"],
        user=params["user"],
        env=env,
        env_file=params["env_file"],
        volumes=params["volumes"],
        shm_size=params["shm_size"],
        gpu_mode=params["gpu_mode"],
    )
    rc, output = docker_run.run(command, docker_run.client_env(os.environ, env), params["timeout"])
    output = docker_run.without_secrets(output, secrets)
    if rc is None:
        # The container outlives the command that started it.
        docker_run.run([docker, "rm", "--force", name], os.environ, 60)
        raise Problem(
            f"The profiles of {params['image']} were not listed within {params['timeout']} s.",
            evidence=docker_run.last_lines(output) or "the container wrote nothing",
            remedy="Check that the container reaches NGC, or give it more time (timeout).",
            code="listing_timeout",
        )
    if rc:
        raise docker_run.run_problem(rc, output, params["image"])
    return output


def read_file(path, option):
    """The text (str) of the file at path (str), that the option (str) names."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except OSError as error:
        raise Problem(
            f"The file of {option} cannot be read.",
            evidence=f"{path}: {error.strerror}",
            remedy="Give the path of a file on the host that the task's user may read.",
            code="file_unreadable",
        ) from None


def read_listing(module, secrets):
    """The text (str) of the listing, from wherever the options say, without secrets."""
    params = module.params
    if params["image"] is not None:
        return run_listing(module, secrets)
    if params["listing_file"] is not None:
        return docker_run.without_secrets(read_file(params["listing_file"], "listing_file"), secrets)
    return docker_run.without_secrets(params["listing"], secrets)


def read(text, image):
    """The listing (str) as parse_listing returns it; image (str) where it was just taken from one."""
    try:
        return parse_listing(text)
    except Problem as problem:
        broke_off = image is not None and problem.code in ("listing_cut", "listing_traceback")
        known = docker_run.known_failure(text, image, docker_run.last_lines(text)) if broke_off else None
        if known:
            raise known from None
        raise


def wishes(params):
    """The options (dict) as Wishes; raises Problem."""
    handed = tuple(params["gpus"] or ()) if params["image"] is not None else ()
    named = handed != ("all",) and handed
    gpus = facts(params["gpu_facts"])
    if named:
        of_host = {name: gpu for gpu in gpus for name in (str(gpu.index), gpu.uuid)}
        # A part of a GPU (MIG) is none that the host's facts tell of.
        gpus = tuple(of_host[name] for name in named) if set(named) <= set(of_host) else ()
    count = params["gpu_count"]
    if count is None:
        count = len(named or gpus) or None
    if count is not None and count < 1:
        raise Problem(
            "A service needs at least one GPU.",
            evidence=f"gpu_count: {count}",
            remedy="Give a number from 1 on.",
            code="gpu_count_malformed",
        )
    given = any(params["env"].get(name) for name in WEIGHTS_VARIABLES)
    return Wishes(
        profile=params["profile"],
        objective=params["objective"],
        gpu_count=count,
        precision=params["precision"] or None,
        quantization=params["quantization"] or None,
        lora=params["lora"],
        engine_name=params["engine_name"] or None,
        fine_tuned=given if params["weights"] is None else params["weights"] == "fine_tuned",
        max_model_len=length_set(params["env"]),
        memory_share=params["memory_share"],
        gpus=gpus,
        handed=handed,
    )


def fail(module, problem, text, secrets):
    """Ends the module with the problem (Problem) and the last lines of what was read (str)."""
    module.no_log_values.update(secrets)
    raw = {"raw": docker_run.last_lines(text)} if text else {}
    module.fail_json(msg=str(problem), problem=problem.as_dict(), **raw)


def main():
    module = AnsibleModule(
        argument_spec=ARGUMENTS,
        mutually_exclusive=[("image", "listing", "listing_file")],
        required_one_of=[("image", "listing", "listing_file")],
        required_by={"image": ("gpus",)},
        supports_check_mode=True,
    )
    # A value such as "1" must not be masked in all that is returned.
    secrets = secret_values(module.params["env"])
    module.no_log_values.clear()
    module.no_log_values.update(secrets)
    text = ""
    try:
        wished = wishes(module.params)
        text = read_listing(module, secrets)
        result = read(text, module.params["image"])
        choice = choose(result["profiles"], result["gpus"], wished)
        refusal = choice["refusal"]
        if refusal and module.params["require"]:
            fail(module, refusal, text, secrets)
    except Problem as problem:
        fail(module, problem, text, secrets)
    module.no_log_values.update(secrets)
    result.update(choice, refusal=str(refusal) if refusal else None)
    if refusal:
        result["problem"] = refusal.as_dict()
    module.exit_json(changed=False, **result)


if __name__ == "__main__":
    main()
