# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

import itertools

import pytest

from ansible_collections.llmops.nim.plugins.module_utils import _strategy

BEFORE = {"container": "nim-capitals-0f9e8d7c"}
WHY = {"side_by_side": "too little memory", "other_gpu": "no free GPU"}


def choose(wish="auto", beside=True, other=True, gateway=True, hosts=1, allow_downtime=True):
    """The swap, and the problem's code or None."""
    can = {"side_by_side": None if beside else WHY["side_by_side"], "other_gpu": None if other else WHY["other_gpu"]}
    model = {"name": "capitals", "strategy": wish}
    swap, problem = _strategy.choose(model, BEFORE, can, gateway, hosts, allow_downtime)
    return swap, problem


@pytest.mark.parametrize(
    ("beside", "other", "strategy"),
    [
        (True, True, "side_by_side"),
        (True, False, "side_by_side"),
        (False, True, "other_gpu"),
        (False, False, "in_place"),
    ],
)
def test_auto_takes_the_first_that_can_be(beside, other, strategy):
    swap, problem = choose(beside=beside, other=other)
    assert swap["strategy"] == strategy
    assert problem is None


def test_each_choice_has_its_reason():
    assert "fit" in choose()[0]["why"]
    assert WHY["side_by_side"] in choose(beside=False)[0]["why"]
    assert choose(beside=False, other=False)[0]["why"] == "too little memory; no free GPU"


@pytest.mark.parametrize(("beside", "other"), itertools.product([True, False], repeat=2))
def test_without_a_gateway_nothing_can_be_switched(beside, other):
    swap, dummy = choose(beside=beside, other=other, gateway=False)
    assert swap["strategy"] == "in_place"
    assert swap["why"] == "there is no gateway that could switch from one to the other"


@pytest.mark.parametrize(
    ("gateway", "hosts", "allowed", "told", "refused"),
    [
        (False, 0, False, True, True),
        (False, 0, True, True, False),
        (False, 3, False, True, True),
        (True, 1, False, True, True),
        (True, 1, True, True, False),
        (True, 2, False, False, False),
        (True, 2, True, False, False),
    ],
)
@pytest.mark.parametrize("wish", ["auto", "in_place"])
def test_downtime_is_told_and_asked_for_unless_others_serve(wish, gateway, hosts, allowed, told, refused):
    swap, problem = choose(wish, False, False, gateway, hosts, allowed)
    assert swap["strategy"] == "in_place"
    assert (swap["downtime"] != "none") == told
    assert (BEFORE["container"] in swap["downtime"]) == told
    assert (problem is not None) == refused
    if refused:
        assert problem.code == "downtime"
        assert swap["downtime"] in problem.evidence
        assert "nim_allow_downtime=true" in problem.remedy


@pytest.mark.parametrize("wish", ["auto", "side_by_side", "other_gpu"])
def test_what_runs_beside_interrupts_nothing(wish):
    swap, problem = choose(wish, allow_downtime=False)
    assert swap["downtime"] == "none"
    assert problem is None


@pytest.mark.parametrize("wish", ["side_by_side", "other_gpu", "in_place"])
@pytest.mark.parametrize(("beside", "other"), itertools.product([True, False], repeat=2))
@pytest.mark.parametrize("gateway", [True, False])
def test_a_wish_is_done_or_refused_and_never_replaced(wish, beside, other, gateway):
    swap, problem = choose(wish, beside, other, gateway)
    can = {"side_by_side": beside and gateway, "other_gpu": other and gateway, "in_place": True}[wish]
    assert swap["strategy"] == wish
    assert (problem is None) == can
    if not can:
        assert problem.code == "strategy_impossible"
        assert problem.evidence == (WHY[wish] if gateway else _strategy._NO_GATEWAY)
        assert problem.remedy
