# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""A release: the one immutable thing that serves a model, and what must be done to have it serve.

Private to the collection: breaking changes at any time.
"""

from __future__ import annotations

import hashlib
import json

from ansible_collections.llmops.nim.plugins.module_utils._contract import generation
from ansible_collections.llmops.nim.plugins.module_utils._health import url
from ansible_collections.llmops.nim.plugins.module_utils._models import LABEL, cache_dir, secrets_file, served_name
from ansible_collections.llmops.nim.plugins.module_utils._problem import Problem
from ansible_collections.llmops.nim.plugins.module_utils._profile_run import container_env

MODEL_LABEL = LABEL + "model"
ID_LENGTH = 8

# In the container. One path for every release: compile caches may take a model's path into their key.
WEIGHTS_MOUNT = "/model"
# The image's own default of NIM_CACHE_PATH (documented).
CACHE_MOUNT = "/opt/nim/.cache"
# The image's own default of NIM_SERVER_PORT (documented).
SERVER_PORT = 8000

# What the collection sets itself, and the key of nim_models that says it.
OWN_VARIABLES = {
    "NGC_API_KEY": "ngc_api_key",
    "NIM_CACHE_PATH": "the role's own mount of the cache",
    "NIM_CUSTOM_MODEL_NAME": "the hash of weights, image and GPUs",
    "NIM_FT_MODEL": "weights",
    "NIM_MODEL_PROFILE": "profile",
    "NIM_SERVED_MODEL_NAME": "served_name",
    "NIM_SERVER_PORT": "port",
}


ACTIONS = {"none": "in sync,", "create": "create", "start": "start", "replace": "replace the running release by"}


def _digest(value):
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def environment(model):
    """The model's own C(env) as the container gets it: every value a str.

    Raises Problem for a variable that the collection sets itself, and for a value that has no one spelling as text.
    """
    variables = model.get("env") or {}
    for key in sorted(set(variables) & set(OWN_VARIABLES)):
        raise Problem(
            f"env of model {model['name']} sets {key}, which is set from {OWN_VARIABLES[key]}",
            f"env: {{{key}: …}}",
            f"take {key} out of env",
            "env_reserved",
        )
    return container_env(variables)


def check_generation(model, image):
    """Raises Problem when the image (dict of nim_image_info) takes fine-tuned weights in a way not known here.

    An image that does not say its version is taken for one of 1.3 to 1.10, whose variables are used below.
    """
    version = image["nim_version"]
    if version and generation(version) != "1.3":
        raise Problem(
            f"The image of model {model['name']} is NIM {version}, and only 1.3 to 1.10 can be deployed by now",
            f"{image['reference']} is labelled {version}; it takes fine-tuned weights in another way than NIM_FT_MODEL",
            "choose a tag from 1.3 to 1.10 of this NIM",
            "generation_unsupported",
            "documented: release notes and fine-tuning support pages of NIM for LLMs",
        )


def engine_name(model, image, commit, gpus):
    """NIM_CUSTOM_MODEL_NAME: the name under which NIM caches the engine that it builds.

    NIM is not known to notice other weights under an old name, so everything an engine depends on is in the hash:
    weights, image, kind and number of GPUs, the wished profile and the settings.
    """
    key = {
        "weights": [model["weights"]["repo"], commit],
        "image": image["digest"],
        "gpus": [gpu["name"] for gpu in gpus],
        "profile": model["profile"],
        "env": environment(model),
    }
    return f"{model['name']}-{_digest(key)[:12]}"


def release(model, image, commit, gpus, weights_dir):
    """The release (dict) that nim_models wishes for, before its profile is known.

    model: dict of MODEL_OPTIONS. image: dict as nim_image_info returns it. commit: 40-hex str of the weights.
    gpus: the GPUs it is to have, dicts of gpu_host_info. weights_dir: where snapshots lie on the host.
    """
    check_generation(model, image)
    repository = model["weights"]["repo"]
    variables = environment(model)
    variables.update(
        NIM_CUSTOM_MODEL_NAME=engine_name(model, image, commit, gpus),
        NIM_FT_MODEL=WEIGHTS_MOUNT,
        NIM_SERVED_MODEL_NAME=served_name(model),
    )
    settings = {
        "image": image["pinned"],
        "env": variables,
        "env_file": secrets_file(model["name"]),
        "gpus": [gpu["uuid"] for gpu in gpus],
        "port": f"{model['address']}:{model['port']}:{SERVER_PORT}",
        "profile": model["profile"],
        "shm_size": model["shm_size"],
        "user": f"{model['uid']}:0",
        "volumes": [
            f"{weights_dir}/{repository.replace('/', '--')}/{commit}:{WEIGHTS_MOUNT}:ro",
            f"{cache_dir(model['name'])}:{CACHE_MOUNT}:rw",
        ],
    }
    identity = _digest(settings)[:ID_LENGTH]
    return dict(
        settings,
        id=identity,
        container=f"nim-{model['name']}-{identity}",
        device_ids=device_ids(model["gpus"], gpus),
        health=url(model["port"], model["address"]),
        engine=variables["NIM_CUSTOM_MODEL_NAME"],
        labels={
            MODEL_LABEL: model["name"],
            LABEL + "release": identity,
            LABEL + "image": image["pinned"],
            LABEL + "nim_version": image["nim_version"] or "",
            LABEL + "weights": repository,
            LABEL + "commit": commit,
            LABEL + "gpus": ",".join(settings["gpus"]),
            LABEL + "port": str(model["port"]),
            LABEL + "address": model["address"],
            LABEL + "served_name": served_name(model),
        },
    )


def device_ids(wish, gpus):
    """What docker's device request names: the UUIDs where the wish names UUIDs, else the indexes (list of str)."""
    by_uuid = isinstance(wish, list) and any(str(one).startswith("GPU-") for one in wish)
    return [gpu["uuid"] if by_uuid else str(gpu["index"]) for gpu in gpus]


def plan(wanted, found):
    """What is to be done on a host so that the wanted release serves.

    wanted: dict of release(). found: the model's releases on the host, dicts as gpu_host_info returns them.
    Returns dict: action (C(none), C(create), C(replace) or C(start)), reasons (list of str), and predecessor
    (C(container) and C(health) of another release that runs, or None).
    """
    same = [one for one in found if one["release"] == wanted["id"]]
    running = [one for one in found if one["running"] and one["release"] != wanted["id"]]
    if same and same[0]["running"] and not running:
        return {"action": "none", "reasons": [f"release {wanted['id']} runs"], "predecessor": None}
    if running:
        return {
            "action": "replace",
            "reasons": _differences(wanted, running[0]),
            "predecessor": _predecessor(running[0]),
        }
    if same:
        return {"action": "start", "reasons": [f"release {wanted['id']} is {same[0]['status']}"], "predecessor": None}
    return {"action": "create", "reasons": ["no release of this model runs here"], "predecessor": None}


def _predecessor(old):
    address = old["labels"].get(LABEL + "address", "0.0.0.0")
    return {"container": old["container"], "health": url(old["port"], address)}


def _differences(wanted, old):
    reasons = []
    for label, name in (("image", "image"), ("commit", "weights"), ("gpus", "GPUs"), ("port", "port")):
        before, after = old["labels"].get(LABEL + label, ""), wanted["labels"][LABEL + label]
        if before != after:
            reasons.append(f"{name}: {before} → {after}")
    return reasons or ["settings that reach the container"]


def plans(models, images, commits, assignments, releases, weights_dir):
    """What is to be done on one host: a dict of plan() for each model, with more in it.

    models: list of dict of MODEL_OPTIONS. images: dict reference → dict of nim_image_info. commits: dict
    C(repo@revision) → commit. assignments: dict model name → its GPUs. releases: what is on the host.
    Added: C(model), C(release), C(api) (which endpoint it is asked on; None until staged), C(text) (the plan in
    words) and C(fallback) (what becomes of the host when the release fails, in words).
    """
    result = []
    for model in models:
        weights = model["weights"]
        wanted = release(
            model,
            images[model["image"]],
            commits[f"{weights['repo']}@{weights['revision']}"],
            assignments[model["name"]],
            weights_dir,
        )
        found = [one for one in releases if one["model"] == model["name"]]
        todo = plan(wanted, found)
        own = [one for one in found if one["release"] == wanted["id"]]
        result.append(
            dict(
                todo,
                model=model,
                release=wanted,
                api=own[0]["labels"].get(LABEL + "api") if own else None,
                text=f"{model['name']}: {ACTIONS[todo['action']]} {wanted['container']} ({'; '.join(todo['reasons'])})",
                fallback=_fallback(wanted, todo["predecessor"]),
            )
        )
    return result


def _fallback(wanted, predecessor):
    if predecessor:
        return f"{wanted['container']} is stopped and kept for its log; {predecessor['container']} serves again."
    return f"{wanted['container']} is stopped and kept for its log; nothing served before, and nothing serves now."


def staged(planned, snapshot, profile):
    """The planned release with all that is known once it is staged, ready to be started.

    planned: dict of plans(). snapshot: result of lfs_snapshot. profile: C(selected) of nim_model_profiles.
    """
    release_ = planned["release"]
    api = "chat" if snapshot["checkpoint"]["has_chat_template"] else "completions"
    labels = dict(release_["labels"])
    labels.update(
        {
            LABEL + "manifest": snapshot["manifest_sha256"],
            LABEL + "profile": profile["id"],
            LABEL + "profile_name": profile["description"],
            LABEL + "api": api,
        }
    )
    # By its bare id: NIM refuses "id (description)", and descriptions change between images (observed).
    env = dict(release_["env"], NIM_MODEL_PROFILE=profile["id"])
    return dict(planned, api=api, release=dict(release_, env=env, labels=labels))
