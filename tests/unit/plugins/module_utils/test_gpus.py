# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.llmops.nim.plugins.module_utils import _gpus
from ansible_collections.llmops.nim.plugins.module_utils._problem import Problem

H100 = ("NVIDIA H100 80GB HBM3", "2330:10de", 81559)
ADA = ("NVIDIA RTX 6000 Ada Generation", "26b1:10de", 49140)
T600 = ("NVIDIA T600", "1fb1:10de", 4096)


def gpus(*kinds, used=()):
    return [
        {
            "index": index,
            "uuid": f"GPU-{index:08x}-aaaa",
            "name": kind[0],
            "pci_device_id": kind[1],
            "memory_total_mib": kind[2],
            "memory_used_mib": dict(used).get(index, 0),
        }
        for index, kind in enumerate(kinds)
    ]


def uuid(index):
    return f"GPU-{index:08x}-aaaa"


def model(name, wish):
    return {"name": name, "gpus": wish}


def release(name, *indexes, running=True):
    return {"model": name, "running": running, "gpus": [uuid(index) for index in indexes]}


def assign(models, host, releases=()):
    assigned, problems = _gpus.assign(models, host, list(releases))
    assert not problems, problems
    return {name: [gpu["index"] for gpu in found] for name, found in assigned.items()}


def refused(models, host, releases=()):
    assigned, problems = _gpus.assign(models, host, list(releases))
    assert problems
    assert not set(assigned) & {name for name, dummy in problems}
    return problems[0][1]


@pytest.mark.parametrize(
    ("raw", "wish"),
    [
        ([0], _gpus.Wish(None, (0,))),
        ([1, "0"], _gpus.Wish(None, (1, 0))),
        (["GPU-fef8089b"], _gpus.Wish(None, ("GPU-fef8089b",))),
        ({"count": 2}, _gpus.Wish(2)),
        ({"count": "2"}, _gpus.Wish(2)),
    ],
)
def test_wishes(raw, wish):
    assert _gpus.parse_wish(raw) == wish


@pytest.mark.parametrize(
    "raw",
    [
        None, "", "all", "0", 0, [], {}, {"count": 0}, {"count": -1}, {"count": True}, {"count": 1, "kind": "H100"},
        {"counts": 1}, [True], [-1], [0.0], ["0,1"], ["H100"], ["GPU-"], ["MIG-fef8089b"], [None], [[0]],
        {"count": None},
    ],
)  # fmt: skip
def test_what_is_no_wish_is_refused_with_how_to_ask(raw):
    with pytest.raises(Problem) as raised:
        _gpus.parse_wish(raw)
    assert raised.value.code == "gpus_invalid"
    assert "gpus: [0]" in raised.value.remedy


def test_named_by_index_uuid_and_beginning_of_uuid():
    host = gpus(H100, H100, H100)
    assert assign([model("a", [2, 0])], host) == {"a": [2, 0]}
    assert assign([model("a", [uuid(1)])], host) == {"a": [1]}
    assert assign([model("a", ["gpu-00000001".replace("gpu", "GPU")])], host) == {"a": [1]}


def test_one_that_is_not_there_lists_those_that_are():
    for wish in ([2], ["GPU-ffff"]):
        problem = refused([model("a", wish)], gpus(ADA, T600))
        assert problem.code == "gpu_not_present"
        assert str(wish[0]) in problem.what
        assert "0: NVIDIA RTX 6000 Ada Generation, 49140 MiB, GPU-00000000-aaaa" in problem.evidence
        assert "1: NVIDIA T600" in problem.evidence


def test_a_beginning_that_fits_two_is_refused():
    problem = refused([model("a", ["GPU-0000"])], gpus(H100, H100))
    assert problem.code == "gpu_ambiguous"


def test_the_same_gpu_twice_is_refused():
    assert refused([model("a", [0, uuid(0)])], gpus(H100, H100)).code == "gpu_twice"


def test_the_mix_of_the_founding_team_is_refused_and_the_big_one_proposed():
    problem = refused([model("a", [0, 1])], gpus(ADA, T600))
    assert problem.code == "gpu_mix"
    assert problem.remedy.endswith("gpus: [0]")
    assert "observed" in problem.source
    assert "inferred" in problem.source


def test_more_than_there_are():
    problem = refused([model("a", {"count": 3})], gpus(H100, H100))
    assert problem.code == "gpu_too_few"
    assert "has 2" in problem.what
    assert "1: NVIDIA H100" in problem.evidence


def test_a_count_never_mixes_kinds():
    problem = refused([model("a", {"count": 2})], gpus(ADA, T600))
    assert problem.code == "gpu_too_few"
    assert "at most 1 of one kind" in problem.what
    assert assign([model("a", {"count": 2})], gpus(ADA, H100, H100, T600)) == {"a": [1, 2]}


def test_a_count_takes_the_largest_kind_that_is_free():
    assert assign([model("a", {"count": 1})], gpus(T600, ADA)) == {"a": [1]}


def test_a_count_takes_the_least_used():
    host = gpus(H100, H100, H100)
    assert assign([model("a", {"count": 1})], host, [release("b", 0)]) == {"a": [1]}
    assert assign([model("a", {"count": 1})], host, [release("b", 0, running=False)]) == {"a": [0]}
    assert assign([model("a", {"count": 1})], gpus(H100, H100, used={0: 8719}.items())) == {"a": [1]}
    # What the driver itself takes is no use.
    assert assign([model("a", {"count": 1})], gpus(H100, H100, used={0: 4}.items())) == {"a": [0]}


def test_a_count_keeps_what_its_running_release_has():
    host = gpus(H100, H100, H100, used={2: 70000}.items())
    assert assign([model("a", {"count": 1})], host, [release("a", 2)]) == {"a": [2]}
    assert assign([model("a", {"count": 2})], host, [release("a", 2)]) == {"a": [0, 2]}
    assert assign([model("a", {"count": 1})], host, [release("a", 1, 2)]) == {"a": [1]}
    # Where it is, it stays, also where a fresh choice would be better.
    assert assign([model("a", {"count": 1})], gpus(ADA, T600), [release("a", 1)]) == {"a": [1]}
    # One of the two is gone.
    assert assign([model("a", {"count": 2})], gpus(H100, H100), [release("a", 1, 7)]) == {"a": [0, 1]}


def test_those_named_come_first_and_those_kept_next():
    host = gpus(H100, H100, H100)
    models = [model("counted", {"count": 1}), model("kept", {"count": 1}), model("named", [0])]
    assert assign(models, host, [release("kept", 1)]) == {"counted": [2], "kept": [1], "named": [0]}


def test_a_model_that_moves_away_does_not_count_where_it_was():
    models = [model("a", [0]), model("b", {"count": 1})]
    assert assign(models, gpus(H100, H100), [release("a", 1)]) == {"a": [0], "b": [1]}


def test_all_problems_are_told():
    dummy, problems = _gpus.assign([model("a", [5]), model("b", {"count": 9}), model("c", [0])], gpus(H100), [])
    assert [(name, problem.code) for name, problem in problems] == [("a", "gpu_not_present"), ("b", "gpu_too_few")]


HOSTS = st.lists(st.sampled_from([H100, ADA, T600]), min_size=1, max_size=6)
WISHES = st.one_of(
    st.builds(lambda count: {"count": count}, st.integers(1, 4)),
    st.lists(st.integers(0, 5), min_size=1, max_size=3),
)


@given(HOSTS, st.lists(WISHES, max_size=4), st.lists(st.integers(0, 5), max_size=3), st.randoms())
def test_every_model_gets_one_kind_as_many_as_wished_or_a_problem(kinds, wishes, held, random):
    host = gpus(*kinds)
    models = [model(f"m{number}", wish) for number, wish in enumerate(wishes)]
    releases = [release("m0", index) for index in held]
    assigned, problems = _gpus.assign(models, host, releases)
    assert set(assigned) | {name for name, dummy in problems} == {one["name"] for one in models}
    assert not set(assigned) & {name for name, dummy in problems}
    for one in models:
        found = assigned.get(one["name"])
        if found is None:
            continue
        assert len({_gpus.kind(gpu) for gpu in found}) == 1
        assert len({gpu["index"] for gpu in found}) == len(found)
        wish = one["gpus"]
        assert len(found) == (wish["count"] if isinstance(wish, dict) else len(wish))
    shuffled = list(host)
    random.shuffle(shuffled)
    assert _gpus.assign(models, shuffled, releases)[0] == assigned


@given(HOSTS, st.integers(1, 4))
def test_a_second_run_assigns_the_same(kinds, count):
    host = gpus(*kinds)
    models = [model("a", {"count": count}), model("b", {"count": count})]
    assigned, dummy = _gpus.assign(models, host, [])
    releases = [release(name, *(gpu["index"] for gpu in found)) for name, found in assigned.items()]
    # Now their memory is in use.
    full = [dict(gpu, memory_used_mib=gpu["memory_total_mib"]) for gpu in host]
    again, dummy = _gpus.assign(models, full, releases)
    assert {name: [gpu["index"] for gpu in found] for name, found in again.items()} == {
        name: [gpu["index"] for gpu in found] for name, found in assigned.items()
    }


def test_busy():
    (idle, full) = gpus(H100, H100, used={1: 5000}.items())
    assert not _gpus.busy(idle)
    assert _gpus.busy(full)
    assert not _gpus.busy(dict(full, memory_used_mib=None))
