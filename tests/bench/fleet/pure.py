"""Parsing, planning and reading ledgers for many hosts, from what is known of them already: pure functions, no host."""

from __future__ import annotations

import importlib
import json
import statistics
import sys
import time
import tracemalloc
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
sys.path[:0] = [str(ROOT / "collections"), str(ROOT / "tests" / "unit")]

utils = "ansible_collections.llmops.nim.plugins.module_utils."
_ledger, _profiles = (importlib.import_module(utils + name) for name in ("_ledger", "_profiles"))
release_filter = importlib.import_module("ansible_collections.llmops.nim.plugins.filter.release")
planned_host = importlib.import_module("planned_host")

HOSTS = 1000
RECORDS = 100  # of a ledger: what a model has after two years of weekly releases
LISTING = next((ROOT / "tests/unit/fixtures/profiles").glob("*1.8*.txt")).read_text()
LEDGER = b"".join(
    json.dumps({"at": "2026-01-01T00:00:00Z", "event": "activated", "release": {"id": f"{number:08x}"}}).encode()
    + b"\n"
    for number in range(RECORDS)
)


def plan(hosts):
    """Hosts that are to get other weights than they serve: what takes longest to plan."""
    models = [planned_host.model()]
    serves = planned_host.wanted(commit=planned_host.OLD_COMMIT)
    seen = planned_host.observed(models, [planned_host.on_host(serves)], proven=serves["id"])
    key = "acme/capitals@main"
    weights = {
        "commits": {key: planned_host.COMMIT},
        "checkpoints": {key: planned_host.CHECKPOINT},
        "selection": "",
    }
    images = {models[0]["image"]: planned_host.IMAGE}
    rollout = dict(planned_host.rollout(), gateway_keys=False, verify_address="192.0.2.1")
    plans = [release_filter.plan(seen, images, weights, "/weights", rollout, models) for _host in range(hosts)]
    assert all(item["action"] == "replace" for (item,) in plans), plans[0]
    return release_filter.plan_table(plans, [f"gpu{number}" for number in range(hosts)])


def parse(hosts):
    return [_profiles.parse_listing(LISTING) for _host in range(hosts)]


def read(hosts):
    return [_ledger.state(_ledger.parse(LEDGER)) for _host in range(hosts)]


JOBS = {
    f"plans of {HOSTS // 2} hosts, with their table": lambda: plan(HOSTS // 2),
    f"plans of {HOSTS} hosts, with their table": lambda: plan(HOSTS),
    f"{HOSTS} listings of profiles": lambda: parse(HOSTS),
    f"{HOSTS} ledgers of {RECORDS} records": lambda: read(HOSTS),
}


def measure(runs):
    """dict of job to (median seconds, MiB at most), the memory measured apart since that takes time."""
    found = {}
    for name, job in JOBS.items():
        taken = []
        for _run in range(runs):
            begin = time.perf_counter()
            job()
            taken.append(time.perf_counter() - begin)
        tracemalloc.start()
        job()
        found[name] = (statistics.median(taken), tracemalloc.get_traced_memory()[1] / 2**20)
        tracemalloc.stop()
        print(f"{name}: {found[name][0]:.2f} s, {found[name][1]:.0f} MiB", flush=True)
    return found
