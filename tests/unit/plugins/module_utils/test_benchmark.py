# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

import copy
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.llmops.nim.plugins.module_utils import _benchmark

LOAD = {"api": "completions", "input_tokens": 512, "output_tokens": 128, "extra_inputs": {}}


def step(concurrency=4, ttft=100.0, itl=20.0, throughput=200.0, **changes):
    times = {"ttft_ms": spread(ttft), "itl_ms": spread(itl), "latency_ms": spread(2000.0)}
    usual = {"concurrency": concurrency, "requests": 100, "failed": 0, "seconds": 60.0, "errors": []}
    return dict(usual, **times, output_tokens_per_second=throughput, requests_per_second=2.5, **changes)


def spread(p50):
    return None if p50 is None else {"p50": p50, "p90": p50 * 2, "p99": p50 * 3}


def measured(*steps, missing=(), **changes):
    return dict(LOAD, **{"tool": "AIPerf 0.13.0", "steps": list(steps), "missing": list(missing), **changes})


def record(release, at, found):
    return {"event": "benchmarked", "at": at, "release": {"id": release}, "measured": found}


def test_the_reference_is_the_newest_of_another_release_under_the_same_load():
    ledger = [
        record("old", "2026-01-01T00:00:00Z", measured(step(1))),
        record("before", "2026-01-02T00:00:00Z", measured(step(2))),
        record("before", "2026-01-03T00:00:00Z", measured(step(3))),
        record("before", "2026-01-04T00:00:00Z", dict(measured(step(4)), output_tokens=64)),
        record("now", "2026-01-05T00:00:00Z", measured(step(5))),
        {"event": "benchmarked", "at": "?", "release": {}},
    ]
    assert _benchmark.before(ledger, "now", measured())["at"] == "2026-01-03T00:00:00Z"
    assert _benchmark.before(ledger[:1] + ledger[-2:], "now", measured())["at"] == "2026-01-01T00:00:00Z"
    assert _benchmark.before(ledger[-2:], "now", measured()) is None


def test_what_a_rollout_has_taken_back_is_no_release_before():
    slow = dict(record("slow", "2026-01-02T00:00:00Z", measured(step(ttft=900.0))), reason="too slow")
    ledger = [record("before", "2026-01-01T00:00:00Z", measured(step())), slow]
    assert _benchmark.before(ledger, "now", measured())["release"]["id"] == "before"


@pytest.mark.parametrize(
    ("change", "worse"),
    [
        ({"ttft": 111.0}, "first token"),
        ({"itl": 22.3}, "token to token"),
        ({"throughput": 178.0}, "tokens/s"),
        ({"ttft": 109.0, "itl": 21.9, "throughput": 181.0}, None),
        ({"ttft": 50.0, "itl": 5.0, "throughput": 900.0}, None),
        # What failed is told elsewhere, and its times mean nothing.
        ({"ttft": 900.0, "failed": 3}, None),
        ({"concurrency": 8, "ttft": 900.0}, None),
        ({"itl": None}, "was not measured now"),
        # As fast as a stream that comes in one piece.
        ({"itl": 0.0}, None),
        ({"throughput": 0.0}, "tokens/s"),
    ],
)
def test_what_is_worse_by_more_than_is_allowed_is_a_regression(change, worse):
    found = _benchmark.regressions(measured(step(**change)), measured(step()), 0.1)
    assert [worse in one for one in found] == ([True] if worse else [])
    assert _benchmark.regressions(measured(step(**change)), measured(step()), 0) == []
    assert _benchmark.regressions(measured(step(**change)), None, 0.1) == []


def test_a_regression_is_told_with_its_figures():
    (told,) = _benchmark.regressions(measured(step(16, ttft=125.4)), measured(step(16)), 0.1)
    assert told == "16 clients: time to first token (p50) 100 → 125 ms, +25.4%, 10% are allowed"


def test_what_was_immeasurably_short_forbids_nothing():
    assert _benchmark.regressions(measured(step(itl=3.0)), measured(step(itl=0.0)), 0.1) == []
    assert _benchmark.changes(measured(step(itl=3.0)), measured(step(itl=0.0)))[4] == {"ttft": 0.0, "throughput": 0.0}


def test_it_is_measured_again_with_what_went_well_then():
    failed = step(64, failed=3, ttft=None)
    again = _benchmark.load(measured(step(1), step(16), failed, extra_inputs={"ignore_eos": True}))
    assert again == dict(LOAD, extra_inputs={"ignore_eos": True}, concurrency=[1, 16], requests=100)
    # What the clients' number made of the wish is made of it again.
    sent = [dict(step(clients), requests=max(20, 4 * clients)) for clients in (1, 16)]
    assert _benchmark.load(measured(*sent))["requests"] == 20


SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3)
VALUES = st.recursive(
    SCALARS, lambda one: st.lists(one, max_size=2) | st.dictionaries(st.text(max_size=3), one, max_size=2)
)


def places(value, path=()):
    """The paths of all values in value (tuples of keys)."""
    yield path
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, one in inner:
        yield from places(one, (*path, key))


WHOLE = measured(step(1), step(4))


@given(st.sampled_from(list(places(WHOLE))), VALUES)
def test_a_damaged_record_is_none_or_one_to_compare_with(path, value):
    damaged = {"measured": copy.deepcopy(WHOLE)}
    inner = damaged
    for key in ("measured", *path)[:-1]:
        inner = inner[key]
    inner[("measured", *path)[-1]] = value
    found = _benchmark.load(damaged["measured"])
    assert found is None or _benchmark.regressions(damaged["measured"], damaged["measured"], 0.1) == []
    if found:
        # One that is worse in everything is never let through.
        slow = measured(*(step(clients, ttft=1e300, itl=1e300, throughput=1e-300) for clients in found["concurrency"]))
        assert len(_benchmark.regressions(slow, damaged["measured"], 0.1)) >= len(found["concurrency"])


def test_a_benchmark_that_ended_early_says_what_it_has_and_what_not():
    broken = step(16, ttft=None, itl=None, throughput=None, errors=["12 times Connection refused"])
    broken.update(failed=12, requests_per_second=None)
    reference = record("1a2b3c4d", "2026-01-03T00:00:00Z", measured(step(ttft=80.0)))
    text = _benchmark.told("gpu1 capitals", measured(step(), broken, missing=[64]), reference)
    assert "100 200 300" in text
    assert "+25% +0% +0%" in text
    assert "release 1a2b3c4d" in text
    assert "not measured: 64 clients" in text
    assert "16 clients: 12 times Connection refused" in text
    assert max(map(len, text.splitlines())) <= 92
    nothing = _benchmark.told("gpu1 capitals", measured(missing=[1, 4], tool=None), None)
    assert "not measured: 1, 4 clients" in nothing


def host(**changes):
    labels = {"llmops.nim.api": "chat"}
    commit = "0123456789abcdef" * 2 + "01234567"
    mounts = ["/var/lib/nim/capitals/cache:/opt/nim/.cache:rw", f"/var/lib/nim/weights/lab--a/{commit}-12:/model:ro"]
    release = {"model": "capitals", "container": "nim-capitals-1a", "release": "1a", "running": True, "port": 8000}
    release.update(served_name="capitals", labels=labels, commit=commit, settings={"mounts": mounts})
    release.update(changes)
    return {"ansible_host": "192.0.2.1", "nim_releases": {"releases": [release]}}


def test_what_runs_is_measured_where_it_answers_or_once_through_the_gateway():
    (wanted,) = _benchmark.wanted("gpu1", host(), [], [], "http")
    assert wanted["base_url"] == "http://192.0.2.1:8000/v1"
    assert (wanted["api"], wanted["served_name"], wanted["release"]) == ("chat", "capitals", "1a")
    assert wanted["snapshot"].endswith("01234567-12")
    assert _benchmark.wanted("gpu1", host(running=False), [], [], "http") == []
    models = [{"name": "capitals", "port": 9000, "servers": [{"host": "gpu1"}, {"host": "gpu2"}]}]
    gateways = [("gate", {"ansible_host": "192.0.2.9", "nim_verify_address": "elsewhere"})]
    (wanted,) = _benchmark.wanted("gpu1", host(), gateways, models, "https")
    assert wanted["base_url"] == "https://192.0.2.9:9000/v1"
    assert _benchmark.wanted("gpu2", host(), gateways, models, "https") == []
    assert json.dumps(wanted)
