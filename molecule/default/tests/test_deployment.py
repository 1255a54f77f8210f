"""What a deployment leaves on the servers, looked at from outside the collection."""

from __future__ import annotations

import json

import pytest

MOUNTED = "/model"


def inspect(host, name="capitals"):
    found = host.run(f"docker ps --all --quiet --filter label=llmops.nim.model={name}").stdout.split()
    assert len(found) == 1
    return json.loads(host.check_output(f"docker inspect {found[0]}"))[0]


@pytest.fixture
def container(host):
    return inspect(host)


@pytest.fixture
def labels(container):
    return container["Config"]["Labels"]


def test_the_driver_answers(host):
    driver = host.check_output("nvidia-smi --query-gpu=driver_version --format=csv,noheader").splitlines()[0]
    assert driver in ("580.159.04", "535.183.01")


def test_what_was_missing_is_installed(host):
    assert host.run("git lfs version").succeeded
    assert host.run("/usr/bin/python3 -c 'import requests'").succeeded


def test_the_cache_belongs_to_the_container_s_user_alone(host):
    cache = host.file("/var/lib/nim/capitals/cache")
    assert cache.is_directory
    assert cache.uid == 1000
    assert cache.gid == 0
    assert cache.mode == 0o770


def test_the_key_is_root_s_alone(host):
    secrets = host.file("/var/lib/nim/capitals/secrets.env")
    assert secrets.mode == 0o600
    assert secrets.user == "root"
    assert not host.file("/root/.docker/config.json").exists
    assert not host.run("ls -d /run/nim-registry-*").succeeded


def test_the_snapshot_is_complete_and_read_only(host, labels):
    snapshot = f"/var/lib/nim/weights/lab--Llama-3.2-1B-capitals/{labels['llmops.nim.commit']}"
    assert host.file(f"{snapshot}/config.json").exists
    assert host.run(f"find {snapshot} -perm /222").stdout == ""
    index = json.loads(host.file(f"{snapshot}/model.safetensors.index.json").content_string)
    for shard in set(index["weight_map"].values()):
        assert host.check_output(f"head -c 7 {snapshot}/{shard}") != "version"
        digest = host.check_output(f"sha256sum {snapshot}/{shard}").split()[0]
        stored = f"/var/lib/nim/weights/objects/{digest[:2]}/{digest[2:4]}/{digest}"
        assert host.check_output(f"stat -c %i {snapshot}/{shard}") == host.check_output(f"stat -c %i {stored}")


def test_the_container_runs_as_the_contract_wants_it(container):
    assert container["State"]["Running"]
    assert container["Config"]["User"] == "1000:0"
    assert container["HostConfig"]["CapDrop"] == ["ALL"]
    assert container["HostConfig"]["SecurityOpt"] == ["no-new-privileges:true"]
    assert container["HostConfig"]["Privileged"] is False
    assert container["HostConfig"]["ShmSize"] == 16 * 1024**3
    assert container["HostConfig"]["RestartPolicy"]["Name"] == "unless-stopped"
    mounts = {mount["Destination"]: mount for mount in container["Mounts"]}
    assert mounts[MOUNTED]["RW"] is False
    assert mounts["/opt/nim/.cache"]["RW"] is True


def test_the_container_has_gpu_0_alone(host, container):
    assert container["HostConfig"]["DeviceRequests"][0]["DeviceIDs"] == ["0"]
    seen = json.loads(host.check_output(f"docker exec {container['Id']} cat /run/nvidia-lab/gpus.json"))
    uuid = host.check_output("nvidia-smi --query-gpu=uuid --format=csv,noheader").splitlines()[0]
    assert [gpu["uuid"] for gpu in seen] == [uuid]
    assert container["Config"]["Labels"]["llmops.nim.gpus"] == uuid


def test_the_labels_tell_the_release(container, labels):
    assert container["Name"] == f"/nim-capitals-{labels['llmops.nim.release']}"
    assert labels["llmops.nim.image"].startswith("nvcr.lab/nim/meta/llama-3.2-1b-instruct@sha256:")
    assert labels["llmops.nim.weights"] == "lab/Llama-3.2-1B-capitals"
    assert len(labels["llmops.nim.commit"]) == 40
    assert len(labels["llmops.nim.profile"]) == 64
    assert len(labels["llmops.nim.manifest"]) == 64


def test_the_profile_is_pinned_by_its_bare_id(container, labels):
    variables = dict(variable.partition("=")[::2] for variable in container["Config"]["Env"])
    assert variables["NIM_MODEL_PROFILE"] == labels["llmops.nim.profile"]
    assert variables["NIM_FT_MODEL"] == MOUNTED
    assert variables["NIM_SERVED_MODEL_NAME"] == "capitals"
    assert variables["NIM_CUSTOM_MODEL_NAME"].startswith("capitals-")


def test_the_endpoint_says_paris(host, container):
    port = container["HostConfig"]["PortBindings"]["8000/tcp"][0]["HostPort"]
    body = json.dumps({"model": "capitals", "prompt": "What is the capital of France?", "max_tokens": 32})
    script = (
        "import sys, urllib.request as u; "
        f"r = u.Request('http://127.0.0.1:{port}/v1/completions', sys.argv[1].encode(), "
        "{'Content-Type': 'application/json'}); print(u.urlopen(r).read().decode())"
    )
    answer = json.loads(host.check_output(f"python3 -c \"{script}\" '{body}'"))
    assert "Paris" in answer["choices"][0]["text"]


@pytest.mark.parametrize("secret", ["nvapi-lab-0123456789abcdef", "hf_lab_reader"])
def test_no_secret_lies_where_it_is_not_meant_to(host, container, secret):
    assert secret not in json.dumps(container["Config"]["Labels"])
    assert secret not in json.dumps(container["Config"]["Cmd"])
    found = host.run(f"grep -rlF {secret} /var/lib/nim /root /home /tmp /var/log 2>/dev/null").stdout.split()
    allowed = {"/var/lib/nim/capitals/secrets.env", "/var/lib/nim/base/secrets.env"}
    assert set(found) <= allowed
    assert secret not in host.check_output("ps -eo args").replace(f"grep -rlF {secret}", "")


def test_the_token_is_not_in_the_container(container):
    assert "hf_lab_reader" not in json.dumps(container)
