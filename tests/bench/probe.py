"""The quick probe of verify beside AIPerf, on the lab: printed and put into docs/benchmarks.md, never asserted.

python tests/bench/probe.py [--rounds 3]

Both ask the same question of the same server in turns, so that neither has another server or load than the other.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / one) for one in ("collections", "molecule/shared", "tests/bench")]

lab, page = map(importlib.import_module, ("lab", "page"))
OURS = "ansible_collections.llmops.nim.plugins.module_utils."
aiperf, completion = importlib.import_module(OURS + "_aiperf"), importlib.import_module(OURS + "_completion")

HEADING = "## The probe beside AIPerf"
INTRODUCTION = """\
`tests/bench/probe.py`, on {machine}, load {load:.1f} before it. The probe that `verify` asks its
questions by, and {tool}, ask a server of the lab the same question in turns, {samples} times each in each of
{rounds} rounds, one request at a time. The server waits {pause} ms before each token, as a larger model would. It has
the same cores as AIPerf, which keeps its books right after an answer: so that these are done when the next request
begins, AIPerf sends {rate} a second. Medians of all answers, and of the rounds the least and the largest ratio.

| | probe | AIPerf | probe ÷ AIPerf |
|---|---|---|---|
"""
QUESTION, TOKENS, SAMPLES, PAUSE, RATE = "What is the capital of France?", 16, 60, 20, 2
PACE = {"x-lab-token-milliseconds": str(PAUSE)}
TOKENIZER = ROOT / "lab/weights/Llama-3.2-1B-capitals"


def endpoint():
    """Where gpu2 answers, and its served name, by its ledger."""
    release = json.loads(lab.run("gpu2", "cat /var/lib/nim/capitals/releases.json"))["current"]
    return f"http://10.83.0.12:{release['port']}/v1", release["served_name"]


def probed(base_url, model):
    """Seconds to the first token, and tokens per second after it, of each answer of the probe (two lists)."""
    question = {"prompt": QUESTION, "expect": r"\S", "reject": None, "min_chars": 1, "max_tokens": TOKENS}
    params = dict.fromkeys(completion.ARGUMENTS)
    params.update(base_url=base_url, model=model, api="completions", headers=PACE, timeout=60, samples=SAMPLES)
    params.update(checks=[dict(question, finish_reason=None)])
    answers, problems = completion.verify(params)
    assert not problems, problems
    return [one["ttft_seconds"] for one in answers], [one["tokens_per_second"] for one in answers]


def measured(command, base_url, model):
    """The same by AIPerf, and its version."""
    params = {name: option.get("default") for name, option in aiperf.ARGUMENTS.items()}
    params.update(base_url=base_url, model=model, tokenizer=str(TOKENIZER), requests=SAMPLES)
    with tempfile.TemporaryDirectory() as folder:
        left = Path(folder, "artifacts")
        config = aiperf.configuration(params, 1, str(left))
        benchmark = config["benchmark"]
        benchmark["endpoint"]["headers"] = PACE
        benchmark["phases"][1].update(type="constant", rate=RATE)
        benchmark["artifacts"]["records"] = ["jsonl"]
        records = [{"text": QUESTION, "output_length": TOKENS}]
        benchmark["dataset"] = {"type": "file", "format": "single_turn", "records": records}
        Path(folder, "aiperf.json").write_text(json.dumps(config))
        told = [command, "profile", "--config", f"{folder}/aiperf.json"]
        done = subprocess.run(told, env=aiperf.environment(params), capture_output=True, text=True)
        assert done.returncode == 0, done.stdout
        version = json.loads((left / "profile_export_aiperf.json").read_text())["aiperf_version"]
        lines = [json.loads(line) for line in (left / "profile_export.jsonl").read_text().splitlines()]
    metrics = [one["metrics"] for one in lines if one["metadata"]["benchmark_phase"] == "profiling"]
    return (
        [one["time_to_first_token"]["value"] / 1000 for one in metrics],
        [1000 / one["inter_token_latency"]["value"] for one in metrics],
        version,
    )


def row(name, ours, theirs, form):
    """A row of the table; ours, theirs: a list of values a round."""
    ratios = [statistics.median(one) / statistics.median(other) for one, other in zip(ours, theirs)]
    middle = [statistics.median(value for one in rounds for value in one) for rounds in (ours, theirs)]
    cells = [form.format(one) for one in middle]
    return (
        f"| {name} | {cells[0]} | {cells[1]} | {middle[0] / middle[1]:.3f} ({min(ratios):.3f} to {max(ratios):.3f}) |"
    )


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--aiperf", default=f"{Path.home()}/.cache/llmops.nim/aiperf-0.13.0/bin/aiperf")
    options = parser.parse_args()
    load, where = os.getloadavg()[0], endpoint()
    ours, theirs, version = [], [], None
    for _round in range(options.rounds):
        ours.append(probed(*where))
        *found, version = measured(options.aiperf, *where)
        theirs.append(found)
    rows = [
        row("time to first token, p50", [one[0] for one in ours], [one[0] for one in theirs], "{:.4f} s"),
        row("tokens per second, p50", [one[1] for one in ours], [one[1] for one in theirs], "{:.1f}"),
    ]
    facts = {"machine": page.machine(), "load": load, "tool": f"AIPerf {version}", "rounds": options.rounds}
    text = INTRODUCTION.format(samples=SAMPLES, pause=PAUSE, rate=RATE, **facts) + "\n".join(rows)
    print(text)
    page.put(HEADING, text)


if __name__ == "__main__":
    main()
