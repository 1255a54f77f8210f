# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""The variables with which a container starts: the user's own, and those that follow from a model's other keys.

Private to the collection: breaking changes at any time.
"""

from __future__ import annotations

import re

from ansible_collections.llmops.nim.plugins.module_utils._contract import (
    CONTRACTS,
    ENGINE_FLAGS,
    MAX_LENGTH,
    WEIGHTS_MOUNT,
    contract_name,
)
from ansible_collections.llmops.nim.plugins.module_utils._models import served_name
from ansible_collections.llmops.nim.plugins.module_utils._problem import Problem
from ansible_collections.llmops.nim.plugins.module_utils._profile_run import container_env
from ansible_collections.llmops.nim.plugins.module_utils._variables import check_known

# What the collection sets itself, and the key of nim_models that says it.
_OWN = {
    "NGC_API_KEY": "ngc_api_key",
    "NIM_CACHE_PATH": "the role's own mount of the cache",
    "NIM_CUSTOM_MODEL_NAME": "the hash of weights, image, GPUs and settings",
    "NIM_MODEL_PROFILE": "profile",
    "NIM_SERVED_MODEL_NAME": "served_name",
    "NIM_SERVER_PORT": "port",
    "NVIDIA_VISIBLE_DEVICES": "gpus",
}
_LENGTH_FLAG = "--max-model-len"


def contract_of(model, image):
    """The name of the contract (of CONTRACTS) by which an image takes the model's fine-tuned weights.

    model: dict of MODEL_OPTIONS. image: dict of nim_image_info. Raises Problem when it is not known, or takes none.
    """
    version = image["nim_version"]
    name = contract_name(model["image"], version, model["contract"])
    if name is None:
        raise Problem(
            f"The image of model {model['name']} is NIM {version}, which is not known here."
            if version
            else f"The image of model {model['name']} does not say which NIM it is.",
            f"{model['image']}: labelled {version}" if version else f"{model['image']}: no version in labels or tag",
            "Say how it takes weights, by contract: " + ", ".join(CONTRACTS),
            "contract_unknown",
        )
    contract = CONTRACTS[name]
    if contract.weights is None:
        raise Problem(
            f"The image of model {model['name']} takes no fine-tuned weights.",
            f"{model['image']} speaks {name}: {contract.images}",
            f"Use {contract.instead}.",
            "contract_without_weights",
            contract.source,
        )
    return name


def environment(model, contract):
    """The user's own variables of the model (dict), and the wished share of memory, as str by name.

    contract: name of one of CONTRACTS. Raises Problem for a variable that the image does not know, that the collection
    sets itself, or that has no one spelling as text, and for a share that is none or is said twice.
    """
    check_known(model, contract)
    speaks = CONTRACTS[contract]
    variables = container_env(dict(model["env"], **model["unchecked_env"]))
    own = dict(_OWN, **{speaks.weights: "weights"}, **dict.fromkeys(speaks.switches, "weights"))
    for key in sorted(set(variables) & set(own)):
        raise Problem(
            f"env of model {model['name']} sets {key}, which is set from {own[key]}.",
            f"env: {{{key}: …}}",
            f"Take {key} out of env.",
            "env_reserved",
        )
    return _with_share(model, variables, speaks.share)


def _with_share(model, variables, share):
    wished = model["memory_share"]
    if wished is None:
        return variables
    if not 0 < wished <= 1:
        raise Problem(
            f"memory_share of model {model['name']} is no share of a GPU's memory.",
            f"memory_share: {wished}",
            "Give a number above 0, at most 1, for example 0.45.",
            "memory_share_invalid",
        )
    if share_said(variables, share) is not None:
        raise Problem(
            f"Model {model['name']} says twice how much of the memory it takes.",
            f"memory_share: {wished}, and {share.flag or share.variable} in env",
            "Keep one of them.",
            "memory_share_twice",
        )
    if share.flag is None:
        said = f"{wished:g}"
    else:
        said = " ".join(filter(None, [variables.get(share.variable), f"{share.flag} {wished:g}"]))
    return dict(share.relax, **dict(variables, **{share.variable: said}))


def share_said(variables, share):
    """The share of memory (float) that the variables (dict of str) give to a Share, or None."""
    said = variables.get(share.variable)
    if said is not None and share.flag:
        said = _flag(said, share.flag)
    try:
        return None if said is None else float(said)
    except ValueError:
        return None


def max_length(variables):
    """The longest text (int tokens) that the variables (dict of str) ask for, or None where they don't say."""
    said = _flag(variables.get(ENGINE_FLAGS, ""), _LENGTH_FLAG) or variables.get(MAX_LENGTH)
    return int(said) if said and said.isdigit() else None


def _flag(arguments, flag):
    match = re.search(rf"(?:^|\s){re.escape(flag)}[=\s]\s*(\S+)", arguments)
    return match.group(1) if match else None


def release_environment(model, contract, engine, gpu_count):
    """All variables (dict of str) of the model's release but its profile.

    contract: name of one of CONTRACTS. engine: the name under which the engine is cached (str). gpu_count: int.
    """
    speaks = CONTRACTS[contract]
    variables = environment(model, contract)
    variables.update(speaks.switches)
    variables[speaks.weights] = WEIGHTS_MOUNT
    variables["NIM_SERVED_MODEL_NAME"] = served_name(model)
    if speaks.engine_name:
        variables[speaks.engine_name] = engine
    parallel = {"NIM_TENSOR_PARALLEL_SIZE", "NIM_PIPELINE_PARALLEL_SIZE"}
    if speaks.tensor_parallel and gpu_count > 1 and not parallel & set(variables):
        variables[speaks.tensor_parallel] = str(gpu_count)
    return variables
