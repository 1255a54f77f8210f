# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""The one shared input, C(nim_models): its specification and the paths that follow from it.

Private to the collection: breaking changes at any time.
"""

from __future__ import annotations

from ansible_collections.llmops.nim.plugins.module_utils._contract import CONTRACTS

NIM_HOME = "/var/lib/nim"

# How a release takes the place of the one that runs.
STRATEGIES = ("side_by_side", "other_gpu", "in_place")
# From a model's port to its second one, where nim_models does not say it.
SECOND_PORT = 10000

# When a container gets the NGC key: where it may have to download, in any case, or never.
NGC_KEY = ("auto", "always", "never")
# What is refused unless a model allows it by name: see _least_right.
ALL_ADDRESSES, REMOTE_CODE, ROOT = ALLOWANCES = ("all_addresses", "remote_code", "root")

# What the labels of this collection's containers begin with.
LABEL = "llmops.nim."

# One question and what its answer has to be.
CHECK_OPTIONS = {
    "prompt": {"type": "str", "required": True},
    "expect": {"type": "str", "required": True},
    "reject": {"type": "str"},
    "min_chars": {"type": "int", "default": 1},
    "max_tokens": {"type": "int", "default": 64, "no_log": False},
    "finish_reason": {"type": "list", "elements": "str"},
}

# Documented for users in plugins/doc_fragments/nim_models.py; a unit test holds the two equal.
MODEL_OPTIONS = {
    "name": {"type": "str", "required": True},
    "image": {"type": "str", "required": True},
    "weights": {
        "type": "dict",
        "required": True,
        "options": {
            "repo": {"type": "str", "required": True},
            "revision": {"type": "str", "default": "main"},
        },
    },
    "profile": {"type": "str", "default": "auto"},
    "gpus": {"type": "raw", "default": {"count": 1}},
    "port": {"type": "int", "default": 8000},
    "address": {"type": "str", "default": "127.0.0.1"},
    "served_name": {"type": "str"},
    "uid": {"type": "int", "default": 1000},
    "shm_size": {"type": "str", "default": "16g"},
    # Kept out of the system's log and of what is shown: see _secrets.only_secrets().
    "env": {"type": "dict", "default": {}, "no_log": True},
    "unchecked_env": {"type": "dict", "default": {}, "no_log": True},
    "memory_share": {"type": "float"},
    "contract": {"type": "str", "choices": ["auto", *CONTRACTS], "default": "auto"},
    "gateway_port": {"type": "int"},
    "second_port": {"type": "int"},
    "strategy": {"type": "str", "choices": ["auto", *STRATEGIES], "default": "auto"},
    "ngc_key": {"type": "str", "choices": list(NGC_KEY), "default": "auto"},
    "allow": {"type": "list", "elements": "str", "choices": list(ALLOWANCES), "default": []},
    "verify": {"type": "list", "elements": "dict", "default": [], "options": CHECK_OPTIONS},
}

MODELS_SPEC = {"type": "list", "elements": "dict", "required": True, "options": MODEL_OPTIONS}


def served_name(model):
    """The id under which the model (dict of MODEL_OPTIONS) answers the API: C(served_name), or its C(name)."""
    return model.get("served_name") or model["name"]


def cache_dir(name, home=NIM_HOME):
    """The NIM cache of the model called name (str), an absolute path on the host."""
    return f"{home}/{name}/cache"


def secrets_file(name, home=NIM_HOME):
    """The env file (mode 0600) that carries keys into the container of the model called name, an absolute path."""
    return f"{home}/{name}/secrets.env"


def slots(model):
    """The ports of the host on which releases of the model (dict of MODEL_OPTIONS) may answer: dict of slot to int.

    Behind a gateway there are two, so that the next release can be proven while the present one serves.
    """
    ports = {"a": model["port"]}
    if model["gateway_port"]:
        ports["b"] = model["second_port"] or model["port"] + SECOND_PORT
    return ports
