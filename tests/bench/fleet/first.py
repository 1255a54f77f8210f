"""The staging of a first deployment of one server, against its two transfers.

How staging does it is not asked: it is run where nothing is there, where the weights are, where the image is, and where
both are. What the first takes beyond the last is the transfers as staging does them; what each of the others takes
beyond it is one transfer alone. Registry and hub are each behind a line of their own (lines.py), as they are anywhere
but on one machine.
"""

from __future__ import annotations

import importlib
import statistics
import time

lab, lines, names, nothing = map(importlib.import_module, ("lab", "lines", "names", "nothing"))

SERVER = next(iter(names.SERVERS))
CLEAR = """
docker ps --all --quiet --filter name=nim-capitals | xargs --no-run-if-empty docker rm --force >/dev/null
rm -rf /var/lib/nim/capitals
"""
WITHOUT_IMAGE = "docker image ls --quiet | sort -u | xargs --no-run-if-empty docker image rm --force >/dev/null\n"
WITHOUT_WEIGHTS = "rm -rf /var/lib/nim/weights\n"
STATES = {
    "both": WITHOUT_IMAGE + WITHOUT_WEIGHTS,
    "image": WITHOUT_IMAGE,
    "weights": WITHOUT_WEIGHTS,
    "none": "",
}


def own(_index):
    """The variables (dict) of the server: weights that take as long as the image."""
    weights = {"repo": lines.REPOSITORY, "revision": "main"}
    return {"nim_models": [lab.model(gpus={"count": 1}, memory_share=0.45, weights=weights)]}


def stage():
    nothing.played("playbooks/stage.yml", names.inventory(1, own, "first"))


def measure(runs):
    """Seconds of staging that has to transfer both, the image, the weights or none: dict to list."""
    lines.publish()
    lab.run(SERVER, CLEAR)
    stage()  # installs packages
    taken = {state: [] for state in STATES}
    with lines.narrow():
        for _run in range(runs):
            for state, script in STATES.items():
                lab.run(SERVER, CLEAR + script)
                begin = time.perf_counter()
                stage()
                taken[state].append(time.perf_counter() - begin)
                print(f"staging that transfers {state:<8} {taken[state][-1]:6.1f} s", flush=True)
    lab.run(SERVER, CLEAR)
    return taken


def transfers(taken):
    """Seconds of both transfers as staging does them, of the image alone, and of the weights alone."""
    median = {state: statistics.median(seconds) for state, seconds in taken.items()}
    return [median[state] - median["none"] for state in ("both", "image", "weights")]
