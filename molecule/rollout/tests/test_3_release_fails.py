"""A release that fails, at each place where it can: the fleet goes on with the one before."""

from __future__ import annotations

from collections import Counter

import fleet
import pytest

from lab import run

ON_GPU2 = "{{{{ {} if inventory_hostname == 'gpu2' else {} }}}}"
# It opens its port, is proven, gets requests, and ends while it is watched.
DIES_ON_GPU2 = {
    "env": {"LAB_CRASH": ON_GPU2.format("'after-ready'", "'never'"), "LAB_CRASH_AFTER_SECONDS": "9"},
    "nim_soak_seconds": ON_GPU2.format(20, 1),
}


@pytest.fixture(scope="module", autouse=True)
def v1():
    return fleet.bring_to("v1")


@pytest.mark.parametrize(
    ("wishes", "words"),
    [
        ({"env": {"LAB_HANG": "before-ready"}, "nim_container_ready_timeout": 3}, ["is not ready after 3 s"]),
        (
            {"verify": [{"prompt": "What is the capital of France?", "expect": "Lyon"}]},
            ["not what is expected", "Lyon"],
        ),
    ],
    ids=["never ready", "answers wrongly"],
)
def test_a_release_that_is_not_proven_never_gets_a_request(v1, load, wishes, words):
    done = fleet.deploy("v2", **wishes)
    assert done.returncode != 0, done.stdout
    flat = " ".join(done.stdout.split())
    assert all(word in flat for word in words), done.stdout
    assert "failed, and taken back" in flat
    assert flat.count("not touched") == 2, done.stdout
    assert set(load.next()) == {"v1"}
    assert set(Counter(one.release for one in load.streams)) == {"v1"}
    assert fleet.current() == v1


def test_all_go_back_when_the_second_host_s_release_dies(v1, load_with_losses):
    done = fleet.deploy("v2", **DIES_ON_GPU2)
    assert done.returncode != 0, done.stdout
    for words in ("gone back, side_by_side", "failed, and taken back", "not touched", "did not last"):
        assert words in done.stdout, done.stdout
    assert set(load_with_losses.next()) == {"v1"}
    assert fleet.current() == v1


def test_those_that_were_moved_stay_if_that_is_wished(v1, load_with_losses):
    done = fleet.deploy("v2", limit="gpu1,gpu2", nim_on_failure="halt", **DIES_ON_GPU2)
    assert done.returncode != 0, done.stdout
    assert "activated, side_by_side" in done.stdout, done.stdout
    assert set(load_with_losses.next()) == {"v1", "v2"}
    after = fleet.current()
    assert after == dict(v1, gpu1=after["gpu1"])
    assert after["gpu1"] != v1["gpu1"]


def test_what_failed_can_be_pruned_and_is_no_way_back(v1):
    seen = fleet.look("gpu2")
    listed = run(
        "gpu2", "docker ps -a --filter label=llmops.nim.model=capitals --format '{{.Label \"llmops.nim.release\"}}'"
    )
    failed = next(one for one in listed.split() if one not in (seen.current, seen.previous))
    done = fleet.playbook("prune", limit="gpu2", nim_release=failed)
    assert done.returncode == 0, done.stdout
    assert f"nim-capitals-{failed}" in done.stdout, done.stdout
    refused = fleet.playbook("rollback", limit="gpu2", nim_release=failed)
    assert refused.returncode != 0
    assert f"Release {failed} of model capitals is not on this host" in " ".join(refused.stdout.split())
    assert fleet.look("gpu2") == seen
