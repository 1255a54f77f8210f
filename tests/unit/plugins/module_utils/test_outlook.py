# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

from datetime import datetime, timezone

import pytest

from ansible_collections.llmops.nim.plugins.module_utils import _outlook
from ansible_collections.llmops.nim.plugins.module_utils._certificate import Certificate
from ansible_collections.llmops.nim.plugins.module_utils._problem import Problem

GIB = 1024**3
MISMATCH = Problem("apart", code="driver_mismatch")


def release(**changes):
    one = {
        "container": "nim-m-1",
        "gpus": ["GPU-1", "GPU-2"],
        "image": "nvcr.io/x@sha256:a",
        "missing_mounts": [],
        "settings": {"user": "1000:0"},
    }
    return dict(one, **changes)


def codes(found):
    return [(problem.code, bad) for problem, bad in found]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ((None, "580.1", "580.1"), []),
        ((None, "580.1", None), []),
        ((None, None, "580.1"), []),
        ((None, "580.1", "580.2"), [("driver_pending", False)]),
        ((MISMATCH, "580.1", "580.2"), [("driver_mismatch", True)]),
    ],
)
def test_driver(arguments, expected):
    assert codes(_outlook.driver(*arguments)) == expected


TWO = "GPU 0: NVIDIA H100 (UUID: GPU-1)\nGPU 1: NVIDIA H100 (UUID: GPU-2)\n"


@pytest.mark.parametrize(
    ("rc", "said", "words"),
    [
        (0, TWO, None),
        (0, TWO.split("\n")[0], "1 of its 2 GPUs"),
        (0, "No devices found", "0 of its 2 GPUs"),
        (255, "Failed to initialize NVML: Unknown Error", "systemd reloads"),
        (126, 'exec: "nvidia-smi": executable file not found in $PATH', None),
        (1, "Error response from daemon: container is not running", None),
    ],
)
def test_gpus_inside_a_container(rc, said, words):
    problem = _outlook.gpus_inside(release(), rc, said)
    assert (problem is None) == (words is None)
    if words:
        assert words in problem.what
        assert problem.code == "gpus_lost"


def test_a_kept_release_that_can_start_again():
    assert _outlook.kept(release(), "previous", [], True, None) == []


def test_what_keeps_a_release_from_starting_again():
    bad = release(missing_mounts=["/w/x"])
    found = _outlook.kept(bad, "previous", ["may not read /c/y"], False, "its weights are gone: /w/x")
    assert [one.code for one in found] == ["image_missing", "mount_missing", "cache_not_writable"]
    assert all("nim-m-1" in one.what for one in found)
    assert "1000:0" in found[-1].what
    (only,) = _outlook.kept(release(), "kept", [], True, "its weights were altered on disk: a in /w/x")
    assert only.code == "weights_altered"


def test_a_release_whose_container_is_gone():
    assert _outlook.gone("m", "previous", None) is None
    problem = _outlook.gone("m", "previous", {"id": "1", "container": "nim-m-1"})
    assert "previous release of m" in problem.what
    assert "nim-m-1" in problem.evidence


def disk(free):
    return {"mount": "/", "free_bytes": free, "total_bytes": 100 * GIB}


@pytest.mark.parametrize(
    ("free", "before", "seconds", "expected"),
    [
        (50 * GIB, None, 0, None),
        (50 * GIB, 51 * GIB, 60, None),  # too near in time to tell
        (50 * GIB, 50 * GIB, 3600, None),
        (50 * GIB, 40 * GIB, 3600, None),
        (50 * GIB, 51 * GIB, 86400, None),  # in 50 days
        (50 * GIB, 60 * GIB, 86400, ("disk_full_soon", False)),
        (50 * GIB, 60 * GIB, 3600, ("disk_full_soon", True)),
        (GIB // 2, None, 0, ("disk_full", True)),
    ],
)
def test_disk(free, before, seconds, expected):
    found = _outlook.disk(disk(free), before, seconds, 14)
    assert (found and (found[0].code, found[1])) == expected


def test_when_a_disk_will_be_full():
    problem, _bad = _outlook.disk(disk(50 * GIB), 60 * GIB, 86400, 14)
    assert "full in 5d" in problem.what


@pytest.mark.parametrize(("own", "words"), [(1000, None), (1060, None), (1061, "ahead"), (900, "behind")])
def test_clock(own, words):
    problem = _outlook.clock(own, 1000, False, 60)
    assert (problem is None) == (words is None)
    if words:
        assert words in problem.evidence
        assert "not synchronized" in problem.evidence


def test_certificate():
    now = datetime(2026, 1, 1, tzinfo=timezone.utc)
    found = Certificate("/x.pem", "CN=x", now, now, "", "")
    assert _outlook.certificate(found, 14, 14) is None
    assert "13.0 days" in _outlook.certificate(found, 13, 14).what
