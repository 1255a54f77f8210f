"""Times the way of the weights to all hosts of a site beside other ways, on hosts in network namespaces.

    make bench_weights            all candidates, at 64 MiB; an hour and a half
    python tests/bench/weights/run.py --only fleet nginx --steps kill held --runs 1 --name b
    python tests/bench/weights/run.py --only git_lfs --mebibytes 512 --objects 16 --name c --folder /var/tmp/sites

Several go on at once, each by a --name of its own, where all that they wait for is their line. Needs root. What is
measured is kept in .bench/, and the tables of docs/benchmarks.md are made from all that is there.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(Path(__file__).resolve().parent))

candidates, network, table = map(importlib.import_module, ("candidates", "network", "table"))

WAN, LAN, COUNT = 20, 200, 16
ALL = {**candidates.PEERS, **candidates.RIVALS}
STEPS = ("kill", "held", "alone", "all")


def serve(site, mebibytes, objects):
    """The hub of a site, serving."""
    process = site.hub.start(
        sys.executable, Path(__file__).with_name("hub.py"), site.hub.disk / "hub", mebibytes, objects
    )
    assert process.stdout.readline() == "ready\n", process.stdout.read()
    # A server that is never read would stop in the middle of its log.
    subprocess.Popen(["cat"], stdin=process.stdout, stdout=subprocess.DEVNULL)


def timed(site, kind, count, keep=()):
    """One run on the first hosts, from empty disks but for those of the hosts to keep: what it took (dict)."""
    site.clear(keep)
    candidate = kind(site, site.hub.disk / "hub" / "SHA256SUMS")
    wan, load = site.wan_bytes(), os.getloadavg()[0]
    site.watch()
    begin = time.monotonic()
    candidate.start(site.hosts[:count])
    candidate.wait()
    seconds = time.monotonic() - begin
    site.unwatch()
    candidate.finish()
    return {"count": count, "seconds": seconds, "wan": site.wan_bytes() - wan, "peak": site.peak, "load": load}


def held(site, kind):
    """One run on all hosts where the first one has everything, and so has the cache: what it took (dict)."""
    timed(site, kind, 1)
    return {"held": True, **timed(site, kind, COUNT, (site.cache, site.hosts[0]))}


def interrupted(site, kind, size):
    """One run in which everything on the hosts is killed once half of the bytes are over the WAN, and begins again."""
    site.clear()
    hosts = site.hosts[: 1 if kind.own else 2]
    wan = site.wan_bytes()
    first = kind(site, site.hub.disk / "hub" / "SHA256SUMS")
    first.start(hosts)
    while site.wan_bytes() - wan < size / 2:
        time.sleep(0.05)
    for host in (site.cache, *hosts):
        host.kill()
    again = kind(site, site.hub.disk / "hub" / "SHA256SUMS")
    again.start(hosts)
    again.wait()
    return {"interrupted": True, "wan": site.wan_bytes() - wan}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", choices=ALL, default=list(ALL), help="candidates")
    parser.add_argument("--steps", nargs="+", choices=STEPS, default=list(STEPS), help="what is measured of each")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--mebibytes", type=int, default=64)
    parser.add_argument("--objects", type=int, default=8)
    parser.add_argument("--name", default="a", help="of the site, where several runs are to go on at once")
    parser.add_argument("--folder", type=Path, help="where the disks are kept as images; without it, in memory")
    asked = parser.parse_args()
    for ending in (signal.SIGINT, signal.SIGTERM):  # also in the background, where a shell has Ctrl-C ignored
        signal.signal(ending, lambda *_: sys.exit(1))
    os.setpriority(os.PRIO_PROCESS, 0, -15)  # what else the machine has to do is no part of the time
    kept = ROOT / ".bench" / f"weights-{asked.name}-{asked.mebibytes}.jsonl"
    kept.parent.mkdir(exist_ok=True)
    size = asked.mebibytes * 2**20
    with network.Site(asked.name, COUNT, WAN, LAN, asked.folder) as site, kept.open("a") as record:
        serve(site, asked.mebibytes, asked.objects)

        def keep(name, seen):
            line = json.dumps({"candidate": name, "mebibytes": asked.mebibytes, "objects": asked.objects, **seen})
            print(line, flush=True)
            print(line, file=record, flush=True)

        for _run in range(asked.runs):
            for name in asked.only:
                kind = ALL[name]
                if "kill" in asked.steps:
                    keep(name, interrupted(site, kind, size))
                if "held" in asked.steps and not kind.own:
                    keep(name, held(site, kind))
                if "alone" in asked.steps:
                    keep(name, timed(site, kind, 1))
                if "all" in asked.steps:
                    keep(name, timed(site, kind, COUNT))
    table.write(ROOT)


if __name__ == "__main__":
    try:
        main()
    except SystemExit as ended:
        sys.stdout.flush()
        os._exit(ended.code)  # threads that wait for hosts which are gone would go on for ever
