# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""A host as gpu_host_info describes it, for the tests of planning."""

from __future__ import annotations

import copy

from ansible_collections.llmops.nim.plugins.module_utils import _gpus, _plan, _release
from ansible_collections.llmops.nim.plugins.module_utils._models import LABEL

DIGEST = "sha256:" + "a" * 64
COMMIT, OLD_COMMIT = "c" * 40, "d" * 40
IMAGE = {
    "reference": "nvcr.io/nim/meta/llama:1.8.4",
    "pinned": f"nvcr.io/nim/meta/llama@{DIGEST}",
    "digest": DIGEST,
    "nim_version": "1.8.4",
    "bytes": 13 * 1024**3,
}
GPU = {
    "index": 0,
    "uuid": "GPU-aa",
    "name": "NVIDIA RTX 6000 Ada Generation",
    "pci_device_id": "26b1:10de",
    "memory_total_mib": 49140,
    "memory_used_mib": 0,
    "compute_capability": "8.9",
    "cdi_devices": [],
}
SECOND_GPU = dict(GPU, index=1, uuid="GPU-bb")
MODEL = {
    "name": "capitals",
    "image": "nvcr.io/nim/meta/llama:1.8.4",
    "weights": {"repo": "acme/capitals", "revision": "main"},
    "profile": "auto",
    "gpus": [0],
    "port": 8000,
    "address": "0.0.0.0",
    "served_name": None,
    "uid": 1000,
    "shm_size": "16g",
    "env": {},
    "unchecked_env": {},
    "memory_share": None,
    "contract": "auto",
    "gateway_port": None,
    "second_port": None,
    "strategy": "auto",
    "ngc_key": "auto",
    "allow": ["all_addresses"],
    "verify": [],
}
# Llama 3.2 1B in bf16.
CHECKPOINT = {
    "read": True,
    "problems": [],
    "warnings": [],
    "bytes": 2_471_000_000,
    "weight_bytes": 2_471_645_608,
    "parameters": 1_235_814_400,
    "precision": "bf16",
    "quantization": None,
    "layers": 16,
    "kv_heads": 8,
    "head_dim": 64,
    "kv_bytes_per_token": 32768,
    "max_position_embeddings": 131072,
}


def model(**keys):
    return dict(copy.deepcopy(MODEL), **keys)


def behind_gateway(**keys):
    return model(**dict({"gateway_port": 9000}, **keys))


def rollout(hosts=0, **keys):
    """What the run wishes. hosts: how many serve the model behind gateways."""
    behind = {"capitals": hosts} if hosts else {}
    return dict({"gateway_hosts": behind, "allow_downtime": True, "strategy": None}, **keys)


def wanted(one=MODEL, commit=COMMIT, gpus=(GPU,), image=IMAGE, slot="a"):
    return _release.release(one, image, commit, gpus, "/weights", slot)


def on_host(release, running=True, memory=44226, **keys):
    """A release as gpu_host_info reads it from a container that was started with it."""
    labels = release["labels"]
    return dict(
        {
            "model": labels[LABEL + "model"],
            "release": release["id"],
            "container": release["container"],
            "running": running,
            "status": "running" if running else "exited",
            "labels": labels,
            "port": release["port"],
            "served_name": labels[LABEL + "served_name"],
            "image": labels[LABEL + "image"],
            "weights": labels[LABEL + "weights"],
            "commit": labels[LABEL + "commit"],
            "profile": "9" * 64,
            "profile_name": "vllm-bf16-tp1-pp1",
            "gpus": release["gpus"],
            "memory_mib": dict.fromkeys(release["gpus"], memory) if running else {},
            "missing_mounts": [],
            "settings": {"env": release["env"], "shm_size": 16 * 1024**3, "user": "1000:0", "mounts": []},
        },
        **keys,
    )


def observed(models, releases=(), gpus=(GPU,), proven=None, before=None, **keys):
    """Result of gpu_host_info. proven, before: ids of what the ledger of the first model calls current and previous."""
    named = {"current": proven, "previous": before}
    ledger = {key: one and {"id": one, "container": f"nim-capitals-{one}"} for key, one in named.items()}
    return dict(
        {
            "models": models,
            "releases": list(releases),
            "gpus": list(gpus),
            "assignments": _gpus.assign(models, gpus, releases)[0],
            "ledger": {models[0]["name"]: dict(ledger, last=None)},
            "lock": None,
            "gpu_modes": ["gpus"],
            "images": {},
            "engines": {},
            "snapshots": {},
            "problems": [],
            "warnings_found": [],
        },
        **keys,
    )


def planned(seen, commit=COMMIT, checkpoint=CHECKPOINT, image=IMAGE, run=None, selection=""):
    """The plan of what was observed."""
    weights = {
        "commits": {"acme/capitals@main": commit},
        "checkpoints": {"acme/capitals@main": checkpoint},
        "selection": selection,
    }
    return _plan.plans(seen, {one["image"]: image for one in seen["models"]}, weights, "/weights", run or rollout())


def codes(problems):
    return [problem["code"] for problem in problems]
