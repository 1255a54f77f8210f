"""The section of docs/benchmarks.md about the way of the weights, from all that was measured."""

from __future__ import annotations

import json
import statistics
import sys
from pathlib import Path

import candidates

sys.path.append(str(Path(__file__).resolve().parents[1]))

import page

HEADING = "## Weights to a site"
NAMES = {name: kind.name for name, kind in {**candidates.PEERS, **candidates.RIVALS}.items()}
INTRODUCTION = """\
`tests/bench/weights/run.py`: 16 hosts as network namespaces, each with a disk in memory; a hub whose line is 20 Mbit/s
(`tc`, headers included), and 200 Mbit/s from host to host. All of them on one machine, {machine},
which has other things to do as well; its load is the one before each run. T(n) is the time until n hosts have read all
files again and found their sha256 right. WAN bytes are what the hub has put on the line, repetitions included, without
headers; of the line TCP leaves 0.956. Once more, with all of it on the first host or in the cache when the others
begin: a host that asks the hub by itself has nobody else to ask. For the kill, all processes of one host (of two, where
hosts share) get SIGKILL when half of the bytes are over the WAN, and begin again.
"""
COLUMNS = (
    "",
    "WAN bytes ÷ size",
    "the same where one has all",
    "T(16) ÷ T(1)",
    "one host: share of the line",
    "sent again after a kill",
    "peak disk ÷ size",
    "T(16)",
)
HEAD = (
    "\n{mebibytes} MiB in {objects} files, medians (least to most, number of runs), load {load}:\n\n"
    + f"| {' | '.join(COLUMNS)} |\n".replace("|  |", "| |")
    + f"{'|---' * len(COLUMNS)}|\n"
)


def section(measured):
    """The text of the section (str), of measured (list of dict)."""
    text = INTRODUCTION.format(machine=page.machine())
    for mebibytes, objects in sorted({(one["mebibytes"], one["objects"]) for one in measured}):
        these = [one for one in measured if (one["mebibytes"], one["objects"]) == (mebibytes, objects)]
        rows = {name: row(these, name, mebibytes * 2**20) for name in NAMES}
        if not any(rows.values()):  # of a run that goes on, or was ended
            continue
        text += HEAD.format(mebibytes=mebibytes, objects=objects, load=load(these))
        text += "".join(filter(None, rows.values()))
        text += unmeasured([name for name, line in rows.items() if not line], mebibytes)
    return text


def unmeasured(names, mebibytes):
    """What is to be said of candidates (list of str) that have no row (str)."""
    if not names:
        return ""
    text = f"\nNot measured at this size: {', '.join(NAMES[name] for name in names)}."
    if candidates.PEERS.keys() & set(names):
        minutes = 16 * mebibytes * 2**20 * 8 / 20e6 / 60
        text += f" What every host asks the hub for takes {minutes:.0f} minutes a run on that line, by arithmetic."
    return f"{text}\n"


def load(measured):
    """The load before the runs (str)."""
    seen = [one["load"] for one in measured if "load" in one]
    return f"{statistics.median(seen):.1f} ({min(seen):.1f} to {max(seen):.1f})"


def row(measured, name, size):
    """A line of the table (str), or None where it was not measured whole."""
    own = [one for one in measured if one["candidate"] == name]
    held = [one["wan"] / size for one in own if one.get("held")]
    alone = [one for one in own if one.get("count") == 1]
    many = [one for one in own if one.get("count", 1) > 1 and not one.get("held")]
    if not alone or not many:
        return None
    seconds = [one["seconds"] for one in many]
    one_host = statistics.median(one["seconds"] for one in alone)
    line_seconds = size * 8 / 20e6
    again = [one["wan"] / size - 1 for one in own if one.get("interrupted")]
    cells = (
        NAMES[name],
        f"{statistics.median(one['wan'] for one in many) / size:.3f}",
        f"{statistics.median(held):.3f}" if held else "",
        f"{statistics.median(seconds) / one_host:.2f}",
        f"{line_seconds / one_host:.2f}",
        f"{100 * statistics.median(again):.1f} %" if again else "",
        f"{max(one['peak'] for one in own if 'peak' in one) / size:.2f}",
        f"{statistics.median(seconds):.0f} s ({min(seconds):.0f} to {max(seconds):.0f}, {len(many)})",
    )
    return "| " + " | ".join(cells) + " |\n"


def write(root):
    """Put the section into the page, in the place of the one before."""
    measured = [json.loads(line) for kept in sorted((root / ".bench").glob("*.jsonl")) for line in kept.open()]
    page.put(HEADING, section(measured))
