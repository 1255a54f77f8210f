"""Bad input, each with a clear error, and nothing changed on the host."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "shared"))

from lab import KEY, changed, fingerprint, model, playbook, run, stopped

HOST = "gpu2"
UNKNOWN = "0" * 64


def deploy(*options, **variables):
    return playbook("deploy", *options, limit=HOST, **variables)


@pytest.fixture(autouse=True)
def nothing_changes():
    before = fingerprint(HOST)
    yield
    assert fingerprint(HOST) == before


def refused(done, *words):
    assert done.returncode != 0, done.stdout
    flat = " ".join(done.stdout.split())
    for word in words:
        assert word in flat, done.stdout
    assert "Traceback" not in done.stdout
    assert "do: " in done.stdout or "Supported parameters include" in flat or "unable to convert" in flat, done.stdout


KEYS_AND_IMAGES = {
    "no NGC key": ({"ngc_api_key": ""}, ["There is no NGC key", "export NGC_API_KEY"]),
    "wrong NGC key": ({"ngc_api_key": "nvapi-lab-wrong"}, ["refuses the NGC key", "HTTP 401"]),
    "unknown tag": (
        {"nim_models": [model(image="nvcr.lab/nim/meta/llama-3.2-1b-instruct:9.9")]},
        ["has no image nvcr.lab/nim/meta/llama-3.2-1b-instruct:9.9"],
    ),
    "unknown image": ({"nim_models": [model(image="nvcr.lab/nim/meta/lama:1.8.4")]}, ["has no image"]),
    "half an image": ({"nim_models": [model(image="llama")]}, ["whole image reference"]),
}
WEIGHTS = {
    "unknown repository": ({"nim_models": [model(weights__repo="lab/nothing")]}, ["lab/nothing does not exist"]),
    "gated, no token": (
        {"nim_models": [model(weights__repo="lab/Llama-3.2-1B-gated")], "weights_hf_token": ""},
        ["gated", "token"],
    ),
    "gated, token without access": (
        {"nim_models": [model(weights__repo="lab/Llama-3.2-1B-gated")], "weights_hf_token": "hf_lab_outsider"},
        ["no access to lab/Llama-3.2-1B-gated", "Accept the terms"],
    ),
    "invalid token": (
        {"nim_models": [model(weights__repo="lab/Llama-3.2-1B-gated")], "weights_hf_token": "hf_lab_nobody"},
        ["does not accept the token"],
    ),
    "unknown revision": ({"nim_models": [model(weights__revision="v9")]}, ["no revision 'v9'", "tag v1"]),
    "no config.json": ({"nim_models": [model(weights__repo="lab/broken-no-config")]}, ["config.json is missing"]),
    "pointer instead of a shard": ({"nim_models": [model(weights__repo="lab/broken-pointer")]}, ["pointer"]),
    "corrupted object": ({"nim_models": [model(weights__repo="lab/broken-object")]}, ["sha256"]),
    "missing shard": ({"nim_models": [model(weights__repo="lab/broken-shard")]}, ["safetensors"]),
    "full disk": (
        {"nim_models": [model(weights__revision="v2")], "weights_reserve_bytes": 10**15},
        ["GiB"],
    ),
}
GPUS = {
    "unknown GPU index": ({"nim_models": [model(gpus=[5])]}, ["5", "RTX 6000 Ada"]),
    "unknown GPU UUID": ({"nim_models": [model(gpus=["GPU-00000000-0000-0000-0000-000000000000"])]}, ["GPU-0000"]),
    "more GPUs than there are": ({"nim_models": [model(gpus={"count": 3})]}, ["3", "RTX 6000 Ada"]),
    "two kinds of GPU": ({"nim_models": [model(gpus=[0, 1])]}, ["T600", "gpus: [0]"]),
}
WISHES = {
    "misspelt key": ({"nim_models": [dict(model(), prot=8000)]}, ["prot", "Supported parameters include"]),
    "wrong type": ({"nim_models": [model(port="eight thousand")]}, ["port", "unable to convert"]),
    "reserved variable": ({"nim_models": [model(env={"NIM_FT_MODEL": "/x"})]}, ["NIM_FT_MODEL", "out of env"]),
    "no size": ({"nim_models": [model(shm_size="much")]}, ["shm_size is no size", "shm_size: 'much'"]),
    "unknown profile": ({"nim_models": [model(profile=UNKNOWN)]}, [UNKNOWN]),
    "profile with its description": (
        {"nim_models": [model(profile=f"{UNKNOWN} (tensorrt_llm-trtllm_buildable-bf16-tp1-pp1)")]},
        ["id (description)", UNKNOWN],
    ),
    "unexpected answer": (
        {"nim_models": [model(verify=[{"prompt": "What is the capital of France?", "expect": "Lyon"}])]},
        ["not what is expected", "Paris", "Lyon"],
    ),
}
CASES = {**KEYS_AND_IMAGES, **WEIGHTS, **GPUS, **WISHES}


@pytest.mark.parametrize("case", sorted(CASES))
def test_bad_input(case):
    variables, words = CASES[case]
    refused(deploy(**variables), *words)


def test_registry_down():
    with stopped("nim-lab-registry"):
        refused(deploy(), "registry nvcr.lab cannot be reached", "nothing was changed")


def test_hub_down():
    with stopped("nim-lab-hub"):
        # Asked by the server itself: the control node's way leads through the hub's machine.
        refused(deploy(nim_resolver=HOST, nim_resolver_environment={}), "hub.lab")


def test_driver_too_old():
    with changed(
        HOST,
        "cp /etc/nim-lab/gpus.json /tmp/gpus.json && sed -i s/535.183.01/470.10/ /etc/nim-lab/gpus.json",
        "cat /tmp/gpus.json > /etc/nim-lab/gpus.json && rm /tmp/gpus.json",
    ):
        refused(deploy(), "470.10", "560", "driver")


def test_no_container_toolkit():
    hooks = "$(ls -d /usr/bin/nvidia-c* /usr/local/bin/nvidia-c* 2>/dev/null)"
    with changed(
        HOST,
        f"mkdir /root/away && for one in {hooks}; do dirname $one > /root/dir; mv $one /root/away/; done",
        "mv /root/away/* $(cat /root/dir)/ && rmdir /root/away && rm /root/dir",
    ):
        refused(deploy(), "container toolkit", "nvidia-ctk runtime configure")


def test_port_held_by_a_process():
    with changed(
        HOST,
        "setsid python3 -m http.server 8055 >/dev/null 2>&1 </dev/null & "
        "until ss -Hltn sport = :8055 | grep -q .; do sleep 0.1; done",
        "pkill -f 'http.server 8055'",
    ):
        refused(deploy(nim_models=[model(port=8055)]), "8055", "python3")


def test_disk_too_small():
    floors = {"docker": "20.10", "disk_cache_gib": 10**6}
    refused(deploy(nim_models=[model(name="other", port=8055)], gpu_host_floors=floors), "1000000", "GiB")


def test_no_secret_is_shown_however_much_is_printed():
    done = deploy("-vvv", ngc_api_key="nvapi-lab-wrong")
    assert done.returncode != 0
    secret = done.stdout.replace('"ngc_api_key": "nvapi-lab-wrong"', "")  # our own command line
    assert KEY not in secret
    assert "hf_lab_reader" not in secret


def test_the_service_still_answers():
    answer = run(
        HOST,
        "curl -s http://127.0.0.1:8000/v1/models || "
        "python3 -c \"import urllib.request as u; print(u.urlopen('http://127.0.0.1:8000/v1/models').read())\"",
    )
    assert "capitals" in answer
