"""Releases that are measured on their way. It stands in this scenario since AIPerf is here."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "shared"))

import lab

HOST = "gpu1"
# Few requests: what is shown is what becomes of the figures.
LOAD = {"concurrency": [1, 2], "requests": 8, "input_tokens": 16, "output_tokens": 8}
MEASURING = {f"nim_benchmark_{key}": value for key, value in LOAD.items()}
AIPERF = {"nim_aiperf_dir": str(lab.ROOT / ".lab" / "aiperf")}
RUNNING = "docker ps --filter label=llmops.nim.model=capitals --format '{{.Names}}'"
# The lab's answers take a few milliseconds a token.
SLOW = {"LAB_TOKEN_MILLISECONDS": "200"}


def begin(name, most, env=None, **wishes):
    """Begins a deployment, or another playbook that may be told of the gate, as lab.begin()."""
    models = [lab.model(unchecked_env=env or {})]
    return lab.begin(name, limit=HOST, nim_models=models, nim_max_regression=most, **AIPERF, **wishes)


def ended(process):
    """What a run printed, in one line, and its status."""
    output = process.communicate()[0]
    return " ".join(output.split()), process.returncode


def records():
    return [json.loads(line) for line in lab.run(HOST, "cat /var/lib/nim/capitals/ledger.jsonl").splitlines()]


@pytest.fixture(scope="module", autouse=True)
def predecessor():
    """The container that serves, of which there is a benchmark."""
    lab.run(HOST, (lab.ROOT / "molecule" / "shared" / "bare.sh").read_text())
    said, status = ended(begin("deploy", most=1))
    assert not status, said
    assert "capitals is not measured: nothing served before it." in said
    measured = lab.playbook("benchmark", limit=HOST, **MEASURING, **AIPERF)
    assert not measured.returncode, measured.stdout
    assert [one["event"] for one in records()] == ["activated", "benchmarked"]
    return lab.run(HOST, RUNNING).strip()


def test_what_is_no_fraction_is_refused_before_anything_is_touched(predecessor):
    before = lab.fingerprint(HOST)
    runs = [begin("deploy", most=most, env={"LAB_NOTE": "other"}) for most in ("-0.1", "a tenth")]
    (negative, status), (no_number, other) = map(ended, runs)
    assert status
    assert "no fraction from 0 on" in negative
    assert "do: Name by how much" in negative
    assert other
    assert "nim_container_max_regression" in no_number
    assert lab.fingerprint(HOST) == before


def test_one_that_is_slower_than_allowed_is_taken_back(predecessor):
    said, status = ended(begin("deploy", most=1, env=SLOW))
    assert status
    assert f"is not shown to be as fast as {predecessor}" in said
    assert "2 clients: time from token to token (p50)" in said
    assert "failed, and taken back" in said
    assert lab.run(HOST, RUNNING).strip() == predecessor
    measured, failed = records()[-2:]
    assert (measured["event"], failed["event"]) == ("benchmarked", "failed")
    assert measured["run"] == failed["run"]
    assert "100% are allowed" in measured["reason"]
    assert "100% are allowed" in failed["reason"]
    # As its predecessor was measured, which nobody has told this run.
    assert [one["concurrency"] for one in measured["measured"]["steps"]] == LOAD["concurrency"]
    assert {one["requests"] for one in measured["measured"]["steps"]} == {LOAD["requests"]}
    assert measured["measured"]["input_tokens"] == LOAD["input_tokens"]


def test_one_that_cannot_be_measured_is_taken_back(predecessor):
    said, status = ended(begin("deploy", most=1000, env={"LAB_NOTE": "other"}, nim_benchmark_tokenizer="/nowhere"))
    assert status
    assert "AIPerf ended without a measurement of 1 clients" in said
    assert lab.run(HOST, RUNNING).strip() == predecessor
    assert records()[-1]["event"] == "failed"


def test_one_that_is_fast_enough_serves_and_the_way_back_asks_for_no_figures(predecessor):
    said, status = ended(begin("deploy", most=1000, env={"LAB_NOTE": "next"}))
    assert not status, said
    measured, activated = records()[-2:]
    assert (measured["event"], measured["reason"], activated["event"]) == ("benchmarked", None, "activated")
    assert measured["release"]["id"] == activated["release"]["id"]
    known = len(records())
    said, status = ended(begin("rollback", most="a tenth"))
    assert not status, said
    assert lab.run(HOST, RUNNING).strip() == predecessor
    assert [one["event"] for one in records()[known:]] == ["rolled_back"]
