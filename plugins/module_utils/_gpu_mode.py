# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""How a container is given its GPUs: by NVIDIA's hook (docker run --gpus) or by CDI (--device nvidia.com/gpu=…).

Private to the collection: breaking changes at any time.
"""

from __future__ import annotations

from ansible_collections.llmops.nim.plugins.module_utils._cdi import KIND

HOOK, CDI = "gpus", "cdi"
MODES = (HOOK, CDI)
# auto is the first of MODES that the server offers: releases of before are by the hook, and stay as they are.
WISHES = ("auto", *MODES)


def offered(wish, docker):
    """The modes (list of str) among those wished for (one of WISHES) that work, the preferred one first.

    docker: dict of RV(host.docker).
    """
    works = {HOOK: docker["gpus"], CDI: docker["cdi"]["works"]}
    return [mode for mode in (MODES if wish == "auto" else (wish,)) if works[mode]]


def device_ids(mode, wish, gpus):
    """What Docker is to be told of GPUs (list of dict of gpu_host_info), a list of str.

    wish: C(gpus) of nim_models. They are told in its words: UUIDs where it names UUIDs, else indexes; by CDI as far as
    the specification names them so.
    """
    by_uuid = isinstance(wish, list) and any(str(one).startswith("GPU-") for one in wish)
    return [_name(mode, by_uuid, gpu) for gpu in gpus]


def _name(mode, by_uuid, gpu):
    name = gpu["uuid"] if by_uuid else str(gpu["index"])
    if mode == HOOK or name in gpu["cdi_devices"] or not gpu["cdi_devices"]:
        return name
    return gpu["cdi_devices"][0]


def device_requests(mode, ids):
    """What community.docker's docker_container takes as C(device_requests) for device_ids() (list of str)."""
    if mode == CDI:
        return [{"driver": "cdi", "device_ids": [f"{KIND}={one}" for one in ids], "count": 0}]
    # Docker's own default of count. Without it a container that is staged already would be made anew.
    return [{"driver": "", "device_ids": ids, "count": 0, "capabilities": [["gpu"]]}]
