# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""Deploys, rollbacks, failures and kills on a tiny host: the next run finishes or undoes what it finds."""

from __future__ import annotations

import contextlib
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from simulated_host import Failed, Host, Killed, Refused

OLD, NEW, OTHER = "d" * 40, "c" * 40, "e" * 40
# (GPUs, behind a gateway, share of a GPU's memory, wish): what leads to each strategy.
HOSTS = {
    "side_by_side": (1, True, 0.3, [0]),
    "other_gpu": (3, True, 0.9, {"count": 1}),
    "in_place": (1, True, 0.9, [0]),
    "in_place, no gateway": (1, False, 0.3, [0]),
}


def host(kind):
    gpu_count, gateway, share, wish = HOSTS[kind]
    return Host(gpu_count, gateway, share, wish)


def settled(one, item):
    """What holds after a run that succeeded."""
    name = item["release"]["container"]
    assert one.running() == {name}
    assert one.ledger()["current"]["container"] == name
    if item["action"] != "none" and item["predecessor"]:
        assert item["predecessor"]["container"] in one.containers
        assert one.ledger()["previous"]["id"] == item["predecessor"]["id"]
    assert one.admitted == (name if one.gateway else None)


def ended(one, item, success):
    """What holds after a run that came to its end."""
    if success:
        settled(one, item)
    else:
        before = item["predecessor"]
        assert one.running() == ({before["container"]} if before else set())


@pytest.mark.parametrize("kind", HOSTS)
class TestEveryKind:
    def test_a_deploy_and_another_and_back(self, kind):
        one = host(kind)
        settled(one, one.deploy(OLD)[0])
        item, success = one.deploy(NEW)
        assert success
        assert item["swap"]["strategy"] == kind.partition(",")[0]
        settled(one, item)
        assert one.deploy(NEW)[0]["action"] == "none"
        item, success = one.roll_back()
        assert success
        settled(one, item)
        assert one.containers[item["release"]["container"]]["commit"] == OLD
        item, success = one.roll_back()
        assert one.containers[item["release"]["container"]]["commit"] == NEW
        settled(one, item)

    def test_what_was_activated_goes_back_and_forth(self, kind):
        one = host(kind)
        one.deploy(OLD)
        item, dummy = one.deploy(NEW)
        before = one.containers[item["predecessor"]["container"]]["container"]
        undone, success = one.go_back(item)
        assert success
        assert one.running() == {before}
        settled(one, undone)
        again, success = one.go_back(undone)
        assert success
        assert one.running() == {item["release"]["container"]}
        settled(one, again)

    @pytest.mark.parametrize("fails", ["ready", "soak"])
    def test_a_failure_leaves_the_old_one_serving_and_in_the_ledger(self, kind, fails):
        one = host(kind)
        first, dummy = one.deploy(OLD)
        item, success = one.deploy(NEW, fails=fails)
        assert not success
        settled(one, first)
        assert one.history[-1]["event"] == "failed"
        assert one.deploy(OLD)[0]["action"] == "none"

    @pytest.mark.parametrize("fails", [None, "ready", "soak"])
    @pytest.mark.parametrize("then", ["same", "old", "third", "rollback"])
    def test_killed_anywhere_the_next_run_ends_it(self, kind, fails, then):
        for kill_at in range(20):
            one = host(kind)
            one.deploy(OTHER)
            before, dummy = one.deploy(OLD)
            with contextlib.suppress(Killed):
                one.deploy(NEW, fails=fails, kill_at=kill_at)
                break
            if kind in ("side_by_side", "other_gpu"):
                assert one.admitted in one.running()
            if then == "rollback":
                item, success = one.roll_back()
            else:
                item, success = one.deploy({"same": NEW, "old": OLD, "third": "f" * 40}[then])
            assert success
            assert before["release"]["container"] in one.containers
            settled(one, item)
            if then != "rollback":
                assert one.deploy(one.containers[item["release"]["container"]]["commit"])[0]["action"] == "none"
        else:
            pytest.fail("the run has more steps than were tried")

    @pytest.mark.parametrize("fails", ["ready", "soak"])
    def test_killed_anywhere_and_failing_in_the_next_run_the_old_one_serves(self, kind, fails):
        for kill_at in range(20):
            one = host(kind)
            before, dummy = one.deploy(OLD)
            with contextlib.suppress(Killed):
                one.deploy(NEW, kill_at=kill_at)
                break
            item, success = one.deploy(NEW, fails=fails)
            assert not success
            assert one.running() == {before["release"]["container"]}
            settled(one, one.deploy(OLD)[0])

    @pytest.mark.parametrize("then", [None, "ready"])
    def test_a_rollback_killed_anywhere_keeps_its_fallback(self, kind, then):
        for kill_at in range(20):
            one = host(kind)
            first, dummy = one.deploy(OLD)
            second, dummy = one.deploy(NEW)
            target = first["release"]["id"]
            with contextlib.suppress(Killed):
                one.roll_back(target, kill_at=kill_at)
                break
            item, success = one.roll_back(target, fails=then)
            assert item["predecessor"]["id"] == second["release"]["id"]
            assert one.running() == {(item if success else second)["release"]["container"]}
            settled(one, one.deploy(OLD if success else NEW)[0])


def test_the_release_of_a_killed_run_on_another_gpu_is_finished_there():
    one = host("other_gpu")
    one.deploy(OLD)
    for kill_at in range(20):
        with contextlib.suppress(Killed):
            one.deploy(NEW, kill_at=kill_at)
            break
    assert len(one.containers) == 2


class Step(NamedTuple):
    """A run, or what befalls the host."""

    do: str = "deploy"
    commit: str = NEW
    strategy: str = "auto"
    fails: str | None = None
    kill_at: int | None = None
    which: int = 0  # of the containers, for a rollback to a certain one


STEPS = st.builds(
    Step,
    st.sampled_from(["deploy", "deploy", "deploy", "back", "back to", "crash"]),
    st.sampled_from([OLD, NEW, OTHER]),
    st.sampled_from(["auto", "auto", "in_place", "side_by_side", "other_gpu"]),
    st.sampled_from([None, None, None, "ready", "soak"]),
    st.one_of(st.none(), st.integers(0, 9)),
    st.integers(0, 5),
)


def carried_out(one, step):
    """The item and whether it succeeded."""
    if step.do == "deploy":
        return one.deploy(step.commit, step.strategy, step.fails, step.kill_at)
    wished = None
    if step.do == "back to" and one.containers:
        wished = [kept["release"] for kept in one.containers.values()][step.which % len(one.containers)]
    return one.roll_back(wished, step.fails, step.kill_at)


@settings(max_examples=400)
@given(st.sampled_from(sorted(HOSTS)), st.lists(STEPS, max_size=8))
def test_any_history_ends_with_one_release_that_is_the_ledger_s(kind, steps):
    one = host(kind)
    for step in steps:
        if step.do == "crash":
            one.crash()
            continue
        before = one.running(), list(one.history), sorted(one.containers)
        try:
            ended(one, *carried_out(one, step))
        except Refused:
            assert before == (one.running(), one.history, sorted(one.containers))
        except Killed:
            pass
    item, success = one.deploy(NEW)
    assert success
    settled(one, item)
    assert one.deploy(NEW)[0]["action"] == "none"


def test_the_simulated_host_can_fail():
    """Else nothing above would prove anything."""
    one = host("in_place")
    item, dummy = one.deploy(OLD)
    with pytest.raises(AssertionError, match="it gets requests"):
        one._stop(item["release"]["container"])
    with pytest.raises(Refused):
        one.deploy(NEW, strategy="side_by_side")
    assert issubclass(Failed, Exception)
