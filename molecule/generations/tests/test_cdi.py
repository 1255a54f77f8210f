"""GPUs handed out by CDI: what a container gets, and what stands in the way, told before anything changes."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "shared"))

from lab import INVENTORY, changed, fingerprint, model, playbook, run

HOST = "gpu3"
OURS = (INVENTORY, "molecule/generations/hosts.ini")
FIRST, SECOND = "GPU-1ab5c0de-0004-4100-8000-0000000049aa", "GPU-1ab5c0de-0005-4100-8000-0000000049aa"
OF_ANOTHER_HOST = "GPU-1ab5c0de-0002-4100-8000-0000000049aa"
SPEC = "/etc/cdi/nvidia.yaml"
# By the init of the server, which starts the engine again. Docker 26.1 does not bring back what has GPUs by CDI.
RESTART = """
before=$(cat /run/docker.pid)
kill "$before"
answers='until now=$(cat /run/docker.pid) && [ "$now" != "$0" ] && docker version; do sleep 0.1; done'
timeout 60 sh -c "$answers" "$before" >/dev/null 2>&1
"""
START = "docker ps --all --quiet --filter label=llmops.nim.model | xargs docker start"
CONFIG = "/etc/docker/daemon.json"
FAULTS = {
    "the feature is off": (
        f'sed -i.good \'s/"cdi": true/"cdi": false/\' {CONFIG}; {RESTART}',
        f"mv {CONFIG}.good {CONFIG}; {RESTART} {START}",
        ["CDI is switched off in Docker", '{"features": {"cdi": true}}'],
    ),
    "there is no specification": (
        f"mv {SPEC} /root",
        # Docker looks again when a file is written, and not when one is moved there.
        f"cp /root/nvidia.yaml {SPEC} && rm /root/nvidia.yaml",
        ["No CDI specification names an NVIDIA GPU", "/etc/cdi", "nvidia-ctk cdi generate"],
    ),
    "the driver is not in the specification": (
        f"sed -i.good s,libcuda.so,libelse.so, {SPEC}; touch /usr/lib/nvidia-lab/libelse.so.580.159.04",
        f"mv {SPEC}.good {SPEC}; rm /usr/lib/nvidia-lab/libelse*",
        ["without the driver's libraries", "no libcuda.so in what it mounts", "libnvidia-ml.so.580.159.04"],
    ),
}


def plan(**variables):
    """The playbook's output, in one line, and its status."""
    done = playbook("plan", limit=HOST, inventories=OURS, **variables)
    return " ".join(done.stdout.split()), done.returncode


def container(name):
    (listed,) = run(HOST, f"docker ps --quiet --filter label=llmops.nim.model={name}").split()
    return json.loads(run(HOST, f"docker inspect {listed}"))[0]


@pytest.fixture(autouse=True)
def nothing_changes():
    before = fingerprint(HOST)
    yield
    assert fingerprint(HOST) == before


@pytest.mark.parametrize(
    ("name", "device", "index", "uuid"), [("by-uuid", SECOND, 1, SECOND), ("by-index", "0", 0, FIRST)]
)
def test_a_container_gets_its_own_gpu_and_no_other(name, device, index, uuid):
    one = container(name)
    (request,) = one["HostConfig"]["DeviceRequests"]
    assert (request["Driver"], request["DeviceIDs"]) == ("cdi", [f"nvidia.com/gpu={device}"])
    nodes = run(HOST, f"docker exec {one['Id']} sh -c 'echo /dev/nvidia*'").split()
    assert nodes == [f"/dev/nvidia{index}", "/dev/nvidiactl"]
    held = run(HOST, "nvidia-smi --query-compute-apps=pid,gpu_uuid --format=csv,noheader").splitlines()
    assert f"{one['State']['Pid']}, {uuid}" in held


def test_cdi_in_so_many_words_is_what_auto_has_chosen():
    output, status = plan(nim_container_gpu_mode="cdi")
    assert status == 0, output
    assert output.count("in sync") >= 2, output


def test_gpus_of_another_host_and_beyond_the_last_are_refused_at_once():
    wishes = [model(gpus=[7]), model(name="other", gpus=[OF_ANOTHER_HOST], port=8100)]
    output, status = plan(nim_models=wishes, nim_container_gpu_mode="cdi")
    assert status != 0, output
    for wish in ("7", OF_ANOTHER_HOST):
        assert f"asks for GPU {wish}, which this host does not have" in output


def test_the_runtime_hook_is_refused_and_the_way_that_works_is_told():
    output, status = plan(nim_container_gpu_mode="gpus")
    assert status != 0, output
    assert "Docker cannot hand out GPUs" in output
    assert "by CDI it could (nim_container_gpu_mode: auto or cdi)" in output


@pytest.mark.parametrize("fault", sorted(FAULTS))
def test_what_is_wrong_with_cdi_is_told(fault):
    do, undo, words = FAULTS[fault]
    with changed(HOST, do, undo):
        output, status = plan(nim_container_gpu_mode="cdi")
    assert status != 0, output
    for word in words:
        assert word in output, output
