"""Times the main job on the lab beside a peer, in one run: printed, never asserted.

    make bench

The peer of a deployment that changes nothing is `ssh true` on the same hosts, all at once: what it costs to reach them.
"""

from __future__ import annotations

import importlib
import os
import platform
import statistics
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
RUNS = 5
sys.path[:0] = [str(ROOT / "collections"), str(ROOT / "molecule" / "shared")]

lab = importlib.import_module("lab")
profiles = importlib.import_module("ansible_collections.llmops.nim.plugins.module_utils._profiles")


def deploy():
    done = lab.playbook("deploy")
    assert done.returncode == 0, done.stdout
    assert all(counts["changed"] == 0 for counts in lab.recap(done.stdout).values()), done.stdout


def reach():
    ssh = ["ssh", "-F", str(lab.SSH_CONFIG), "-o", "ControlPath=none"]
    running = [subprocess.Popen([*ssh, host, "true"]) for host in ("gpu1", "gpu2")]
    assert all(one.wait() == 0 for one in running)


def demo():
    subprocess.run(["make", "demo"], cwd=ROOT, check=True, capture_output=True)


def parse():
    listing = next((ROOT / "tests/unit/fixtures/profiles").glob("*1.8*.txt")).read_text()
    for _again in range(1000):
        profiles.parse_listing(listing)


def seconds(job):
    begin = time.perf_counter()
    job()
    return time.perf_counter() - begin


def main():
    print(f"{platform.platform()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
    print(f"median of {RUNS} runs (min to max)")
    jobs = {
        "make demo, again": demo,
        "deploy that changes nothing": deploy,
        "ssh true on both": reach,
        "1,000 listings": parse,
    }
    for job in jobs.values():
        job()
    times = {name: [] for name in jobs}
    for _run in range(RUNS):
        for name, job in jobs.items():
            times[name].append(seconds(job))
    for name, taken in times.items():
        print(f"{name:<28} {statistics.median(taken):7.2f} s  ({min(taken):.2f} to {max(taken):.2f})")
    ratios = [ours / peer for ours, peer in zip(times["deploy that changes nothing"], times["ssh true on both"])]
    print(f"{'deploy / ssh true':<28} {statistics.median(ratios):7.1f}")


if __name__ == "__main__":
    main()
