"""Fifty names: a run that changes nothing beside its peers, a first deployment, pure functions for many hosts, and one
setting; printed and put into docs/benchmarks.md, never asserted.

    python tests/bench/fleet/run.py [--runs 5] [--slow-runs 5] [--parts nothing first many rolling]
    python tests/bench/fleet/run.py --kept

What was measured last of each part is kept in .bench/: --kept writes the sections of it again. The interpreter that
draws the plot and runs pyinfra is .bench/venv (requirements.txt beside this file).
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Callable, NamedTuple

ROOT = Path(__file__).resolve().parents[3]
HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(ROOT / "molecule" / "shared"), str(HERE.parent), str(HERE)]

page, names, nothing, rolling, first, lines, control, pure = map(
    importlib.import_module, ("page", "names", "nothing", "rolling", "first", "lines", "control", "pure")
)

IMAGE = ROOT / "docs" / "images" / "fifty_names.svg"
KEPT = names.FOLDER / "fifty_names.json"
SOURCE = "`tests/bench/fleet/run.py --parts {part}`, in one run on {machine}, load {load:.1f} before it"
NAMES = """\
; every way in turn, medians (least to most, number of runs). Fifty inventory names stand for the lab's three servers,
each with an ssh connection of its own that every run makes anew. Control node and servers share the machine's
processor, so what a host computes is paid here as well; with servers of their own, only what the control node does
adds up.

Ours is `deploy.yml`, which looks at image, container, settings, weights, health, port and ledger, and asks each
endpoint a question. ssh is `ssh host true` on all at once, one task Ansible with `command: true` on all. The idiomatic
role (`tests/bench/idiomatic_whole.yml`) has facts, package, git, git-lfs, docker_login, docker_image, docker_container
and uri, all hosts at once; pyinfra does the same job (`pyinfra_deploy.py`).

"""
# What the goals leave open, in the words of who reads the table.
FLOOR = (
    "not reached: one task of Ansible that does nothing takes {floor:.1f} times ssh's time, ours {ours:.1f} times that"
)


def seconds(taken):
    return f"{statistics.median(taken):.1f} s ({min(taken):.1f} to {max(taken):.1f}, {len(taken)})"


def slope(by_size):
    """Seconds that each further host adds, from the smallest fleet to the largest."""
    small, large = min(by_size), max(by_size)
    return (statistics.median(by_size[large]) - statistics.median(by_size[small])) / (large - small)


def table(headings, rows):
    return "".join(f"| {' | '.join(map(str, line))} |\n" for line in [headings, ["---"] * len(headings), *rows])


def sized(measured):
    """With sizes as numbers, which JSON has as text: dict of way to dict of size to list."""
    return {way: {int(size): found for size, found in by_size.items()} for way, by_size in measured.items()}


def of_nothing(measured):
    """The ratios, then the times, and what of them is processor time of the control node."""
    taken, computed = sized(measured["seconds"]), sized(measured["processor"])
    sizes = list(taken[nothing.OURS])
    most = sizes[-1]
    at_most = {way: statistics.median(by_size[most]) for way, by_size in taken.items()}
    slopes = {way: slope(by_size) for way, by_size in taken.items()}
    ours, ssh, floor = nothing.OURS, nothing.SSH, nothing.ONE_TASK
    beyond = (at_most[nothing.IDIOMATIC] - at_most[floor]) / (at_most[ours] - at_most[floor])
    why = FLOOR.format(floor=at_most[floor] / at_most[ssh], ours=at_most[ours] / at_most[floor])
    goals = [
        (f"{most} names, ours / ssh", at_most[ours] / at_most[ssh], "2 or less", lambda ratio: ratio <= 2, why),
        (
            f"{most} names, idiomatic role / ours",
            at_most[nothing.IDIOMATIC] / at_most[ours],
            "5 or more",
            lambda ratio: ratio >= 5,
            f"not reached: both have to reach each host first; beyond one task's time it is {beyond:.1f}",
        ),
        ("a host more, ours / ssh", slopes[ours] / slopes[ssh], "1.5 or less", lambda ratio: ratio <= 1.5, why),
    ]
    rows = [
        [name, f"{ratio:.1f}", goal, "reached" if reached(ratio) else short]
        for name, ratio, goal, reached, short in goals
    ]
    rows.append([f"{most} names, pyinfra / ours", f"{at_most[nothing.PYINFRA] / at_most[ours]:.1f}", "", ""])
    rows.append([f"{most} names, ours / one task", f"{at_most[ours] / at_most[floor]:.1f}", "", ""])
    rows.append(["a host more, ours / one task", f"{slopes[ours] / slopes[floor]:.1f}", "", ""])
    times = [
        [
            way,
            *(seconds(by_size[size]) for size in sizes),
            f"{slopes[way]:.2f} s",
            f"{statistics.median(computed[way][most]):.1f} s",
        ]
        for way, by_size in taken.items()
    ]
    headings = [f"{size} name{'s' * (size > 1)}" for size in sizes]
    return (
        NAMES
        + table(["nothing to change", "ratio", "goal", ""], rows)
        + "\n"
        + table(["", *headings, "a host more", f"{most} names, control node's processor"], times)
        + f"\n![Seconds against hosts](images/{IMAGE.name})\n"
    )


def of_rolling(taken):
    ours, peer = taken[nothing.OURS], taken[nothing.IDIOMATIC]
    ratio = statistics.median(ours) / statistics.median(peer)
    return (
        f". One setting, no new weights, on {rolling.HOSTS} names, in the same steps (one, a quarter, the rest), each "
        "with a model of its own. Ours proves each release by an answer, keeps the one before, and writes its ledger:"
        "\n\n"
        + table(
            ["", "", ""],
            [["time of a rollout, ours / idiomatic role", f"{ratio:.1f}", f"{seconds(ours)} / {seconds(peer)}"]],
        )
    )


def of_first(taken):
    both, image, weights = first.transfers(taken)
    longer, goal = both / max(image, weights), 1.05
    reached = "reached" if longer <= goal else "not reached: both transfers compute on the same cores"
    rows = [
        ["both transfers / the longer one", f"{longer:.2f}", f"goal {goal} or less: {reached}"],
        ["both transfers / their sum", f"{both / (image + weights):.2f}", ""],
        ["both, the image alone, the weights alone", f"{both:.1f} s", f"{image:.1f} s, {weights:.1f} s"],
        ["staging that transfers nothing", seconds(taken["none"]), ""],
    ]
    return (
        ". The staging of one server (`first.py` says how it is taken apart), registry and hub each on a line of "
        f"{lines.RATE} Mbit/s, weights of {lines.WEIGHTS} MiB, and an image that is as large:\n\n"
    ) + table(["", "", ""], rows)


def of_many(measured):
    rows = [[name, f"{spent:.2f} s", f"{memory:.0f} MiB"] for name, (spent, memory) in measured["pure"].items()]
    mebibytes, took = measured["control"]
    rows.append([f"`plan.yml` on {control.HOSTS} hosts that answer at once", f"{took:.0f} s", f"{mebibytes:.0f} MiB"])
    return (
        ". From what is known of the hosts; the goal for 500 plans is 2 s. The last is a whole run, with the memory of "
        "its largest process:\n\n" + table(["", "time", "memory"], rows)
    )


def measure_nothing(options):
    try:
        nothing.prepare(options.sizes[-1])
        return nothing.measure(options.sizes, options.runs, options.slow_runs)
    finally:
        nothing.remove()


def measure_many(options):
    nothing.ansible_playbook("playbooks/deploy.yml", 1)  # what it says is what all hosts say
    return {"pure": pure.measure(options.runs), "control": control.measure()}


class Part(NamedTuple):
    """A section of the page: what is measured, as JSON has it, and its text (str) of that, behind SOURCE."""

    heading: str
    measure: Callable
    text: Callable


PARTS = {
    "nothing": Part("## Fifty names", measure_nothing, of_nothing),
    "first": Part("## A first deployment", lambda options: first.measure(options.runs), of_first),
    "many": Part("## Many hosts", measure_many, of_many),
    "rolling": Part("## One setting", lambda options: rolling.measure(options.runs), of_rolling),
}


def kept():
    """What was measured last of each part (dict)."""
    return json.loads(KEPT.read_text()) if KEPT.exists() else {}


def measure(options):
    """Measure the parts that are wanted, and keep each as soon as it is there."""
    names.prepare()
    try:
        for part in options.parts:
            load = os.getloadavg()[0]
            found = PARTS[part].measure(options)
            KEPT.write_text(json.dumps({**kept(), part: {"machine": page.machine(), "load": load, "found": found}}))
    finally:
        names.disconnect()
        names.restore()


def publish(part, measured, on_page):
    """Print the section of a part, and put it into the page where that is wished."""
    text = SOURCE.format(part=part, **measured) + PARTS[part].text(measured["found"])
    print(f"{PARTS[part].heading}\n\n{text}")
    if on_page:
        page.put(PARTS[part].heading, text)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS), help="what is measured")
    parser.add_argument("--runs", type=int, default=5, help="how often each is measured")
    parser.add_argument("--slow-runs", type=int, default=5, help="how often the slow peers are, on all names")
    parser.add_argument("--sizes", type=int, nargs="+", default=[1, 10, 50], help="names, the most last")
    parser.add_argument("--print", action="store_true", help="print the sections, and leave the page as it is")
    parser.add_argument("--kept", action="store_true", help="measure nothing: the sections of what was measured last")
    options = parser.parse_args()
    if not options.kept:
        measure(options)
    for part in options.parts:
        if part in kept():
            publish(part, kept()[part], not options.print)
    if "nothing" in kept() and not options.print:
        subprocess.run([names.FOLDER / "venv" / "bin" / "python", HERE / "plot.py", KEPT, IMAGE], check=True)


if __name__ == "__main__":
    main()
