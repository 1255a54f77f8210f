# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""The module as it runs on a host: a process of its own, with commands on its PATH that stand in for the host's."""

from __future__ import annotations

import json
import os
import pathlib
import re
import shutil
import socket
import subprocess
import sys
import threading

import pytest

from ansible_collections.llmops.nim.plugins.module_utils import _snapshot
from ansible_collections.llmops.nim.plugins.modules import gpu_host_info

ROOT = pathlib.Path(__file__).resolve().parents[4]
FIXTURES = ROOT / "tests" / "unit" / "fixtures" / "nvidia_smi"
IMAGE = "nvcr.io/nim/meta/llama-3.2-1b-instruct:1.8.4"
PINNED = "nvcr.io/nim/meta/llama-3.2-1b-instruct@sha256:" + "a" * 64
ADA = "GPU-1f0c2a7e-5a83-4f0b-9d3a-6b1f4f7f2c11"
# As far as the machine that runs the tests may not be fit.
FLOORS = {"cpus": 0, "memory_gib": 0, "disk_image_gib": 0, "disk_weights_gib": 0, "disk_cache_gib": 0}


class Host:
    """Stand-ins for the commands of a GPU server, and the module run among them."""

    def __init__(self, folder):
        self.folder = folder
        self.state = folder / "state"
        self.state.mkdir()
        self.command("nvidia-ctk", "echo 'NVIDIA Container Toolkit CLI version 1.17.4'; echo 'commit: 9b69590c'")
        self.command("nvidia-smi", f"case $1 in -q) cat {self.state}/smi;; *) cat {self.state}/capability;; esac")
        self.command(
            "docker",
            f"""echo "$*" >> {self.state}/calls
case $1 in
  image) cat {self.state}/images; echo 'Error: No such image' >&2; exit 1;;
  info | ps | inspect) cat {self.state}/$1;;
esac""",
        )
        self.gpus("rtx6000ada_t600_driver535")
        self.write("capability", f"{ADA}, 8.9\n")
        self.docker()
        self.write("images", "")
        self.containers()

    def command(self, name, body):
        path = self.folder / name
        path.write_text(f"#!/bin/sh\n{body}\n")
        path.chmod(0o755)

    def write(self, name, text):
        (self.state / name).write_text(text)

    def gpus(self, name):
        shutil.copy(str(FIXTURES / f"{name}.xml"), str(self.state / "smi"))

    def docker(self, **changes):
        info = {"ServerVersion": "24.0.7", "DockerRootDir": "/nowhere", "Driver": "overlay2"}
        info["Runtimes"] = {"runc": {}, "nvidia": {}}
        self.write("info", json.dumps(dict(info, **changes)))

    def containers(self, *containers):
        """(id, name, state, ports, labels) each."""
        self.write(
            "ps",
            "".join(
                json.dumps(
                    {"id": identity, "name": name, "state": state, "ports": ports, "model": labels.get("model", "")}
                )
                + "\n"
                for identity, name, state, ports, labels in containers
            ),
        )
        self.write(
            "inspect",
            "".join(
                json.dumps(
                    {
                        "Id": identity,
                        "Name": "/" + name,
                        "Created": "2026-01-01T00:00:00Z",
                        "State": {"Running": state == "running", "Status": state},
                        "Config": {"Labels": {"llmops.nim." + key: value for key, value in labels.items()}},
                    }
                )
                + "\n"
                for identity, name, state, dummy, labels in containers
                if labels
            ),
        )

    def run(self, models=None, **options):
        """What the module returns."""
        params = dict({"models": [model()] if models is None else models, "floors": FLOORS}, **options)
        process = subprocess.run(
            [sys.executable, gpu_host_info.__file__],
            input=json.dumps({"ANSIBLE_MODULE_ARGS": params}),
            env=dict(
                os.environ,
                PATH=f"{self.folder}{os.pathsep}{os.environ['PATH']}",
                PYTHONPATH=os.pathsep.join([str(ROOT / "collections"), *sys.path]),
            ),
            capture_output=True,
            encoding="utf-8",
            check=False,
        )
        assert not process.stderr, process.stderr
        return json.loads(process.stdout)

    def calls(self):
        return (self.state / "calls").read_text().splitlines()


def free_port():
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        return server.getsockname()[1]


def model(name="a", **changes):
    return dict(
        {"name": name, "image": IMAGE, "weights": {"repo": "org/w"}, "port": free_port(), "gpus": [0]}, **changes
    )


@pytest.fixture
def host(tmp_path):
    return Host(tmp_path)


def codes(result, key="problems"):
    return [one["code"] for one in result[key]]


def test_a_host_that_is_fit(host):
    result = host.run(nim_versions={IMAGE: "1.8.4"})
    assert result["problems"] == []
    assert result["report"] == ""
    assert result["changed"] is False
    # The driver of the founding team.
    assert codes(result, "warnings_found") == ["driver_too_old"]
    assert "535.183.01" in result["warnings_report"]
    assert [(gpu["index"], gpu["name"], gpu["compute_capability"]) for gpu in result["gpus"]] == [
        (0, "NVIDIA RTX 6000 Ada Generation", "8.9"),
        (1, "NVIDIA T600", None),
    ]
    assert result["assignments"] == {"a": [result["gpus"][0]]}
    seen = result["host"]
    assert seen["hostname"] == socket.gethostname()
    assert seen["driver"] == {"version": "535.183.01", "cuda_version": "12.2"}
    assert seen["toolkit"] == {"version": "1.17.4"}
    assert seen["docker"]["version"] == "24.0.7"
    assert seen["docker"]["gpus_via"] == "runtime"
    assert [disk["purpose"] for disk in seen["disks"]] == ["image", "weights", "cache"]
    assert seen["ports"][0]["holder"] is None
    assert result["models"][0]["shm_size"] == "16g"
    assert result["releases"] == []


def test_few_calls(host):
    host.run()
    assert sorted(call.split()[0] for call in host.calls()) == ["image", "info", "ps"]


def test_check_mode_does_the_same(host):
    models = [model()]
    assert host.run(models, _ansible_check_mode=True)["gpus"] == host.run(models)["gpus"]


def test_a_release_and_its_port(host):
    wanted = model(gpus={"count": 1})
    port = wanted["port"]
    labels = {"model": "a", "release": "1a2b3c4d", "gpus": ADA, "port": str(port), "weights": "org/w"}
    ports = f"0.0.0.0:{port}->8000/tcp"
    host.containers(("1" * 64, "nim-a-1a2b3c4d", "running", ports, labels), ("2" * 64, "web", "exited", "", {}))
    result = host.run([wanted])
    (release,) = result["releases"]
    assert (release["model"], release["container"], release["running"]) == ("a", "nim-a-1a2b3c4d", True)
    assert release["gpus"] == [ADA]
    assert result["problems"] == []
    assert result["host"]["ports"][0]["holder"]["container"] == "nim-a-1a2b3c4d"
    inspect = [call for call in host.calls() if call.startswith("inspect")]
    assert len(inspect) == 1
    assert inspect[0].endswith(" " + "1" * 64)
    # Another model may not have that port.
    result = host.run([model("b", port=port)])
    assert codes(result) == ["port_in_use"]
    assert "nim-a-1a2b3c4d (a release of model a)" in result["report"]


def in_use(host, mib, *pids):
    """As much of GPU 0 is in use, held by these processes where any are named."""
    xml = (FIXTURES / "rtx6000ada_t600_driver535.xml").read_text()
    named = "".join(
        f"<process_info><pid>{pid}</pid><type>C</type><process_name>python3</process_name>"
        f"<used_memory>{mib - 10} MiB</used_memory></process_info>"
        for pid in pids
    )
    xml = re.sub("(<used>)[0-9]+( MiB)", rf"\g<1>{mib}\2", xml, count=1)
    host.write("smi", xml.replace("<processes>", f"<processes>{named}", 1))


def test_the_gpu_memory_of_a_release(host):
    labels = {"model": "a", "release": "1a2b3c4d", "gpus": ADA}
    host.containers(("1" * 64, "nim-a-1a2b3c4d", "running", "", labels))
    in_use(host, 8719)
    (release,) = host.run()["releases"]
    assert release["id"] == "1" * 64
    assert release["memory_mib"] == {ADA: 8719}
    # Now it is known to be another's: this process runs in no release.
    in_use(host, 8719, os.getpid())
    result = host.run()
    assert result["releases"][0]["memory_mib"] == {ADA: 0}
    assert result["gpus"][0]["processes"] == [{"pid": os.getpid(), "name": "python3", "used_memory_mib": 8709}]
    # This one has ended, or counts in another namespace.
    in_use(host, 8719, 2**22 + 1)
    assert host.run()["releases"][0]["memory_mib"] == {ADA: 8719}


def test_engines_and_snapshots(host):
    wanted = "org/w@" + "c" * 40
    result = host.run(weights_dir=str(host.folder), snapshots=[wanted])
    assert result["engines"] == {"a": []}
    assert result["snapshots"] == {wanted: False}
    spot = _snapshot.place(str(host.folder), "org/w", "c" * 40)
    os.makedirs(spot.home)
    pathlib.Path(spot.manifest).write_text(json.dumps(_snapshot.manifest("org/w", "c" * 40, {}, [])))
    assert host.run(weights_dir=str(host.folder), snapshots=[wanted])["snapshots"] == {wanted: False}
    os.mkdir(spot.path)
    assert host.run(weights_dir=str(host.folder), snapshots=[wanted])["snapshots"] == {wanted: True}
    refused = host.run(snapshots=["org/w@main", wanted])
    assert refused["failed"]
    assert codes(refused) == ["snapshots_invalid"]
    assert "org/w@main" in refused["msg"]


def test_a_port_in_use_by_a_real_process(host):
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen(1)
        port = server.getsockname()[1]
        result = host.run([model(port=port)])
    assert codes(result) == ["port_in_use"]
    assert f"(pid {os.getpid()})" in result["report"]
    assert result["host"]["ports"] == [
        {
            "port": port,
            "holder": {
                "address": "127.0.0.1",
                "process": pathlib.Path("/proc/self/comm").read_text(encoding="utf-8").strip(),
                "pid": os.getpid(),
                "container": None,
                "model": None,
                "leftover": False,
            },
        }
    ]


def test_a_leftover_docker_proxy(host):
    host.command(
        "docker-proxy.py",
        f"""exec {sys.executable} -c '
import socket, sys
open("/proc/self/comm", "w").write("docker-proxy")
server = socket.socket(); server.bind(("127.0.0.1", 0)); server.listen(1)
print(server.getsockname()[1], flush=True)
sys.stdin.read()'""",
    )
    proxy = subprocess.Popen(
        [str(host.folder / "docker-proxy.py")], stdin=subprocess.PIPE, stdout=subprocess.PIPE, encoding="ascii"
    )
    try:
        port = int(proxy.stdout.readline())
        host.containers(("1" * 64, "nim-b-1", "exited", "", {"model": "b"}))
        result = host.run([model(port=port)])
    finally:
        proxy.communicate("")
    assert codes(result) == ["port_in_use"]
    assert f"kill {proxy.pid} " in result["report"]


def test_an_image_on_the_host_and_its_version(host):
    image = {
        "Id": "sha256:" + "1" * 64,
        "RepoTags": [IMAGE],
        "RepoDigests": [PINNED],
        "Config": {"Labels": {"com.nvidia.nim.version": "2.0.12"}},
    }
    host.write("images", json.dumps(image) + "\n")
    floors = dict(FLOORS, disk_image_gib=10**6)
    result = host.run(image_digests={IMAGE: PINNED}, floors=floors)
    assert result["images"][IMAGE]["nim_version"] == "2.0.12"
    # 2.x on a workstation card; the image needs no disk.
    assert codes(result) == ["driver_too_old"]
    moved = host.run(image_digests={IMAGE: PINNED[:-1] + "b"}, floors=floors)
    assert moved["images"] == {}
    assert codes(moved) == ["disk_too_small"]


def test_disk_by_the_size_of_the_image(host):
    floors = {name: value for name, value in FLOORS.items() if name != "disk_image_gib"}
    result = host.run(image_bytes={IMAGE: 10**15}, floors=floors)
    assert codes(result) == ["disk_too_small"]
    assert "our estimate" in result["report"]


def test_gpus_that_are_not_there_and_a_mix(host):
    models = [model("a", gpus=[7]), model("b", gpus=[0, 1]), model("c", gpus={"count": 3}), model("d", gpus=[ADA[:12]])]
    result = host.run(models)
    assert codes(result) == ["gpu_not_present", "gpu_mix", "gpu_too_few"]
    assert [one["model"] for one in result["problems"]] == ["a", "b", "c"]
    assert list(result["assignments"]) == ["d"]
    assert result["report"].startswith("1. Model a asks for GPU 7")
    assert "\n3. " in result["report"]


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ("echo 'Failed to initialize NVML: Driver/library version mismatch'; exit 18", "driver_mismatch"),
        ("echo No devices were found; exit 6", "gpu_none"),
        ("echo '<broken'", "nvidia_smi_unreadable"),
    ],
)
def test_nvidia_smi_that_fails(host, body, code):
    host.command("nvidia-smi", body)
    result = host.run()
    assert codes(result) == [code]
    assert result["gpus"] == []
    assert result["host"]["driver"] is None


def test_no_gpu(host):
    host.gpus("no_devices")
    result = host.run()
    assert codes(result) == ["gpu_none"]
    assert result["host"]["driver"]["version"] == "580.159.04"


def test_a_bare_host(host):
    result = host.run(nvidia_smi="no-such-nvidia-smi", docker="no-such-docker")
    assert codes(result) == ["driver_missing", "docker_missing"]
    assert result["releases"] == []
    assert result["images"] == {}


def test_docker_that_refuses_this_user(host):
    host.command("docker", "echo 'permission denied while trying to connect to the Docker daemon socket' >&2; exit 1")
    assert codes(host.run()) == ["docker_permission"]


def test_docker_without_gpus(host):
    host.docker(Runtimes={"runc": {}})
    assert codes(host.run()) in (["docker_no_gpus"], [])  # nothing, where this machine has NVIDIA's hook
    host.command("nvidia-ctk", "exit 1")
    host.command("nvidia-container-cli", "echo 'cli-version: 1.12.1'; echo 'lib-version: 1.12.1'")
    result = host.run(nim_versions={IMAGE: "1.8.4"})
    assert result["host"]["toolkit"] == {"version": "1.12.1"}
    assert "toolkit_too_old" in codes(result, "warnings_found")


def test_missing_packages(host):
    host.command("git", "exit 127")
    result = host.run()
    assert result["host"]["git"] is result["host"]["git_lfs"] is None
    assert result["missing_packages"][:2] == ["git", "git_lfs"]
    assert result["problems"] == []
    host.command(
        "git", "case $1 in lfs) echo 'git-lfs/3.3.0 (GitHub; linux amd64)';; *) echo git version 2.39.5;; esac"
    )
    result = host.run()
    assert (result["host"]["git"], result["host"]["git_lfs"]) == ("2.39.5", "3.3.0")
    assert "git" not in result["missing_packages"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"gpuz": [0]}, ["gpuz"]),
        ({"port": "http"}, ["port", "int"]),
        ({"weights": {"repo": "a/b", "branch": "main"}}, ["branch", "weights"]),
        ({"gpus": "all"}, ["Model a", "gpus: [0]"]),
        ({"gpus": {"count": 0}}, ["Model a", "count: 1"]),
    ],
)
def test_wrong_models_fail(host, change, words):
    result = host.run([model(**change)])
    assert result["failed"]
    for word in words:
        assert word in result["msg"]
    assert not (host.state / "calls").exists()


def test_all_wrong_options_are_told(host):
    models = [model(gpus=[]), model("b", gpus=0, shm_size="much")]
    result = host.run(models, floors={"dokcer": "1"}, image_bytes={"x": "big"})
    assert result["failed"]
    assert codes(result) == ["floor_unknown", "gpus_invalid", "gpus_invalid", "shm_size_invalid", "image_bytes_invalid"]
    assert "disk_image_gib" in result["msg"]


def test_the_commands_run_at_the_same_time(host):
    """All commands are started before any has ended: nvidia-smi here waits until docker has been called."""
    fifo = host.state / "fifo"
    os.mkfifo(str(fifo))
    host.command("nvidia-smi", f"case $1 in -q) cat {fifo} > /dev/null; cat {host.state}/smi;; esac")
    host.command("docker", f"[ $1 = info ] && echo > {fifo}; cat {host.state}/$1 2> /dev/null")
    done = []
    thread = threading.Thread(target=lambda: done.append(host.run()), daemon=True)
    thread.start()
    thread.join(30)
    assert done
    assert len(done[0]["gpus"]) == 2


def write_cdi(host, *devices):
    """A CDI specification that hands out these devices, and the folder that it lies in."""
    folder = host.folder / "cdi"
    folder.mkdir()
    (folder / "libcuda.so.1").touch()
    entries = [{"name": name, "containerEdits": {"deviceNodes": [{"path": "/dev/null"}]}} for name in devices]
    mounts = [{"hostPath": str(folder), "containerPath": "/usr/local/nvidia"}]
    spec = {"kind": "nvidia.com/gpu", "devices": entries, "containerEdits": {"mounts": mounts}}
    (folder / "nvidia.json").write_text(json.dumps(spec))
    return str(folder)


def test_a_server_that_offers_both_ways(host):
    host.docker(CDISpecDirs=[write_cdi(host, "0", ADA)])
    result = host.run()
    assert result["gpu_modes"] == ["gpus", "cdi"]
    assert result["host"]["docker"]["cdi"]["works"]
    assert result["gpus"][0]["cdi_devices"] == ["0", ADA]
    assert host.run(gpu_mode="cdi")["gpu_modes"] == ["cdi"]


def test_why_cdi_does_not_work_is_told_where_it_is_wished_for(host):
    result = host.run()
    assert result["gpu_modes"] == ["gpus"]
    assert "does not know CDI" in result["host"]["docker"]["cdi"]["why"]
    assert not result["problems"]
    result = host.run(gpu_mode="cdi")
    assert result["gpu_modes"] == []
    assert [problem["code"] for problem in result["problems"]] == ["cdi_unknown"]


def test_a_gpu_that_the_specification_does_not_name(host):
    host.docker(CDISpecDirs=[write_cdi(host, "7")])
    result = host.run(gpu_mode="cdi")
    assert [problem["code"] for problem in result["problems"]] == ["cdi_device_missing"]
