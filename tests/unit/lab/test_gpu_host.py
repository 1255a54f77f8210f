# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""The lab's GPU servers without a container: NVIDIA's tools on them, read as the collection reads the real ones."""

from __future__ import annotations

import contextlib
import importlib
import io
import json
import pathlib
import runpy
import shutil
import subprocess
import sys

import pytest

from ansible_collections.llmops.nim.plugins.module_utils import _cdi, _nvidia_smi

IMAGES = pathlib.Path(__file__).resolve().parents[3] / "lab" / "images"
ROOTFS = IMAGES / "gpu_host" / "rootfs"
CDI_ROOTFS = IMAGES / "cdi_host" / "rootfs"
ADA = "GPU-1ab5c0de-0002-4100-8000-0000000049aa"
T600 = "GPU-1ab5c0de-0003-4100-8000-0000000004aa"
CONTAINER = "a" * 64


class Server:
    """The tools of a lab server, with its state in a folder."""

    def __init__(self, folder, monkeypatch, capsys):
        self.folder, self.monkeypatch, self.capsys = folder, monkeypatch, capsys
        # The folder goes into the image as it is.
        monkeypatch.setattr(sys, "dont_write_bytecode", True)
        monkeypatch.syspath_prepend(str(ROOTFS / "usr/lib/python3/dist-packages"))
        self.gpus = importlib.import_module("lab_gpus")
        monkeypatch.setattr(self.gpus, "STATE", str(folder / "gpus.json"))
        monkeypatch.setattr(self.gpus, "CLIENTS", str(folder / "clients"))
        shutil.copy(str(ROOTFS / "usr/share/nim-lab/gpu2.json"), self.gpus.STATE)

    def call(self, tool, *arguments):
        self.monkeypatch.setattr(sys, "argv", [tool, *arguments])
        path = next(one for one in (root / "usr/bin" / tool for root in (CDI_ROOTFS, ROOTFS)) if one.exists())
        # nvidia-smi ends with a status, the hook ends.
        with contextlib.suppress(SystemExit):
            runpy.run_path(str(path), run_name="__main__")
        return self.capsys.readouterr().out

    def started(self, pid, *env, args=("/opt/nim/start_server.sh",)):
        """Docker starts a container that has GPU 0 by the runtime hook; pid: of its first process."""
        env = ["NVIDIA_VISIBLE_DEVICES=0", *env]
        self.hooked(pid, "nvidia-container-runtime-hook", "prestart", env=env, args=args)

    def hooked(self, pid, tool, *arguments, env, args=("/opt/nim/start_server.sh",), nodes=()):
        """Docker calls a hook for a container that it starts; nodes: its device files (list of dict of path)."""
        config = {
            "process": {"env": env, "args": list(args)},
            "root": {"path": "rootfs"},
            "linux": {"devices": nodes},
        }
        (self.folder / "config.json").write_text(json.dumps(config))
        state = {"id": CONTAINER, "pid": pid, "bundle": str(self.folder)}
        self.monkeypatch.setattr(sys, "stdin", io.StringIO(json.dumps(state)))
        self.call(tool, *arguments)

    def seen(self):
        return _nvidia_smi.parse(self.call("nvidia-smi", "-q", "-x"))["gpus"]


@pytest.fixture
def server(tmp_path, monkeypatch, capsys):
    return Server(tmp_path, monkeypatch, capsys)


@pytest.fixture
def process():
    """A process that lives until the test ends."""
    process = subprocess.Popen(["cat"], stdin=subprocess.PIPE)
    yield process
    process.communicate()


def test_an_idle_server(server):
    assert [(gpu["memory_used_mib"], gpu["processes"]) for gpu in server.seen()] == [(0, []), (0, [])]
    assert "No running processes found" in server.call("nvidia-smi")


def test_a_container_s_process_holds_what_it_was_promised(server, process):
    server.started(process.pid, "NIM_PASSTHROUGH_ARGS=--gpu-memory-utilization 0.4")
    ada, t600 = server.seen()
    assert (ada["uuid"], ada["memory_used_mib"]) == (ADA, 19656)
    assert ada["processes"] == [{"pid": process.pid, "name": "cat", "used_memory_mib": 19656}]
    assert (t600["memory_used_mib"], t600["processes"]) == (0, [])
    plain = server.call("nvidia-smi")
    assert f"{process.pid}      C   cat" in plain
    assert "19656MiB" in plain
    process.communicate()
    assert server.seen()[0]["processes"] == []


def test_a_utility_holds_nothing(server, process):
    server.started(process.pid, args=["list-model-profiles"])
    assert server.seen()[0]["processes"] == []


@pytest.mark.parametrize(
    ("env", "share"),
    [
        ({}, 0.9),
        ({"NIM_KVCACHE_PERCENT": "0.5"}, 0.5),
        ({"NIM_KVCACHE_PERCENT": ""}, 0.9),
        ({"NIM_KVCACHE_PERCENT": "half"}, 0.9),
        ({"NIM_KVCACHE_PERCENT": "50"}, 0.9),
        ({"NIM_PASSTHROUGH_ARGS": "--gpu-memory-utilization 0.4"}, 0.4),
        ({"NIM_PASSTHROUGH_ARGS": "--max-model-len 4096 --gpu-memory-utilization=0.4 --enforce-eager"}, 0.4),
        ({"NIM_PASSTHROUGH_ARGS": "--gpu-memory-utilization=0.4 --gpu-memory-utilization 0.3"}, 0.3),
        ({"NIM_PASSTHROUGH_ARGS": "--max-model-len 4096", "NIM_KVCACHE_PERCENT": "0.5"}, 0.5),
        ({"NIM_PASSTHROUGH_ARGS": "--gpu-memory-utilization"}, 0.9),
        ({"NIM_PASSTHROUGH_ARGS": "--gpu-memory-utilization=much"}, 0.9),
    ],
)
def test_what_a_container_is_promised(server, env, share):
    assert server.gpus.promised(env) == share


@pytest.fixture
def cdi(server):
    """The specification that the toolkit of the lab's CDI server writes: as the collection reads it, and as it is."""
    path = server.folder / "cdi" / "nvidia.yaml"
    server.call("nvidia-ctk", "cdi", "generate", f"--output={path}")
    return _cdi.parse(str(path), path.read_text()), json.loads(path.read_text())


def test_a_specification_names_each_gpu_by_index_and_uuid_and_the_driver_s_libraries(cdi):
    spec, _written = cdi
    assert spec.devices == ("0", ADA, "1", T600, "all")
    assert spec.nodes == ("/dev/nvidia0", "/dev/nvidia1", "/dev/nvidiactl")
    assert [mount.rpartition("/")[2] for mount in spec.mounts] == [
        "libcuda.so.535.183.01",
        "libnvidia-ml.so.535.183.01",
    ]


def test_its_hook_hands_over_the_gpus_whose_device_files_a_container_was_given(server, cdi, process):
    _spec, written = cdi
    edits = [one["containerEdits"] for one in written["devices"] if one["name"] == T600] + [written["containerEdits"]]
    nodes = [node for edit in edits for node in edit["deviceNodes"]]
    (hook,) = written["containerEdits"]["hooks"]
    server.hooked(process.pid, pathlib.Path(hook["path"]).name, *hook["args"][1:], env=["PATH=/bin"], nodes=nodes)
    handed_over = json.loads((server.folder / "rootfs/run/nvidia-lab/gpus.json").read_text())
    assert [(gpu["index"], gpu["uuid"]) for gpu in handed_over] == [(0, T600)]
    ada, t600 = server.seen()
    assert (ada["processes"], [one["pid"] for one in t600["processes"]]) == ([], [process.pid])
