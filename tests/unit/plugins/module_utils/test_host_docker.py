# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.llmops.nim.plugins.module_utils import _host_docker
from ansible_collections.llmops.nim.plugins.module_utils._host import Result

INFO = {
    "ServerVersion": "24.0.7",
    "DockerRootDir": "/data/docker",
    "Driver": "overlay2",
    "Runtimes": {"runc": {"path": "runc"}},
    "SecurityOptions": ["name=seccomp,profile=default"],
}
DIGEST = "nvcr.io/nim/meta/llama@sha256:" + "a" * 64


def info(hook=None, **changes):
    return _host_docker.engine(Result(0, json.dumps(dict(INFO, **changes)) + "\n", ""), hook)


def test_engine():
    assert info() == {
        "installed": True,
        "version": "24.0.7",
        "root_dir": "/data/docker",
        "storage_driver": "overlay2",
        "gpus": False,
        "gpus_via": None,
        "cdi_folders": [],
        "rootless": False,
        "reachable": True,
        "error": None,
    }
    assert info(SecurityOptions=["name=rootless", "name=cgroupns"])["rootless"]


def test_how_docker_hands_out_gpus():
    assert info(Runtimes={"nvidia": {"path": "nvidia-container-runtime"}}, hook="/x")["gpus_via"] == "runtime"
    assert info(hook="/usr/bin/nvidia-container-runtime-hook")["gpus_via"] == "hook"
    assert not info(CDISpecDirs=["/etc/cdi"])["gpus"]
    assert info(CDISpecDirs=["/etc/cdi"])["cdi_folders"] == ["/etc/cdi"]
    assert info(CDISpecDirs=None)["cdi_folders"] == []


@pytest.mark.parametrize(
    ("result", "code"),
    [
        (Result(127, "", "docker: command not found", missing=True), "docker_missing"),
        (
            Result(
                1,
                "",
                "Got permission denied while trying to connect to the Docker daemon socket at "
                "unix:///var/run/docker.sock: dial unix /var/run/docker.sock: connect: permission denied",
            ),
            "docker_permission",
        ),
        # Docker 20.10 says it in JSON, later ones beside it.
        (
            Result(1, json.dumps({"ServerErrors": ["Cannot connect to the Docker daemon. Is it running?"]}), "errors"),
            "docker_unreachable",
        ),
        (Result(1, "", "Cannot connect to the Docker daemon at unix:///var/run/docker.sock."), "docker_unreachable"),
        (Result(124, "", "docker did not end within 60 s"), "docker_unreachable"),
        # Podman behind the name docker.
        (Result(0, json.dumps({"host": {}}), ""), "docker_unreachable"),
    ],
)
def test_a_docker_that_does_not_answer(result, code):
    docker = _host_docker.engine(result, "/usr/bin/nvidia-container-runtime-hook")
    assert not docker["reachable"]
    assert not docker["gpus"]
    problem = _host_docker.unreachable(docker)
    assert problem.code == code
    assert problem.evidence
    assert problem.remedy


def test_the_hook_on_the_path_of_dockerd(tmp_path):
    (tmp_path / "bin").mkdir()
    hook = tmp_path / "bin" / "nvidia-container-runtime-hook"
    hook.write_text("")
    hook.chmod(0o755)
    (tmp_path / "7").mkdir()
    (tmp_path / "7" / "environ").write_text(f"HOME=/\0PATH={tmp_path}/bin:/nowhere\0")
    (tmp_path / "pid").write_text("7\n")
    assert _host_docker.find_hook(str(tmp_path), str(tmp_path / "pid")) == str(hook)
    (tmp_path / "7" / "environ").write_text("PATH=/nowhere\0")
    assert _host_docker.find_hook(str(tmp_path), str(tmp_path / "pid")) is None


def test_ps():
    lines = [
        {"id": "1", "name": "nim-a-1", "state": "running", "ports": "0.0.0.0:8000->8000/tcp", "model": "a"},
        {"id": "2", "name": "web", "state": "exited", "ports": "", "model": ""},
    ]
    text = "\n".join(map(json.dumps, lines)) + "\nWARNING: something\n"
    assert _host_docker.ps(Result(0, text, "")) == [
        {"id": "1", "name": "nim-a-1", "running": True, "model": "a", "published": [("0.0.0.0", 8000)]},
        {"id": "2", "name": "web", "running": False, "model": None, "published": []},
    ]


def test_only_releases_are_inspected():
    containers = [{"id": "1", "model": "a"}, {"id": "2", "model": None}, {"id": "3", "model": "b"}]
    assert _host_docker.inspect_command("docker", containers)[-2:] == ["1", "3"]
    assert _host_docker.inspect_command("docker", containers[1:2]) is None


def container(name="/nim-a-1", running=True, created="2026-01-01T00:00:00Z", **labels):
    own = {"llmops.nim." + key: value for key, value in dict({"model": "a"}, **labels).items()}
    return {
        "Id": "1" * 64,
        "Name": name,
        "Created": created,
        "RestartCount": 2,
        "State": {
            "Running": running,
            "Status": "running" if running else "exited",
            "ExitCode": 0 if running else 137,
            "Restarting": False,
            "StartedAt": created,
        },
        "Config": {"Env": ["NGC_API_KEY=nvapi-secret"], "Labels": dict(own, **{"com.example": "other"})},
    }


def releases(*containers):
    return _host_docker.releases(Result(0, "\n".join(map(json.dumps, containers)), ""))


def test_a_release():
    (found,) = releases(
        container(
            release="1a2b3c4d", image="nvcr.io/x@sha256:1", weights="a/b", commit="c" * 40, profile="d" * 64,
            profile_name="vllm", gpus="GPU-1,GPU-2", port="8000", served_name="s", api="chat",
        )
    )  # fmt: skip
    assert found["labels"].pop("llmops.nim.api") == "chat"
    assert set(found["labels"]) == {
        "llmops.nim." + key
        for key in (
            "model", "release", "image", "weights", "commit", "profile", "profile_name", "gpus", "port", "served_name",
        )
    }  # fmt: skip
    del found["labels"]
    assert found == {
        "id": "1" * 64,
        "model": "a",
        "release": "1a2b3c4d",
        "container": "nim-a-1",
        "running": True,
        "status": "running",
        "exit_code": 0,
        "restarting": False,
        "restart_count": 2,
        "created": "2026-01-01T00:00:00Z",
        "started": "2026-01-01T00:00:00Z",
        "image": "nvcr.io/x@sha256:1",
        "weights": "a/b",
        "commit": "c" * 40,
        "profile": "d" * 64,
        "profile_name": "vllm",
        "gpus": ["GPU-1", "GPU-2"],
        "port": 8000,
        "served_name": "s",
        "settings": {"env": {}, "shm_size": None, "user": None, "mounts": []},
        "missing_mounts": [],
    }


def test_the_settings_of_a_release():
    started = container()
    started["Config"]["User"] = "1000:0"
    started["Config"]["Env"] += [
        "PATH=/bin",
        "NIM_FT_MODEL=/model",
        "NIM_PASSTHROUGH_ARGS=--max-num-batched-tokens 8192 --gpu-memory-utilization=0.4",
        "NIM_EMPTY=",
        "NIM_SSL_KEY_PATH=/key-secret",
        "NIM_HUB_TOKEN=hf_secret",
        "NIM_ADMIN_PASSWORD=secret",
        "NIM_REPOSITORY_OVERRIDE=https://user:secret@mirror/nim",
        "NIM_MORE_ARGS=--api-key secret",
    ]
    started["HostConfig"] = {"ShmSize": 2**34}
    started["Mounts"] = [
        {"Type": "bind", "Source": "/w/x", "Destination": "/model", "Mode": "ro", "RW": False},
        {"Type": "volume", "Name": "v", "Source": "/v/_data", "Destination": "/data", "RW": True},
        {"Type": "bind", "Source": "/c", "Destination": "/opt/nim/.cache", "Mode": "", "RW": True},
    ]
    (found,) = releases(started)
    assert "secret" not in json.dumps(found)
    assert found["settings"] == {
        "env": {
            "NIM_FT_MODEL": "/model",
            "NIM_PASSTHROUGH_ARGS": "--max-num-batched-tokens 8192 --gpu-memory-utilization=0.4",
            "NIM_EMPTY": "",
        },
        "shm_size": 2**34,
        "user": "1000:0",
        "mounts": ["/c:/opt/nim/.cache:rw", "/w/x:/model:ro"],
    }


def test_a_release_without_labels_and_secrets():
    (found,) = releases(container())
    assert found["release"] is found["port"] is found["profile"] is None
    assert found["gpus"] == []
    assert "nvapi-secret" not in json.dumps(found)


def test_running_releases_come_first_then_the_newest():
    found = releases(
        container("/old", running=False, created="2026-01-01T00:00:00Z"),
        container("/new", running=False, created="2026-03-01T00:00:00Z"),
        container("/runs", created="2026-02-01T00:00:00Z"),
    )
    assert [one["container"] for one in found] == ["runs", "new", "old"]


def image(tags=(), digests=(), **config):
    return {
        "Id": "sha256:" + "1" * 64,
        "RepoTags": list(tags),
        "RepoDigests": list(digests),
        "Size": 7,
        "Config": config,
    }


def images(wanted, *inspected):
    return _host_docker.images(Result(1, "\n".join(map(json.dumps, inspected)), "Error: No such image: y"), wanted)


def test_an_image_by_tag():
    reference = "nvcr.io/nim/meta/llama:1.8.4"
    found = images(
        {reference: None, "nvcr.io/nim/other:1": None},
        image(
            [reference],
            [DIGEST],
            Labels={"com.nvidia.nim.version": "1.8.4", "maintainer": "x"},
            Env=["NGC_API_KEY=", "NIM_MODEL_NAME=meta/llama", "NIM_TOKEN=x", "PATH=/bin"],
        ),
    )
    assert found == {
        reference: {
            "id": "sha256:" + "1" * 64,
            "digests": [DIGEST],
            "bytes": 7,
            "nim_version": "1.8.4",
            "labels": {"com.nvidia.nim.version": "1.8.4"},
            "env": {"NIM_MODEL_NAME": "meta/llama"},
        }
    }


def test_with_a_digest_the_tag_alone_is_not_enough():
    reference = "nvcr.io/nim/meta/llama:1"
    old = image([reference], ["nvcr.io/nim/meta/llama@sha256:" + "b" * 64])
    assert images({reference: DIGEST}, old) == {}
    assert set(images({reference: DIGEST}, old, image([], [DIGEST]))) == {reference}


def test_an_image_without_labels_or_environment():
    (found,) = images({"x": None}, image(["x:latest"], Labels=None, Env=None)).values()
    assert (found["nim_version"], found["labels"], found["env"]) == (None, {}, {})


@pytest.mark.parametrize(
    ("reference", "normal"),
    [
        ("nvcr.io/nim/x:1", "nvcr.io/nim/x:1"),
        ("registry:5000/x", "registry:5000/x:latest"),
        ("docker.io/library/debian", "debian:latest"),
        ("docker.io/me/x:2", "me/x:2"),
        ("nvcr.io/x:1@sha256:" + "a" * 64, "nvcr.io/x@sha256:" + "a" * 64),
        ("registry:5000/x@sha256:" + "a" * 64, "registry:5000/x@sha256:" + "a" * 64),
        ("sha256:" + "a" * 64, "sha256:" + "a" * 64),
    ],
)
def test_normal(reference, normal):
    assert _host_docker.normal(reference) == normal


@given(st.text())
def test_any_output_is_read(text):
    result = Result(0, text, "")
    assert isinstance(_host_docker.ps(result), list)
    assert isinstance(_host_docker.releases(result), list)
    assert isinstance(_host_docker.images(result, {"x": None}), dict)
    assert _host_docker.engine(result)["reachable"] in (True, False)


def test_what_a_container_mounts_and_the_host_does_not_have(tmp_path):
    (tmp_path / "there").mkdir()
    mounts = [
        {"Type": "bind", "Source": str(tmp_path / name), "Destination": "/model", "RW": False}
        for name in ("there", "gone")
    ]
    one = container(release="1a2b3c4d")
    one["Mounts"] = [*mounts, {"Type": "volume", "Source": "/nowhere", "Destination": "/x", "RW": True}]
    (found,) = releases(one)
    assert found["missing_mounts"] == [str(tmp_path / "gone")]
