# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

from fleet_told import GPU, UNREACHABLE, benchmark, host, record

from ansible_collections.llmops.nim.plugins.module_utils import _report


def test_a_host_that_does_not_answer_has_its_place_and_a_remedy():
    facts = _report.facts({"gpu1": host(), "gpu2": UNREACHABLE})
    assert [(row["host"], row["health"]) for row in facts["fleet"]] == [("gpu1", "ready"), ("gpu2", "does not answer")]
    (problem,) = facts["problems"]
    assert problem["host"] == "gpu2"
    assert "timed out" in problem["evidence"]
    assert "gpu2 -m ping" in problem["remedy"]


def test_a_fleet_without_a_ledger_tells_the_rest():
    facts = _report.facts({"gpu1": host(records=[]), "gpu2": host(ledgers={"models": {}})})
    assert (facts["rollouts"], facts["steps"], facts["problems"]) == ([], [], [])
    assert len(facts["fleet"]) == len(facts["memory"]) == 2


def test_what_a_host_does_not_tell_is_a_problem():
    said = {"failed": False, "problem": {"what": "The ledger cannot be read", "evidence": "EIO", "remedy": "look"}}
    facts = _report.facts({"gpu1": host(ledgers=said, observed={"msg": "no nvidia-smi"})})
    assert [one["what"] for one in facts["problems"]] == [
        "The ledger cannot be read",
        "The host does not tell its GPUs",
    ]
    assert facts["fleet"][0]["health"] == "ready"
    unknown = _report.facts({"gpu1": host(releases={"msg": "no docker"})})
    assert unknown["fleet"] == [{"host": "gpu1", "health": "unknown"}]
    assert [one["evidence"] for one in unknown["problems"]] == ["no docker"]


def test_a_damaged_record_is_left_out_and_told():
    damaged = [
        record(at=None),
        record(at="yesterday"),
        record(timings={"ready": "soon"}),
        record(timings=[1]),
        record(release={"commit": 7}),
        {},
    ]
    facts = _report.facts({"gpu1": host(records=[*damaged, record()])})
    assert len(facts["rollouts"]) == 1
    assert len(facts["problems"]) == len(damaged)
    assert all(one["host"] == "gpu1" and one["evidence"] for one in facts["problems"])


def test_steps_are_told_from_the_first_of_their_run():
    first = record(at="2026-01-31T12:01:00Z", run="r1", timings={"soak": 20, "ready": 40})
    second = record(at="2026-01-31T12:02:30Z", run="r1", timings={"ready": 60, "drain": 0, "soak": 20, "other": 10})
    steps = _report.facts({"gpu1": host(records=[first]), "gpu2": host(records=[second])})["steps"]
    assert [(one["host"], one["step"], one["begin"], one["seconds"]) for one in steps] == [
        ("gpu1", "ready", 0, 40),
        ("gpu1", "soak", 40, 20),
        ("gpu2", "ready", 60, 60),
        ("gpu2", "drain", 120, 0),
        ("gpu2", "soak", 120, 20),
        ("gpu2", "other", 140, 10),
    ]
    many = [record(at=f"2026-01-31T12:{minute:02}:00Z", run=f"r{minute}") for minute in range(9)]
    told = _report.facts({"gpu1": host(records=many)})["steps"]
    assert list(dict.fromkeys(one["run"] for one in told)) == ["r4", "r5", "r6", "r7", "r8"]


def test_benchmarks_of_the_last_two_releases_are_told_and_are_no_rollouts():
    records = [
        benchmark("v1", 100.0, at="2026-01-01T00:00:00Z"),
        benchmark("v2", 200.0, at="2026-01-02T00:00:00Z"),
        benchmark("v3", 300.0, at="2026-01-03T00:00:00Z"),
        benchmark("v2", 250.0, at="2026-01-04T00:00:00Z"),
        benchmark("v4", at="2026-01-05T00:00:00Z", measured={"steps": [{"concurrency": 1}]}),
    ]
    facts = _report.facts({"gpu1": host(records=records)})
    assert facts["rollouts"] == []
    told = [(one["release"], one["concurrency"], one["throughput"]) for one in facts["benchmarks"]]
    assert told == [("v3", 1, 300.0), ("v3", 16, 300.0), ("v2", 1, 250.0), ("v2", 16, 250.0)]
    assert facts["benchmarks"][0]["ttft"] == [20.5, 30.0, 40.0]
    assert facts["benchmarks"][0]["itl"] == [None, None, None]
    (damaged,) = facts["problems"]
    assert "cannot be read" in damaged["what"]


def test_a_benchmark_whose_release_is_damaged_hides_no_other():
    facts = _report.facts({"gpu1": host(records=[benchmark(["v1"]), benchmark("v2")])})
    assert [one["release"] for one in facts["benchmarks"] if one["concurrency"] == 1] == ["['v1']", "v2"]


def test_the_memory_of_a_gpu_is_all_told():
    (row,) = _report.memory({"gpu1": host()})
    assert row["held"] == {"capitals 1a2b3c4d": 40000}
    assert row["other_mib"] == 1000
    assert row["free_mib"] == GPU["memory_total_mib"] - 41000


def test_problems_come_before_warnings_and_drift_and_wrong_answers_are_among_them():
    warned = {"problems": [], "warnings_found": [{"what": "the disk fills", "model": ["capitals"], "remedy": "prune"}]}
    releases = host()["releases"]
    drift = {"model": "capitals", "container": "nim-capitals-1a2b3c4d", "what": "its image is another"}
    wrong = {"item": "nim-capitals-1a2b3c4d", "problems": [{"what": "says Rennes"}]}
    told = host(releases=dict(releases, drift=[drift]), checked=warned, asked={"results": [wrong]})
    found = _report.problems({"gpu1": told})
    assert [(one["what"], one["coming"]) for one in found] == [
        ("its image is another", False),
        ("says Rennes", False),
        ("the disk fills", True),
    ]
    assert _report.fleet({"gpu1": told})[0]["drift"] == ["its image is another"]
