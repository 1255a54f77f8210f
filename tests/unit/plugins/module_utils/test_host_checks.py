# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

import pytest

from ansible_collections.llmops.nim.plugins.module_utils import _host_checks
from ansible_collections.llmops.nim.plugins.module_utils._findings import as_dicts
from ansible_collections.llmops.nim.plugins.module_utils._host import GIB
from ansible_collections.llmops.nim.plugins.module_utils._problem import Problem

IMAGE = "nvcr.io/nim/meta/llama-3.2-1b-instruct:1.8.4"
H100 = {
    "index": 0,
    "uuid": "GPU-0",
    "name": "NVIDIA H100 80GB HBM3",
    "pci_device_id": "2330:10de",
    "memory_total_mib": 81559,
    "memory_used_mib": 0,
    "data_center": True,
    "mig": False,
}
DOCKER = {
    "installed": True,
    "version": "24.0.7",
    "root_dir": "/var/lib/docker",
    "gpus": True,
    "gpus_via": "runtime",
    "cdi": {"works": False, "why": "CDI is switched off", "specs": [], "devices": []},
    "rootless": False,
    "reachable": True,
    "error": None,
}

CDI_OFF = Problem("CDI is switched off in Docker.", "no folder", "do", "cdi_off")


def model(name="a", **changes):
    return dict(
        {
            "name": name,
            "image": IMAGE,
            "weights": {"repo": "org/w"},
            "port": 8000,
            "address": "0.0.0.0",
            "env": {},
            "memory_share": None,
            "contract": "auto",
            "gateway_port": None,
            "second_port": None,
        },
        **changes,
    )


def release(name="a", **changes):
    return dict({"model": name, "running": True, "gpus": ["GPU-0"], "weights": "org/w"}, **changes)


def disk(purpose, free, device="1:1", mount="/", model=None):
    return {"purpose": purpose, "model": model, "mount": mount, "device": device, "free_bytes": int(free * GIB)}


class Look:
    """A host on which nothing is wrong, and what is found after changes to it."""

    def __init__(self):
        self.host = {
            "cpus": 16,
            "memory_mib": 131072,
            "driver": {"version": "580.159.04"},
            "toolkit": {"version": "1.17.0"},
            "docker": dict(DOCKER),
            "disks": [disk("image", 500), disk("weights", 500)] + [disk("cache", 500, model=name) for name in "ab"],
        }
        self.seen = {
            "host": self.host,
            "gpus": [dict(H100)],
            "images": {},
            "releases": [],
            "assignments": {"a": [dict(H100)]},
            "gpu_problems": [],
            "driver_problem": None,
            "gpu_mode": "auto",
            "gpu_modes": ["gpus"],
            "cdi_problem": CDI_OFF,
            "nim_versions": {IMAGE: "1.8.4"},
            "image_bytes": {},
            "held": {8000: []},
        }
        self.models = [model()]
        self.floors = {}

    def cdi(self, devices):
        """Only CDI works, and names these devices for the GPU."""
        self.host["docker"].update(gpus=False, gpus_via=None)
        self.host["docker"]["version"] = "28.2.0"
        self.host["docker"]["cdi"] = {"works": True, "why": None, "specs": ["/etc/cdi/nvidia.yaml"], "devices": devices}
        self.seen.update(
            gpu_modes=["cdi"], cdi_problem=None, assignments={"a": [dict(H100, cdi_devices=list(devices))]}
        )

    def check(self):
        before = repr(self.seen)
        findings = _host_checks.check(self.seen, self.models, self.floors)
        assert repr(self.seen) == before
        return as_dicts(findings.problems, "host"), as_dicts(findings.warnings, "host")

    def problem(self, code):
        """The only problem, and no warning."""
        problems, warnings = self.check()
        assert [one["code"] for one in problems] == [code], problems
        assert not warnings
        assert problems[0]["remedy"]
        return problems[0]

    def warning(self, code):
        """The only warning, and no problem."""
        problems, warnings = self.check()
        assert not problems
        assert [one["code"] for one in warnings] == [code], warnings
        assert warnings[0]["source"]
        return warnings[0]

    def nothing(self):
        assert self.check() == ([], [])


@pytest.fixture
def look():
    return Look()


def holder(**changes):
    return dict(
        {"address": "0.0.0.0", "process": "nginx", "pid": 42, "container": None, "model": None, "leftover": False},
        **changes,
    )


def test_a_good_host(look):
    look.nothing()


def test_everything_is_told_at_once(look):
    look.host.update(
        driver={"version": "470.42.01"},
        toolkit=None,
        docker=dict(DOCKER, version="20.10.24"),
        disks=[disk("image", 1), disk("weights", 500), disk("cache", 500, model="a")],
        cpus=2,
    )
    look.seen["gpu_problems"] = [("a", Problem("no such GPU", code="gpu_not_present", remedy="do"))]
    look.seen["held"] = {8000: [holder()]}
    look.models.append(model())
    problems, warnings = look.check()
    assert [one["code"] for one in problems] == [
        "model_twice", "driver_too_old", "gpu_not_present", "docker_too_old", "toolkit_missing", "disk_too_small",
        "port_in_use", "port_in_use",
    ]  # fmt: skip
    assert [one["code"] for one in warnings] == ["cpus_small"]
    assert {one["host"] for one in problems} == {"host"}


class TestDriver:
    def test_a_driver_problem_hides_what_follows_from_it(self, look):
        look.seen.update(driver_problem=Problem("none", remedy="do", code="driver_missing"), gpus=[], assignments={})
        look.host["driver"] = None
        assert look.problem("driver_missing")["model"] is None

    def test_too_old(self, look):
        look.host["driver"]["version"] = "470.42.01"
        found = look.problem("driver_too_old")
        assert found["what"] == "The NVIDIA driver 470.42.01 is too old for NIM 1.8.4."
        assert found["model"] == "a"
        assert 'floors: {driver: "470.42.01"}' in found["remedy"]
        look.floors = {"driver": "470.42.01"}
        look.nothing()

    def test_the_founding_teams_workstation(self, look):
        ada = dict(H100, name="NVIDIA RTX 6000 Ada Generation", data_center=False)
        look.seen.update(gpus=[ada], assignments={"a": [ada]})
        look.host["driver"]["version"] = "535.183.01"
        found = look.warning("driver_too_old")
        assert "RTX 6000 Ada with driver 535.183.01" in found["source"]
        assert "floors" not in found["remedy"]

    def test_each_generation_is_judged_and_models_alike_are_told_together(self, look):
        look.models = [model(), model("b", port=8001), model("c", port=8002, image="x:2", weights={"repo": "org/w"})]
        look.host["disks"].append(disk("cache", 500, model="c"))
        look.seen["nim_versions"]["x:2"] = "2.0.12"
        look.seen.update(assignments={"a": [dict(H100)]})
        look.host["driver"]["version"] = "530.30"
        problems, dummy = look.check()
        assert [(one["code"], one["model"]) for one in problems] == [
            ("driver_too_old", "a, b"),
            ("driver_too_old", "c"),
        ]

    def test_the_version_is_taken_from_the_image_on_the_host(self, look):
        look.host["driver"]["version"] = "530.30"
        look.seen["nim_versions"] = {IMAGE: None}
        look.seen["images"] = {IMAGE: {"nim_version": "2.0.12"}}
        assert "NIM 2.0.12" in look.problem("driver_too_old")["what"]

    def test_an_unknown_version(self, look):
        look.seen["nim_versions"] = {}
        look.nothing()
        look.host["driver"]["version"] = "470.42.01"
        assert "unknown version" in look.problem("driver_too_old")["what"]


class TestGpus:
    def test_in_use(self, look):
        look.seen["assignments"]["a"][0]["memory_used_mib"] = 8719
        assert "8719 of 81559 MiB" in look.warning("gpu_busy")["evidence"]
        look.models[0]["env"] = {"NIM_RELAX_MEM_CONSTRAINTS": "1"}
        look.nothing()

    def test_in_use_by_its_own_release(self, look):
        look.seen["assignments"]["a"][0]["memory_used_mib"] = 70000
        look.seen["releases"] = [release()]
        look.nothing()

    def test_shared(self, look):
        look.models.append(model("b", port=8001))
        look.seen["assignments"]["b"] = [dict(H100)]
        assert look.warning("gpu_shared")["model"] == "a, b"
        look.models[0]["env"] = {"NIM_RELAX_MEM_CONSTRAINTS": "1"}
        look.warning("gpu_shared")
        look.models[1]["env"] = {"NIM_RELAX_MEM_CONSTRAINTS": 1}
        look.nothing()

    def test_mig(self, look):
        look.seen["assignments"]["a"][0]["mig"] = True
        look.warning("gpu_mig")


class TestDocker:
    def test_unreachable(self, look):
        look.host["docker"].update(reachable=False, gpus=False, error="Cannot connect", version=None)
        look.problem("docker_unreachable")

    def test_too_old(self, look):
        look.host["docker"]["version"] = "20.10.24+dfsg1"
        assert 'floors: {docker: "20.10.24"}' in look.problem("docker_too_old")["remedy"]
        look.floors = {"docker": "20.10"}
        look.nothing()

    def test_cannot_hand_out_gpus(self, look):
        look.host["docker"].update(gpus=False, gpus_via=None)
        look.seen["gpu_modes"] = []
        found = look.problem("docker_no_gpus")
        assert "nvidia-ctk runtime configure --runtime=docker" in found["remedy"]
        assert "CDI is switched off in Docker" in found["evidence"]

    def test_asked_for_the_hook_where_only_cdi_works(self, look):
        look.seen.update(gpu_mode="gpus", gpu_modes=[], cdi_problem=None)
        assert "by CDI it could" in look.problem("docker_no_gpus")["evidence"]

    def test_asked_for_cdi_where_it_does_not_work(self, look):
        look.seen.update(gpu_mode="cdi", gpu_modes=[])
        look.problem("cdi_off")

    def test_cdi_that_does_not_know_the_gpu(self, look):
        look.cdi(devices=[])
        found = look.problem("cdi_device_missing")
        assert found["model"] == "a"
        assert H100["uuid"] in found["evidence"]

    @pytest.mark.parametrize(
        ("image", "version", "driver", "warned"),
        [
            ("nvcr.io/nim/nvidia/model-free-nim:2.0.2", "2.0.2", "580.159.04", True),
            ("nvcr.io/nim/nvidia/model-free-nim:2.0.2", "2.0.2", "575.57", False),
            ("nvcr.io/nim/nvidia/sglang-model-free-nim:2.1.5", "2.1.5", "580.159.04", False),
            (IMAGE, "1.8.4", "580.159.04", False),
        ],
    )
    def test_the_trap_of_newer_vllm_images_with_cdi(self, look, image, version, driver, warned):
        look.cdi(devices=["0"])
        look.models = [model(image=image)]
        look.seen["nim_versions"] = {image: version}
        look.host["driver"]["version"] = driver
        dummy, warnings = look.check()
        assert ("cdi_error_803" in [one["code"] for one in warnings]) == warned
        look.seen["gpu_modes"] = ["gpus", "cdi"]
        assert "cdi_error_803" not in [one["code"] for one in look.check()[1]]

    def test_no_toolkit_is_the_one_cause(self, look):
        look.host["docker"].update(gpus=False, gpus_via=None)
        look.host["toolkit"] = None
        look.seen["gpu_modes"] = []
        look.problem("toolkit_missing")

    @pytest.mark.parametrize(("docker", "warned"), [("26.1.5+dfsg1", True), ("28.1.1", True), ("28.2.0", False)])
    def test_a_docker_that_does_not_bring_back_what_has_its_gpus_by_cdi(self, look, docker, warned):
        look.cdi(devices=["0"])
        look.host["docker"]["version"] = docker
        assert ("cdi_no_restart" in [one["code"] for one in look.check()[1]]) == warned
        look.seen["gpu_modes"] = ["gpus", "cdi"]
        assert "cdi_no_restart" not in [one["code"] for one in look.check()[1]]

    def test_no_toolkit_with_cdi(self, look):
        look.cdi(devices=["0"])
        look.host["toolkit"] = None
        look.warning("toolkit_missing")

    def test_old_toolkit(self, look):
        look.host["toolkit"] = {"version": "1.13.1"}
        look.warning("toolkit_too_old")
        look.host["toolkit"] = {"version": None}
        look.nothing()

    def test_rootless(self, look):
        look.host["docker"]["rootless"] = True
        look.warning("docker_rootless")


class TestSizes:
    def test_memory(self, look):
        look.host["memory_mib"] = 24105
        assert "23.5 GiB" in look.warning("memory_small")["what"]
        look.floors = {"memory_gib": "16"}
        look.nothing()
        look.host["memory_mib"] = None
        look.nothing()

    def test_an_image_of_known_size_needs_three_times_that(self, look):
        look.seen["image_bytes"] = {IMAGE: 10 * GIB}
        look.host["disks"][0] = disk("image", 30.1, device="2:2", mount="/var/lib/docker")
        look.nothing()
        look.host["disks"][0] = disk("image", 29.9, device="2:2", mount="/var/lib/docker")
        found = look.problem("disk_too_small")
        assert "29.9 GiB are free, 30.0 GiB are needed" in found["what"]
        assert "our estimate" in found["evidence"]
        look.floors = {"disk_image_gib": "5"}
        look.nothing()

    def test_what_lies_on_one_disk_adds_up(self, look):
        look.host["disks"] = [disk("image", 32), disk("weights", 32), disk("cache", 32, model="a")]
        found = look.problem("disk_too_small")
        assert "33.0 GiB are needed" in found["what"]
        assert len(found["evidence"].splitlines()) == 3
        look.host["disks"][0] = disk("image", 32, device="2:2")
        look.nothing()

    def test_two_disks_are_two_problems(self, look):
        look.host["disks"] = [disk("image", 1, "2:2"), disk("weights", 1), disk("cache", 500, "3:3", model="a")]
        problems, dummy = look.check()
        assert [one["code"] for one in problems] == ["disk_too_small"] * 2

    def test_what_is_there_needs_nothing(self, look):
        look.host["disks"] = [disk("image", 0), disk("weights", 0), disk("cache", 0, model="a")]
        look.seen.update(images={IMAGE: {"nim_version": "1.8.4"}}, releases=[release(running=False)])
        look.nothing()

    def test_other_weights_count_again(self, look):
        look.host["disks"] = [disk("image", 0), disk("weights", 0), disk("cache", 0, model="a")]
        look.seen.update(images={IMAGE: {}}, releases=[release(weights="org/old")])
        assert "weights org/w" in look.problem("disk_too_small")["evidence"]

    def test_two_models_of_one_image_and_repository_need_both_once(self, look):
        look.models.append(model("b", port=8001))
        assert [need[0] for need in _host_checks.needs(look.seen, look.models, {})] == [
            "image", "weights", "cache", "cache",
        ]  # fmt: skip


class TestPorts:
    def test_a_process(self, look):
        look.seen["held"] = {8000: [holder()]}
        found = look.problem("port_in_use")
        assert "nginx (pid 42)" in found["what"]
        assert found["model"] == "a"

    def test_a_process_that_only_root_sees(self, look):
        look.seen["held"] = {8000: [holder(process=None, pid=None)]}
        assert "become" in look.problem("port_in_use")["remedy"]

    def test_a_container(self, look):
        look.seen["held"] = {8000: [holder(process="docker-proxy", container="web")]}
        found = look.problem("port_in_use")
        assert "container web" in found["what"]
        assert "docker stop web" in found["remedy"]

    def test_a_release_of_another_model(self, look):
        look.seen["held"] = {8000: [holder(container="nim-b-1", model="b")]}
        assert "a release of model b" in look.problem("port_in_use")["what"]

    def test_its_own_release(self, look):
        look.seen["held"] = {8000: [holder(process="docker-proxy", container="nim-a-1", model="a")]}
        look.nothing()

    def test_a_leftover_docker_proxy(self, look):
        look.seen["held"] = {8000: [holder(process="docker-proxy", leftover=True)]}
        found = look.problem("port_in_use")
        assert "leftover docker-proxy (pid 42)" in found["what"]
        assert "no running container publishes" in found["evidence"]
        assert found["remedy"].startswith("kill 42 ")

    def test_another_address(self, look):
        look.seen["held"] = {8000: [holder(address="127.0.0.1")]}
        look.models = [model(address="10.0.0.1")]
        look.nothing()
        look.models = [model(address="127.0.0.1")]
        look.problem("port_in_use")

    def test_the_second_port(self, look):
        look.seen["held"] = {18000: [holder()]}
        look.nothing()
        look.models = [model(gateway_port=9000)]
        assert "18000" in look.problem("port_in_use")["what"]

    def test_the_second_holder_is_seen_too(self, look):
        look.seen["held"] = {8000: [holder(model="a", container="nim-a-1", address="10.0.0.1"), holder()]}
        assert "nginx" in look.problem("port_in_use")["what"]


class TestModels:
    def test_the_same_name(self, look):
        look.models = [model(), model(port=8001)]
        look.seen["held"][8001] = []
        look.problem("model_twice")

    def test_the_same_port(self, look):
        look.models.append(model("b"))
        assert look.problem("port_twice")["model"] == "a, b"
        look.models = [model(address="10.0.0.1"), model("b", address="10.0.0.2")]
        look.nothing()

    @pytest.mark.parametrize("keys", [{"port": 18000}, {"gateway_port": 9001, "second_port": 8000, "port": 8001}])
    def test_the_same_second_port(self, look, keys):
        look.models = [model(gateway_port=9000), model("b", **keys)]
        assert look.problem("port_twice")["model"] == "a, b"

    @pytest.mark.parametrize("name", ["", "..", "../x", "a b", "a/b", "-a", "a\n", "ä", "$(id)", "{{ x }}"])
    def test_a_name_that_no_container_can_have(self, look, name):
        look.models = [model(name)]
        look.host["disks"].append(disk("cache", 500, model=name))
        look.problem("model_name")

    @pytest.mark.parametrize("port", [0, -1, 65536])
    def test_a_port_that_does_not_exist(self, look, port):
        look.models = [model(port=port)]
        look.problem("port_invalid")
