# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""What the hosts of a fleet say of themselves, for the tests of the report."""

from __future__ import annotations

GPU = {
    "index": 0,
    "uuid": "GPU-aa",
    "name": "NVIDIA RTX 6000 Ada Generation",
    "memory_total_mib": 49140,
    "memory_used_mib": 41000,
}
RELEASE = {
    "model": "capitals",
    "container": "nim-capitals-1a2b3c4d",
    "release": "1a2b3c4d",
    "running": True,
    "health": "ready",
    "started": "2026-01-31T12:00:00.123456789Z",
    "age_seconds": 93784,
    "port": 8000,
    "commit": "0123456789abcdef" * 2 + "01234567",
    "image": "nvcr.io/nim/meta/llama-3.2-1b-instruct@sha256:" + "a" * 64,
    "profile_name": "vllm-bf16-tp1-pp1",
    "weights": "acme/capitals",
    "labels": {"llmops.nim.nim_version": "1.8.4", "llmops.nim.manifest": "fedcba9876543210" * 4},
}
UNREACHABLE = {"releases": {"unreachable": True, "msg": "Connection timed out"}}
ANSWER = {
    "prompt": "What is the capital of France?",
    "answer": "Paris",
    "verdicts": {"model": "ok", "expect": "ok"},
    "ttft_seconds": 0.04,
    "tokens_per_second": 51.5,
}


def benchmark(release, throughput=400.0, **changes):
    """A record of a ledger that a benchmark has left."""
    times = {"p50": 20.5, "p90": 30.0, "p99": 40.0}
    steps = [
        {"concurrency": clients, "requests": 100, "failed": 0, "ttft_ms": times, "itl_ms": None, "errors": []}
        for clients in (1, 16)
    ]
    steps = [dict(one, output_tokens_per_second=throughput, requests_per_second=2.5) for one in steps]
    load = {"tool": "AIPerf 0.13.0", "api": "completions", "input_tokens": 512, "output_tokens": 128}
    measured = dict(load, extra_inputs={}, steps=steps, missing=[])
    usual = {"event": "benchmarked", "release": {"id": release}, "measured": measured, "timings": {}}
    return record(**dict(usual, **changes))


def record(**changes):
    """A record of a ledger."""
    release = {"id": "1a2b3c4d", "weights": "acme/capitals", "commit": RELEASE["commit"]}
    usual = {"at": "2026-01-31T12:05:00Z", "event": "activated", "release": release, "from": "0f9e8d7c", "who": "ada"}
    usual.update(strategy="in_place", run="r1", reason=None, timings={"ready": 90.5, "drain": 2, "soak": 60})
    return dict(usual, **changes)


def host(records=None, **changes):
    """A host that serves one release; changes: results instead of the usual ones."""
    known = [record()] if records is None else records
    usual = {
        "releases": {"releases": [RELEASE], "drift": [], "lock": None},
        "ledgers": {"models": {"capitals": {"records": known}}},
        "observed": {"gpus": [GPU], "releases": [dict(RELEASE, memory_mib={"GPU-aa": 40000})]},
        "checked": {"problems": [], "warnings_found": []},
        "asked": {"results": [{"item": RELEASE["container"], "answers": [ANSWER]}]},
    }
    return dict(usual, **changes)
