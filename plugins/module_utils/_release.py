# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""A release: the one immutable thing that serves a model, and its identity.

Private to the collection: breaking changes at any time.
"""

from __future__ import annotations

import hashlib
import json
import re

from ansible_collections.llmops.nim.plugins.module_utils._contract import (
    CACHE_MOUNT,
    CONTRACTS,
    GROUP,
    MAX_LENGTH,
    SERVER_PORT,
    WEIGHTS_MOUNT,
)
from ansible_collections.llmops.nim.plugins.module_utils._environment import (
    contract_of,
    environment,
    max_length,
    release_environment,
)
from ansible_collections.llmops.nim.plugins.module_utils._gpu_mode import CDI, HOOK, device_ids, device_requests
from ansible_collections.llmops.nim.plugins.module_utils._health import url
from ansible_collections.llmops.nim.plugins.module_utils._models import (
    LABEL,
    cache_dir,
    secrets_file,
    served_name,
    slots,
)

ID_LENGTH = 8
IMAGE_ID = re.compile(r"sha256:[0-9a-f]{64}\Z")


def _digest(value):
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def engine_name(model, contract, image, snapshot, gpus):
    """NIM_CUSTOM_MODEL_NAME: the name under which NIM caches the engine that it builds.

    NIM is not known to notice other weights under an old name, so everything an engine depends on is in the hash:
    weights, image, kind and number of GPUs, the wished profile and the settings. A GPU's UUID is not, so that a GPU of
    the same kind, on this host or another, can use the engine.
    """
    key = {
        "weights": [model["weights"]["repo"], snapshot],
        "image": image["digest"],
        "gpus": [gpu["name"] for gpu in gpus],
        "profile": model["profile"],
        "env": environment(model, contract),
    }
    return f"{model['name']}-{_digest(key)[:12]}"


def weights_path(weights_dir, repository, snapshot):
    """Where a snapshot (its name) of a repository (org/name) lies on the host, a path as str."""
    return f"{weights_dir}/{repository.replace('/', '--')}/{snapshot}"


def release(model, image, commit, gpus, weights_dir, slot="a", selection="", gpu_mode=HOOK):
    """The release (dict) that nim_models wishes for, before its profile is known.

    model: dict of MODEL_OPTIONS. image: dict as nim_image_info returns it. commit: 40-hex str of the weights.
    gpus: the GPUs it is to have, dicts of gpu_host_info. weights_dir: where snapshots lie on the host. slot: of
    _models.slots(), on whose port it will answer; it is no part of the release's identity. selection: what the name
    of the snapshot has behind the commit (str). gpu_mode: of _gpu_mode.MODES.
    Raises Problem for an image or a variable with which the weights cannot be served.
    """
    contract = contract_of(model, image)
    repository = model["weights"]["repo"]
    engine = engine_name(model, contract, image, commit + selection, gpus)
    settings = {
        "image": image["pinned"],
        "env": release_environment(model, contract, engine, len(gpus)),
        "env_file": secrets_file(model["name"]),
        "gpus": [gpu["uuid"] for gpu in gpus],
        "port": f"{model['address']}:{model['port']}",
        "profile": model["profile"],
        "shm_size": model["shm_size"],
        "user": f"{model['uid']}:{GROUP}",
        "volumes": [
            f"{weights_path(weights_dir, repository, commit + selection)}:{WEIGHTS_MOUNT}:ro",
            f"{cache_dir(model['name'])}:{CACHE_MOUNT}:rw",
        ],
    }
    # Only where it is another than all releases had before there was a choice: those keep their names.
    by_cdi = {"gpu_mode": CDI} if gpu_mode == CDI else {}
    # An image that came in a bundle is pinned by its id, which tells nobody what it is.
    by_id = {"image_name": image["reference"]} if IMAGE_ID.match(image["pinned"]) else {}
    identity = _digest(dict(settings, **by_cdi))[:ID_LENGTH]
    port = slots(model)[slot]
    ids = device_ids(gpu_mode, model["gpus"], gpus)
    return dict(
        settings,
        id=identity,
        slot=slot,
        port=port,
        published=f"{model['address']}:{port}:{SERVER_PORT}",
        container=f"nim-{model['name']}-{identity}",
        gpu_mode=gpu_mode,
        device_ids=ids,
        device_requests=device_requests(gpu_mode, ids),
        health=url(port, model["address"]),
        # The engine that NIM builds; None where it builds none.
        engine=engine if CONTRACTS[contract].engine_name else None,
        labels={
            LABEL + "model": model["name"],
            LABEL + "release": identity,
            LABEL + "image": image["pinned"],
            LABEL + "nim_version": image["nim_version"] or "",
            LABEL + "contract": contract,
            LABEL + "weights": repository,
            LABEL + "commit": commit,
            LABEL + "gpus": ",".join(settings["gpus"]),
            LABEL + "port": str(port),
            LABEL + "address": model["address"],
            LABEL + "served_name": served_name(model),
            LABEL + "profile_wish": model["profile"],
            LABEL + "port_wish": str(model["port"]),
            # Names only: a value may be a secret.
            LABEL + "env": ",".join(sorted(settings["env"])),
            **{LABEL + key: text for key, text in {**by_cdi, **by_id}.items()},
        },
    )


def staged(planned, snapshot, profile):
    """The planned release with all that is known once it is staged, ready to be started.

    planned: dict of _plan.plans(). snapshot: result of lfs_snapshot. profile: C(selected) of nim_model_profiles.
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
    if profile.get("max_model_len") and not max_length(env):
        env[MAX_LENGTH] = str(profile["max_model_len"])
    keyless = planned["keyless"] is None or profile["id"] in planned["keyless"]
    env_file = None if keyless else release_["env_file"]
    return dict(planned, api=api, release=dict(release_, env=env, env_file=env_file, labels=labels))
