# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.llmops.nim.plugins.module_utils import _cdi

FIXTURES = Path(__file__).parents[2] / "fixtures" / "cdi"
DRIVER = "580.159.04"


def fixture(name):
    return _cdi.parse(name, (FIXTURES / name).read_text())


def docker(*folders, version="26.1.5"):
    return {"version": version, "cdi_folders": [str(folder) for folder in folders]}


class Server:
    """A folder that stands for a server's root, with a specification that works."""

    def __init__(self, root):
        self.root, self.folder = root, root / "cdi"
        self.folder.mkdir()
        self.driver = self.file(f"lib/libcuda.so.{DRIVER}")
        self.write(mounts=[self.driver], devices={"0": "/dev/null"})

    def file(self, name):
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
        return str(path)

    def write(self, mounts, devices, kind="nvidia.com/gpu"):
        spec = {
            "cdiVersion": "0.5.0",
            "kind": kind,
            "devices": [
                {"name": name, "containerEdits": {"deviceNodes": [{"path": node}]}} for name, node in devices.items()
            ],
            "containerEdits": {"mounts": [{"hostPath": mount, "containerPath": mount} for mount in mounts]},
        }
        (self.folder / "nvidia.json").write_text(json.dumps(spec))

    def look(self, driver=DRIVER, **options):
        return _cdi.look(docker(self.folder, **options), driver)

    def problem(self, **options):
        return self.look(**options)[1]


@pytest.fixture
def server(tmp_path):
    return Server(tmp_path)


def test_a_specification_written_by_hand():
    assert fixture("by_hand.txt") == _cdi.Spec(
        path="by_hand.txt",
        devices=("0", "1"),
        nodes=("/dev/nvidia0", "/dev/nvidia1", "/dev/nvidiactl", "/dev/nvidia-uvm", "/dev/nvidia-uvm-tools"),
        mounts=("/usr/local/nvidia",),
    )


def test_a_specification_written_by_the_toolkit():
    spec = fixture("by_toolkit.txt")
    assert spec.devices == ("0", "GPU-657f3f41-88fb-84c3-674b-df3e28034377", "all")
    assert spec.mounts == ("/usr/bin/nvidia-smi", f"/usr/lib/x86_64-linux-gnu/libcuda.so.{DRIVER}")
    assert set(spec.nodes) == {"/dev/nvidia-modeset", "/dev/nvidia-uvm", "/dev/nvidiactl", "/dev/nvidia0"}


_NAME = st.one_of(st.integers(0, 99).map(str), st.uuids().map("GPU-{}".format), st.just("all"))
_PATH = st.from_regex(r"/[a-z][a-z0-9._-]{0,8}(/[a-zA-Z0-9._+-]{1,12}){0,3}", fullmatch=True).filter(
    lambda path: not path.startswith("/dev/")
)


@given(
    names=st.lists(_NAME, unique=True, max_size=4),
    mounts=st.lists(_PATH, unique=True, max_size=4),
    form=st.sampled_from(["block", "flow", "json", "json_on_one_line"]),
)
def test_any_way_of_writing_it_reads_the_same(names, mounts, form):
    spec = {
        "cdiVersion": "0.6.0",
        "kind": "nvidia.com/gpu",
        "devices": [
            {"name": name, "containerEdits": {"deviceNodes": [{"path": f"/dev/nvidia{number}"}]}}
            for number, name in enumerate(names)
        ],
        "containerEdits": {
            "env": ["NVIDIA_VISIBLE_DEVICES=void"],
            "hooks": [{"hookName": "createContainer", "path": "/usr/bin/nvidia-cdi-hook", "args": ["a", "--folder"]}],
            "mounts": [{"containerPath": "/elsewhere", "hostPath": mount, "options": ["ro"]} for mount in mounts],
        },
    }
    text = {
        "block": lambda: yaml.safe_dump(spec, default_flow_style=False, width=10**6),
        "flow": lambda: yaml.safe_dump(spec, default_flow_style=True, width=10**6),
        "json": lambda: json.dumps(spec, indent=2),
        "json_on_one_line": lambda: json.dumps(spec, separators=(",", ":")),
    }[form]()
    found = _cdi.parse("x", text)
    assert found.devices == tuple(names)
    assert found.mounts == tuple(mounts)
    assert found.nodes == tuple(f"/dev/nvidia{number}" for number in range(len(names)))


@given(st.text(max_size=300))
def test_any_text_is_read_without_an_error(text):
    _cdi.parse("x", text)
    _cdi.parse("x", "kind: nvidia.com/gpu\n" + text)


def test_a_server_that_hands_out_gpus(server):
    facts, problem = server.look()
    assert problem is None
    assert facts == {"specs": [str(server.folder / "nvidia.json")], "devices": ["0"]}


def test_a_folder_that_holds_the_driver_is_as_good_as_its_files(server):
    server.file("nvidia/lib64/libcuda.so.1")
    server.write(mounts=[str(server.root / "nvidia")], devices={"0": "/dev/null"})
    assert server.problem() is None


def test_docker_that_does_not_know_cdi():
    assert _cdi.look(docker(version="24.0.7"), DRIVER)[1].code == "cdi_unknown"


def test_the_feature_is_off():
    problem = _cdi.look(docker(version="26.1.5"), DRIVER)[1]
    assert problem.code == "cdi_off"
    assert '"cdi": true' in problem.remedy


def test_no_specification_or_one_of_something_else(server):
    server.write(mounts=[server.driver], devices={"0": "/dev/null"}, kind="vendor.com/nic")
    assert server.problem().code == "cdi_no_specification"
    (server.folder / "nvidia.json").unlink()
    assert server.problem().code == "cdi_no_specification"


def test_a_specification_older_than_the_driver(server):
    problem = server.problem(driver="590.10")
    assert problem.code == "cdi_stale"
    assert f"of driver {DRIVER}, and driver 590.10" in problem.what
    assert "nvidia-ctk cdi generate" in problem.remedy
    # Where nvidia-smi does not say which driver is loaded, that is told elsewhere.
    assert server.problem(driver=None) is None


@pytest.mark.parametrize("gone", ["/nowhere/nvidia", "/dev/nvidia77"])
def test_what_the_specification_names_and_the_host_has_not(server, gone):
    device = {"0": gone if gone.startswith("/dev/") else "/dev/null"}
    mounts = [server.driver] + ([] if gone.startswith("/dev/") else [gone])
    server.write(mounts=mounts, devices=device)
    problem = server.problem()
    assert problem.code == "cdi_path_missing"
    assert gone in problem.what


def test_a_specification_without_the_driver_s_folder_is_named(server):
    other = server.file("etc/vulkan.json")
    server.write(mounts=[other], devices={"0": "/dev/null"})
    problem = server.problem()
    assert problem.code == "cdi_no_driver"
    assert str(server.folder / "nvidia.json") in problem.what
    assert other in problem.evidence


def test_the_names_of_a_gpu():
    gpu = {"index": 1, "uuid": "GPU-bb"}
    assert _cdi.device_names(gpu, ["0", "1", "all", "GPU-bb"]) == ["1", "GPU-bb"]
    assert _cdi.device_names(gpu, ["0", "all"]) == []
