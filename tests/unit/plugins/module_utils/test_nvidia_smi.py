# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

import contextlib
import pathlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.llmops.nim.plugins.module_utils import _nvidia_smi
from ansible_collections.llmops.nim.plugins.module_utils._host import Result
from ansible_collections.llmops.nim.plugins.module_utils._problem import Problem

ROOT = pathlib.Path(__file__).resolve().parents[4]
FIXTURES = ROOT / "tests" / "unit" / "fixtures" / "nvidia_smi"
REAL = sorted((ROOT.parent / "shared" / "gpu").glob("*.smi-q-x.xml"))


def fixture(name):
    return (FIXTURES / f"{name}.xml").read_text(encoding="utf-8")


def test_h100():
    assert _nvidia_smi.parse(fixture("h100_driver580")) == {
        "driver_version": "580.159.04",
        "cuda_version": "13.0",
        "gpus": [
            {
                "index": 0,
                "uuid": "GPU-657f3f41-88fb-84c3-674b-df3e28034377",
                "name": "NVIDIA H100 80GB HBM3",
                "pci_bus_id": "00000000:00:06.0",
                "pci_device_id": "2330:10de",
                "memory_total_mib": 81559,
                "memory_used_mib": 0,
                "compute_capability": None,
                "architecture": "Hopper",
                "data_center": True,
                "mig": False,
                "utilization_percent": 0,
                "processes": [],
            }
        ],
    }


def test_two_kinds_with_the_ids_that_nim_prints():
    found = _nvidia_smi.parse(fixture("rtx6000ada_t600_driver535"))
    assert found["driver_version"] == "535.183.01"
    assert [(gpu["index"], gpu["pci_device_id"], gpu["memory_total_mib"]) for gpu in found["gpus"]] == [
        (0, "26b1:10de", 49140),
        (1, "1fb1:10de", 4096),
    ]
    assert not any(gpu["data_center"] or gpu["mig"] for gpu in found["gpus"])


def test_mig():
    (gpu,) = _nvidia_smi.parse(fixture("h100_mig"))["gpus"]
    assert gpu["mig"]
    assert gpu["utilization_percent"] is None
    # Of the GPU, not of its MIG devices.
    assert gpu["memory_total_mib"] == 81559


def test_no_devices():
    assert _nvidia_smi.parse(fixture("no_devices"))["gpus"] == []


def processes(*infos):
    """What is read of process_info elements, each a dict of tag to text."""
    told = "".join(
        "<process_info>" + "".join(f"<{tag}>{text}</{tag}>" for tag, text in info.items()) + "</process_info>"
        for info in infos
    )
    xml = f'<nvidia_smi_log><gpu id="0"><processes>{told or "N/A"}</processes></gpu></nvidia_smi_log>'
    return _nvidia_smi.parse(xml)["gpus"][0]["processes"]


def process(kind="C", **changes):
    info = {
        "gpu_instance_id": "N/A",
        "compute_instance_id": "N/A",
        "pid": "552",
        "type": kind,
        "process_name": "python3",
        "used_memory": "8710 MiB",
    }
    return dict(info, **changes)


def test_processes_that_compute():
    names = [f"{kind.lower()}-process" for kind in ("C", "C+G", "G", "M+C")]
    found = processes(*(process(name[0:-8].upper(), process_name=name) for name in names))
    assert [one["name"] for one in found] == ["c-process", "c+g-process", "m+c-process"]
    assert found[0] == {"pid": 552, "name": "c-process", "used_memory_mib": 8710}


def test_processes_that_are_not_told():
    assert processes() == []
    (found,) = processes(process(used_memory="N/A", process_name="[Insufficient Permissions]"))
    assert (found["pid"], found["used_memory_mib"]) == (552, None)
    assert processes(process(pid="N/A", process_name="", used_memory="")) == [
        {"pid": None, "name": None, "used_memory_mib": None}
    ]


def test_no_arguments_of_a_process():
    (found,) = processes(process(process_name="/usr/bin/python3 -m server --api-key hunter2"))
    assert found["name"] == "/usr/bin/python3"


@pytest.mark.skipif(not REAL, reason="the real outputs are not beside this checkout")
@pytest.mark.parametrize("path", REAL, ids=lambda path: path.name)
def test_real_output(path):
    found = _nvidia_smi.parse(path.read_text(encoding="utf-8"))
    assert found["driver_version"] == "580.159.04"
    assert len(found["gpus"]) == (2 if "x2" in path.name else 1)
    for index, gpu in enumerate(found["gpus"]):
        assert gpu["index"] == index
        assert gpu["uuid"].startswith("GPU-")
        assert gpu["pci_device_id"] == "2330:10de"
        assert gpu["memory_total_mib"] == 81559
        assert gpu["data_center"]
    if "8GiB" in path.name:
        assert [gpu["memory_used_mib"] for gpu in found["gpus"]] == [4, 8719]
        assert [gpu["processes"] for gpu in found["gpus"]] == [
            [],
            [{"pid": 552, "name": "python3", "used_memory_mib": 8710}],
        ]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "No devices were found",
        "<nvidia_smi_log><gpu>",
        "<html><body/></html>",
        '<!DOCTYPE x [<!ENTITY a "aaaa">]><nvidia_smi_log>&a;</nvidia_smi_log>',
        "<nvidia_smi_log>\0</nvidia_smi_log>",
    ],
)
def test_unreadable_output_is_a_problem_that_quotes_it(text):
    with pytest.raises(Problem) as raised:
        _nvidia_smi.parse(text)
    assert raised.value.code == "nvidia_smi_unreadable"
    assert raised.value.evidence


@given(st.text(), st.integers(0, 1500))
def test_whatever_is_cut_out_or_put_in_gives_a_problem_or_an_answer(text, where):
    whole = fixture("rtx6000ada_t600_driver535")
    for broken in (whole[:where], whole[:where] + text + whole[where:]):
        with contextlib.suppress(Problem):
            assert isinstance(_nvidia_smi.parse(broken)["gpus"], list)


def test_a_gpu_without_values_keeps_its_place():
    (gpu,) = _nvidia_smi.parse('<nvidia_smi_log><gpu id="00000000:01:00.0"/></nvidia_smi_log>')["gpus"]
    assert (gpu["index"], gpu["name"], gpu["pci_bus_id"]) == (0, "unknown", "00000000:01:00.0")
    assert gpu["uuid"] is gpu["pci_device_id"] is gpu["memory_total_mib"] is None


@pytest.mark.parametrize(
    ("name", "data_center"),
    [
        ("NVIDIA H100 80GB HBM3", True),
        ("NVIDIA H100 NVL", True),
        ("NVIDIA H20", True),
        ("NVIDIA H200", True),
        ("NVIDIA GH200 480GB", True),
        ("NVIDIA B200", True),
        ("NVIDIA GB200", True),
        ("NVIDIA A100-SXM4-80GB", True),
        ("A100X", True),
        ("NVIDIA A10G", True),
        ("NVIDIA A2", True),
        ("NVIDIA A800 80GB PCIe", True),
        ("NVIDIA L4", True),
        ("NVIDIA L40S", True),
        ("Tesla T4", True),
        ("Tesla V100-SXM2-16GB", True),
        ("NVIDIA RTX PRO 6000 Blackwell Server Edition", True),
        ("NVIDIA RTX PRO 6000 Blackwell Workstation Edition", False),
        ("NVIDIA RTX 6000 Ada Generation", False),
        ("NVIDIA RTX A6000", False),
        ("NVIDIA A800 40GB Active", False),
        ("NVIDIA T600", False),
        ("NVIDIA GeForce RTX 4090", False),
        ("Quadro RTX 8000", False),
        ("NVIDIA TITAN V", False),
        ("NVIDIA GB10", False),
        ("something new", False),
    ],
)
def test_data_center(name, data_center):
    assert _nvidia_smi.data_center(name) is data_center


@pytest.mark.parametrize(
    ("text", "printed"),
    [("233010DE", "2330:10de"), ("0x26B110DE", "26b1:10de"), ("N/A", None), (None, None), ("2330", None)],
)
def test_pci_device_id(text, printed):
    assert _nvidia_smi.pci_device_id(text) == printed


def test_compute_capabilities():
    text = "GPU-1f0c2a7e-5a83, 8.9\nGPU-8d6a41c3-92be, 7.5\nGPU-0, [N/A]\nField is not a valid field\n"
    assert _nvidia_smi.compute_capabilities(text) == {"GPU-1f0c2a7e-5a83": "8.9", "GPU-8d6a41c3-92be": "7.5"}


@pytest.mark.parametrize(
    ("result", "code", "words"),
    [
        (Result(127, "", "nvidia-smi: command not found", missing=True), "driver_missing", ["no NVIDIA driver"]),
        (
            Result(
                18, "Failed to initialize NVML: Driver/library version mismatch\nNVML library version: 535.183\n", ""
            ),
            "driver_mismatch",
            ["535.161.07", "535.183", "not rebooted"],
        ),
        (
            Result(
                9,
                "NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver. Make sure that the "
                "latest NVIDIA driver is installed and running.\n",
                "",
            ),
            "driver_not_loaded",
            ["kernel module is not loaded"],
        ),
        (Result(6, "No devices were found\n", ""), "gpu_none", ["finds no GPU"]),
        (
            Result(15, "Unable to determine the device handle for GPU0000:01:00.0: GPU is lost.\n", ""),
            "nvidia_smi_failed",
            ["GPU is lost"],
        ),
        (Result(124, "", "nvidia-smi did not end within 60 s"), "nvidia_smi_failed", ["did not end within 60 s"]),
    ],
)
def test_failures_are_told_apart(result, code, words):
    problem = _nvidia_smi.failure(result, "535.161.07", ["0000:01:00.0 26b1:10de"])
    assert problem.code == code
    assert problem.remedy
    assert "0000:01:00.0 26b1:10de" in problem.evidence
    for word in words:
        assert word in str(problem)
