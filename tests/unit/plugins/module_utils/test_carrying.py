# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""Who hands on weights to whom."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.llmops.nim.plugins.module_utils import _carrying

HAS = {"published": True, "bytes_there": 100}
BARE = {"published": False, "bytes_there": 0}
LOST = {"unreachable": True, "msg": "no route"}


def half(count=50):
    return {"published": False, "bytes_there": count}


def failed(code):
    return {"problem": {"code": code}, "msg": f"because {code}"}


def roles(there, *more):
    found = _carrying.parts(there, *more)
    return found["seed"], found["receivers"], found["left"]


def model(repo, revision=None):
    return {"weights": {"repo": repo, **({"revision": revision} if revision else {})}}


def test_each_snapshot_is_wanted_once():
    models = {"a": [model("o/x"), model("o/x", "v1")], "b": [model("o/y")], "c": [model("o/x", "main")]}
    commits = {"o/x@main": "1" * 40, "o/x@v1": "1" * 40}
    assert _carrying.wanted(models, commits) == [
        {"repo": "o/x", "commit": "1" * 40, "hosts": ["a", "c"]},
        {"repo": "o/y", "commit": "main", "hosts": ["b"]},
    ]


def test_the_first_fetches_where_nobody_has_anything():
    assert roles({"a": BARE, "b": BARE, "c": BARE}) == ("a", ["b", "c"], [])


def test_the_one_that_has_most_fetches_the_rest():
    assert roles({"a": BARE, "b": half(), "c": half(70)}) == ("c", ["a", "b"], [])


def test_whoever_has_it_hands_it_on_and_nothing_is_fetched():
    assert roles({"a": half(), "b": HAS, "c": HAS}) == ("b", ["a"], [])


def test_nobody_hands_on_what_all_have():
    assert roles({"a": HAS, "b": HAS}) == (None, [], [])


def test_a_host_that_is_lost_is_waited_for_by_nobody():
    assert roles({"a": LOST, "b": BARE, "c": BARE}) == ("b", ["c"], [])
    assert roles({"a": LOST, "b": HAS}) == (None, [], ["a"])


def test_the_next_takes_over_from_a_seed_that_is_lost():
    assert roles({"a": LOST, "b": half(), "c": BARE}, ["a"]) == ("b", ["c"], [])


def test_a_seed_that_has_it_gets_a_second_chance_and_nobody_fetches_it_again():
    assert roles({"a": HAS, "b": half()}, ["a"], [failed("seed_gone")]) == ("a", ["b"], [])
    found = _carrying.parts({"a": HAS, "b": half()}, ["a", "a"], [failed("seed_gone")])
    assert found == {"seed": None, "receivers": [], "left": ["b"], "why": "because seed_gone"}


@pytest.mark.parametrize("code", ["no_access", "token_invalid", "object_corrupt", "object_altered", "seed_unreachable"])
def test_what_every_host_would_run_into_is_not_tried_again(code):
    assert roles({"a": BARE, "b": BARE}, ["a"], [failed(code)]) == (None, [], ["a", "b"])


@pytest.mark.parametrize("code", ["hub_unreachable", "disk_full", "file_system_unfit", "git_missing", "killed"])
def test_what_another_host_may_do_better_is(code):
    assert roles({"a": BARE, "b": BARE}, ["a"], [failed(code), {"skipped": True}]) == ("b", ["a"], [])


def test_a_seed_that_could_not_listen_is_why_it_did_not_answer():
    results = [failed("seed_unreachable"), failed("cannot_listen")]
    assert roles({"a": BARE, "b": BARE}, ["a"], results) == ("b", ["a"], [])


@pytest.mark.parametrize(
    "more",
    [
        {"__weights_started": failed("gave_way")},
        {"__weights_there": dict(BARE, **failed("gave_way"))},
        {"__weights_there": dict(BARE, waited=True)},
    ],
)
def test_a_turn_in_which_another_run_was_in_the_way_says_nothing_about_its_seed(more):
    unheard = host(BARE, "10.0.0.2", __weights_received=failed("seed_unreachable"))
    found = _carrying.turn({"a": dict(host(BARE, "10.0.0.1"), **more), "b": unheard}, ["a"])
    assert (found["seed"], found["receivers"], found["tried"]) == ("a", ["b"], [None, "a"])


def test_turns_that_say_nothing_come_to_an_end():
    held_up = dict(host(dict(BARE, waited=True), "10.0.0.1"), __weights_fetched=failed("no_access"))
    turns, found = 0, {"tried": [], "seed": "a"}
    while found["seed"]:
        found, turns = _carrying.turn({"a": held_up}, found["tried"]), turns + 1
        assert turns < 100
    assert (found["left"], found["why"]) == (["a"], "because no_access")


SEEN = st.sampled_from([HAS, BARE, half(), LOST, {}])


@given(st.lists(st.lists(SEEN, min_size=4, max_size=4), min_size=20, max_size=20))
def test_the_rounds_come_to_an_end_and_nobody_fetches_what_somebody_has(rounds):
    tried = []
    for seen in rounds:
        there = dict(zip("abcd", seen))
        found = _carrying.parts(there, tried)
        if found["seed"] is None:
            break
        assert "bytes_there" in there[found["seed"]]
        assert there[found["seed"]] is HAS or HAS not in seen
        assert found["seed"] not in found["receivers"]
        tried.append(found["seed"])
    assert len(tried) <= 2 * 4


def host(there, address, **more):
    return dict({"__weights_there": there, "__weights_address": address}, **more)


def test_a_turn_says_what_each_host_is_to_do():
    found = _carrying.turn(
        {"a": host(BARE, "10.0.0.1"), "b": host(LOST, "10.0.0.2"), "c": host(BARE, "10.0.0.3")}, ["z"]
    )
    assert (found["seed"], found["fetches"], found["receivers"]) == ("a", True, ["c"])
    assert (found["taking"], found["addresses"]) == (["a", "c"], ["10.0.0.1", "10.0.0.3"])
    assert found["tried"] == ["z", "a"]
    assert found["said"] == "a fetches it and hands it on to c."


def test_the_last_turn_says_nothing():
    found = _carrying.turn({"a": host(HAS, "10.0.0.1"), "b": host(HAS, "10.0.0.2")}, ["a"])
    assert (found["seed"], found["fetches"], found["taking"], found["said"]) == (None, False, [], "")
    assert found["tried"] == ["a"]


def test_a_turn_hears_what_became_of_the_last():
    lost = host(BARE, "10.0.0.1", __weights_fetched=failed("no_access"), __weights_received={"skipped": True})
    found = _carrying.turn({"a": lost, "b": host(BARE, "10.0.0.2")}, ["a"])
    assert (found["seed"], found["left"], found["why"]) == (None, ["a", "b"], "because no_access")
