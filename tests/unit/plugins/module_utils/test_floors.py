# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.llmops.nim.plugins.module_utils import _contract, _floors
from ansible_collections.llmops.nim.plugins.module_utils._problem import Problem


@pytest.mark.parametrize(
    ("version", "key"),
    [
        ("535.183.01", (535, 183, 1)),
        ("20.10.24+dfsg1", (20, 10, 24)),
        ("24.0", (24,)),
        ("24.0.0", (24,)),
        ("v1.14.3", (1, 14, 3)),
        ("0", (0,)),
        ("none", ()),
        (None, ()),
    ],
)
def test_version_key(version, key):
    assert _floors.version_key(version) == key


@given(st.text())
def test_version_key_and_generation_take_any_text(text):
    assert isinstance(_floors.version_key(text), tuple)
    assert _contract.generation(text) in (*_contract.GENERATIONS, None)


@given(st.lists(st.integers(0, 10**9 - 1), min_size=1, max_size=4))
def test_version_key_orders_as_numbers(parts):
    newer = parts[:-1] + [parts[-1] + 1]
    if newer[-1] < 10**9:
        assert _floors.version_key(".".join(map(str, newer))) > _floors.version_key(".".join(map(str, parts)))


@pytest.mark.parametrize(
    ("driver", "version", "data_center", "severity"),
    [
        ("535.54.03", "1.0.3", False, "ok"),
        ("530.30", "1.0.3", True, "problem"),
        # The founding team's workstation, and what lies on both sides of it.
        ("535.183.01", "1.8.4", False, "warning"),
        ("535.171.04", "1.8.4", False, "problem"),
        ("559.99", "1.8.4", False, "warning"),
        ("560.28", "1.8.4", False, "ok"),
        ("470.42.01", "1.8.4", False, "problem"),
        # The branches of data-centre GPUs.
        ("470.57.02", "1.8.4", True, "ok"),
        ("470.42.01", "1.8.4", True, "problem"),
        ("525.85.12", "1.8.4", True, "ok"),
        ("525.60.13", "1.8.4", True, "problem"),
        ("530.41.03", "1.8.4", True, "problem"),
        ("535.86.10", "1.8.4", True, "ok"),
        ("545.23.08", "1.8.4", True, "warning"),
        ("550.40.07", "1.8.4", True, "warning"),
        ("550.54.14", "1.8.4", True, "ok"),
        ("550.54.14", "1.8.4", False, "warning"),
        ("570.10", "1.15.5", False, "warning"),
        ("580.159.04", "1.15.5", True, "ok"),
        ("530.30", "1.15.5", True, "problem"),
        ("580.65", "2.0.12", False, "ok"),
        ("575.57", "2.0.12", False, "problem"),
        ("565.57", "2.0.12", True, "warning"),
        ("530.30", "2.0.12", True, "problem"),
        # Unknown: refused only below what any generation takes.
        ("580.65", None, False, "ok"),
        ("575.57", None, False, "warning"),
        ("530.30", None, False, "problem"),
        ("525.85.12", None, True, "warning"),
        ("470.42.01", None, True, "problem"),
    ],
)
def test_driver(driver, version, data_center, severity):
    verdict = _floors.judge_driver(driver, _contract.generation(version), data_center)
    assert verdict.severity == severity
    assert bool(verdict.source) == (severity != "ok")


def test_a_warning_names_the_success_that_undercuts_the_floor():
    verdict = _floors.judge_driver("535.183.01", "1.3", False)
    assert verdict.floor == "560"
    assert "documented" in verdict.source
    assert "RTX 6000 Ada with driver 535.183.01" in verdict.source


@pytest.mark.parametrize(
    ("name", "found", "version", "severity"),
    [
        ("docker", "23.0.1", "1.8.4", "ok"),
        ("docker", "20.10.24+dfsg1", "1.8.4", "problem"),
        ("docker", "23.0.6", "2.0.1", "problem"),
        ("docker", "24.0.0", "2.0.1", "ok"),
        ("docker", "23.0.6", None, "warning"),
        ("docker", "20.10.24", None, "problem"),
        ("docker", "", "1.8.4", "ok"),
        ("toolkit", "1.13.5", "1.8.4", "ok"),
        ("toolkit", "1.13.4", "1.8.4", "warning"),
        ("toolkit", "1.13.5", "2.0.1", "warning"),
        ("toolkit", None, "2.0.1", "ok"),
    ],
)
def test_docker_and_toolkit(name, found, version, severity):
    assert _floors.judge_version(name, found, _contract.generation(version)).severity == severity


def test_of_an_unknown_version_the_least_is_asked_that_any_asks_for():
    assert _floors.judge_version("docker", "20.10.24", None).floor == "23.0.1"
    assert _floors.judge_version("docker", "23.0.6", None).floor == "24.0"
    assert _floors.judge_driver("470.42.01", None, False).floor == "535"


def test_an_override_replaces_the_floor_and_keeps_its_severity():
    assert _floors.judge_driver("470.42.01", "1.3", False, "470.42").severity == "ok"
    assert _floors.judge_driver("560.28", "1.3", False, "570").severity == "problem"
    assert _floors.judge_version("docker", "20.10.24", "2", "20.10").severity == "ok"
    assert _floors.judge_version("docker", "20.10.24", None, "25.0").severity == "problem"
    assert _floors.judge_version("toolkit", "1.13.5", "2", "1.16").severity == "warning"
    assert _floors.judge_size("cpus", 2, "2").severity == "ok"
    assert _floors.judge_size("cpus", 2, "4").severity == "warning"
    assert _floors.judge_size("disk_image_gib", 2, "4").severity == "problem"
    assert _floors.judge_version("docker", "20.10.24", "1.3", "25.0").source == "your own floor: docker"


def test_sizes():
    assert _floors.judge_size("cpus", 8).severity == "ok"
    assert _floors.judge_size("cpus", 7).severity == "warning"
    assert _floors.judge_size("memory_gib", 25.9).severity == "warning"
    assert _floors.judge_size("disk_weights_gib", 2.9).severity == "problem"
    assert _floors.size("disk_weights_gib") == (3.0, _floors.SIZES["disk_weights_gib"].source)
    assert _floors.size("disk_weights_gib", "0.5") == (0.5, "your own floor: disk_weights_gib")


def test_every_floor_has_a_source():
    for floors in (_floors.DRIVER, _floors.DOCKER, _floors.TOOLKIT, _floors.SIZES):
        for floor in floors.values():
            assert floor.source.startswith(("documented", "observed", "inferred"))
    assert {key[0] for key in _floors.DRIVER} == set(_contract.GENERATIONS)
    assert set(_floors.DOCKER) == set(_floors.TOOLKIT) == set(_contract.GENERATIONS)


def test_check_floors_takes_good_ones():
    assert _floors.check_floors({"docker": "20.10", "driver": 535, "disk_image_gib": 0.5, "cpus": 2}) == {
        "docker": "20.10",
        "driver": "535",
        "disk_image_gib": "0.5",
        "cpus": "2",
    }


def test_an_unknown_floor_lists_those_that_exist():
    with pytest.raises(Problem) as raised:
        _floors.check_floors({"dokcer": "20.10"})
    assert raised.value.code == "floor_unknown"
    for name in _floors.FLOOR_NAMES:
        assert name in raised.value.remedy


@pytest.mark.parametrize(
    "floors",
    [
        {"docker": 20.1},  # what YAML makes of 20.10
        {"driver": "new"},
        {"driver": True},
        {"cpus": "many"},
        {"disk_image_gib": -1},
        {"disk_image_gib": True},
        {"memory_gib": None},
    ],
)
def test_a_floor_of_the_wrong_kind_is_refused(floors):
    with pytest.raises(Problem) as raised:
        _floors.check_floors(floors)
    assert raised.value.code == "floor_invalid"
