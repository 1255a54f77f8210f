"""Moves the lab's fleet under load, beside an idiomatic role: printed and put into docs/benchmarks.md, never asserted.

python tests/bench/rollout.py [--minutes 3]
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "molecule" / "shared"), str(ROOT / "tests" / "bench")]

fleet, lab, load, page, watch = map(importlib.import_module, ("fleet", "lab", "load", "page", "watch"))

HEADING = "## Rollouts"
INTRODUCTION = """\
`tests/bench/rollout.py`, in one run on {machine}, load {load:.1f} before it. Ours and the peer move the lab's three
servers behind the same gateway from one release to the other and back, while {workers} `openai` clients stream
answers of 0.2 to 20 s through it. The peer, `tests/bench/idiomatic.yml`, is docker_container recreated host after
host with a wait for the health check; it finds its weights and engines on the servers. Ours proves each release by
an answer before it gets requests, drains, and looks on for a second afterwards. What lasts beyond the start lasts
beyond the NIM's own start. Of a rollback, a host is what each further host adds.

| | | |
|---|---|---|
"""

# Milliseconds before each of 10 tokens: most answers take 0.2 s, one in 20 takes 20 s.
MIX = (20,) * 17 + (100, 500, 2000)
WORKERS = 72
REQUESTS = 10_000
ROWS = []  # of the table, as they are measured
SAMPLES = 300
WEIGHTS = "/var/lib/nim/weights/lab--Llama-3.2-1B-capitals"
BYTES = r"""
docker images --no-trunc --quiet | sort
find /var/lib/nim/weights /var/lib/nim/capitals/cache -type f -printf '%p %s %T@\n' | sort
"""


def check(done):
    if done.returncode:
        raise SystemExit(done.stdout)
    return done


def ready_seconds(host):
    """How long the container of a server's last release took from its start until it was ready."""
    return json.loads(lab.run(host, "tail -n 1 /var/lib/nim/capitals/ledger.jsonl"))["timings"]["ready"]


def under_load(moves, enough):
    """Makes the moves (functions) in turn until enough(load, begin) says so: (streams, seconds of each move)."""
    taken = []
    with load.Load(fleet.GATEWAY, workers=WORKERS, mix=MIX) as running:
        begin = time.monotonic()
        while not taken or len(taken) % len(moves) or not enough(running, begin):
            since = time.monotonic()
            moves[len(taken) % len(moves)]()
            taken.append(time.monotonic() - since)
            running.next()
    return running.streams, taken


def idiomatic(commit, image):
    """The peer's move to a commit of the weights."""
    check(
        lab.playbook(
            "../tests/bench/idiomatic",
            inventories=fleet.INVENTORIES,
            idiomatic_weights=f"{WEIGHTS}/{commit}",
            idiomatic_image=image,
        )
    )


def admit(slot, host):
    """Has the gateway send a server's requests to a slot."""
    wish = f"state=admitted model=capitals host={host} slot={slot}"
    command = ["ansible", "gateway", "-b", "-m", "llmops.nim.nim_gateway", "-a", wish]
    for inventory in fleet.INVENTORIES:
        command += ["-i", inventory]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)


def measure_peer(commits, image):
    """The peer's moves between the commits, in the place of ours: (streams, seconds of each move)."""
    for host in fleet.HOSTS:
        lab.run(host, "docker stop $(docker ps --quiet --filter label=llmops.nim.model=capitals)")
    try:
        for commit in (*commits, commits[0]):  # builds both engines
            idiomatic(commit, image)
        for host in fleet.HOSTS:
            admit("a", host)
        moves = [lambda commit=commit: idiomatic(commit, image) for commit in (commits[1], commits[0])]
        return under_load(moves, lambda _load, _begin: True)
    finally:
        for host in fleet.HOSTS:
            lab.run(host, "docker rm --force nim-idiomatic 2>/dev/null || :")
        check(fleet.deploy("v1"))


def latency(base_url):
    """Seconds of SAMPLES short answers, one after the other, sorted."""
    with load.Load(base_url, workers=1, mix=(0,)) as running:
        running.next(SAMPLES)
    return sorted(one.seconds for one in running.streams)


def percentile(sorted_seconds, share):
    return sorted_seconds[min(int(len(sorted_seconds) * share), len(sorted_seconds) - 1)]


def measure_swap():
    """gpu2 alone, in place, without load: the gaps (s) and how long its NIM took to start."""
    with watch.Watch("gpu2", "10.83.0.12") as seen:
        check(fleet.playbook("rollback", limit="gpu2"))
    return seen.gap, seen.gateway_gap, ready_seconds("gpu2")


def measure_rollback():
    """Seconds that each further host adds to a rollback, those of its start, seconds of the whole run of all hosts, and
    how many hosts hold other bytes than before."""

    def back(limit=None):
        begin = time.monotonic()
        check(fleet.playbook("rollback", limit=limit, nim_soak_seconds=0))
        return time.monotonic() - begin

    before = {host: lab.run(host, BYTES) for host in fleet.HOSTS}
    one = statistics.mean([back("gpu1"), back("gpu1")])
    whole = back()
    start = statistics.mean(map(ready_seconds, fleet.HOSTS))
    altered = sum(lab.run(host, BYTES) != before[host] for host in fleet.HOSTS)
    return (whole - one) / (len(fleet.HOSTS) - 1), start, whole, altered


def row(name, value, note=""):
    print(f"{name:<44} {value:>12}  {note}".rstrip(), flush=True)
    ROWS.append(f"| {name} | {value} | {note} |\n")


def spread(seconds):
    return f"{statistics.median(seconds):.1f} s ({min(seconds):.1f} to {max(seconds):.1f})"


def beyond(name, seconds, start):
    row(f"{name}: beyond the start", f"{seconds - start:.1f} s", f"{seconds:.1f} s, of these {start:.1f} s start")


def lost(streams):
    return sum(1 for one in streams if one.fault)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=3, help="how long to move under load at least")
    minutes = parser.parse_args().minutes
    introduction = INTRODUCTION.format(machine=page.machine(), load=os.getloadavg()[0], workers=WORKERS)
    print(introduction)
    # Another model that still serves would leave the peer, which wants a whole GPU, without memory.
    check(lab.playbook("../molecule/shared/bare", inventories=fleet.INVENTORIES))
    check(fleet.deploy("v2"))
    check(fleet.deploy("v1"))

    def enough(running, begin):
        return time.monotonic() - begin > 60 * minutes and len(running.streams) >= REQUESTS

    moves = [lambda: check(fleet.deploy("v2")), lambda: check(fleet.deploy("v1"))]
    ours, our_seconds = under_load(moves, enough)
    row("requests lost, ours", lost(ours), f"of {len(ours)}, in {len(our_seconds)} rollouts of three servers")
    seen = fleet.look("gpu1")
    image = lab.run("gpu1", "docker inspect --format '{{.Config.Image}}' nim-capitals-" + seen.current).strip()
    peers, peer_seconds = measure_peer((seen.commit, seen.previous_commit), image)
    row("requests lost, idiomatic role", lost(peers), f"of {len(peers)}, in {len(peer_seconds)} rollouts")
    ratio = statistics.median(our_seconds) / statistics.median(peer_seconds)
    row("time of a rollout, ours / idiomatic", f"{ratio:.1f}", spread(our_seconds) + " / " + spread(peer_seconds))

    direct_gap, gateway_gap, start = measure_swap()
    beyond("in place, no answer", direct_gap, start)
    beyond("in place, out at the gateway", gateway_gap, start)
    check(fleet.playbook("rollback", limit="gpu2"))
    back, back_start, whole, altered = measure_rollback()
    beyond("rollback, a host", back, back_start)
    row("rollback, the whole run", f"{whole:.1f} s", f"{len(fleet.HOSTS)} hosts, plan and verification included")
    row("rollback, hosts with other bytes", altered, f"of {len(fleet.HOSTS)}")

    port = lab.run("gpu1", "docker port nim-capitals-" + fleet.look("gpu1").current).split(":")[-1].strip()
    times = {"direct": latency(f"http://10.83.0.11:{port}/v1"), "gateway": latency(fleet.GATEWAY)}
    for share in (0.5, 0.99):
        ways = {way: percentile(found, share) for way, found in times.items()}
        more = ways["gateway"] - ways["direct"]
        row(
            f"gateway / direct, p{share * 100:.0f}", f"{ways['gateway'] / ways['direct']:.2f}", f"{more * 1000:+.1f} ms"
        )
    page.put(HEADING, introduction + "".join(ROWS))


if __name__ == "__main__":
    main()
