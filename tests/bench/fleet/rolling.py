"""One setting rolled over ten names, without new weights, and back: ours beside the idiomatic role, in the same steps.

Each name has a model of its own: names of one server would share its container. They share its processor, its lock and
its engine cache still.
"""

from __future__ import annotations

import importlib
import time
from pathlib import Path

lab, names, nothing = map(importlib.import_module, ("lab", "names", "nothing"))

HERE = Path(__file__).resolve().parent
HOSTS = 10
# The first, then a quarter, then the rest: the default of nim_serial.
STEPS = [1, "25%", "100%"]
# Told by the log alone.
BEFORE, AFTER = {}, {"NIM_LOG_LEVEL": "DEBUG"}
CLEAR = """
docker ps --all --quiet --filter name=nim-capitals --filter name=nim-idiomatic |
    xargs --no-run-if-empty docker rm --force
rm -rf /var/lib/nim/capitals* /var/lib/idiomatic
"""


def own(setting):
    """From a name's index to its variables (dict), with a setting (dict) of the environment."""

    def variables(index):
        gpu = {"gpus": {"count": 1}, "memory_share": 0.12}
        return {
            "nim_models": [lab.model(name=f"capitals{index}", port=8200 + index, env=setting, **gpu)],
            "nim_soak_seconds": 0,
            "idiomatic_name": f"nim-idiomatic{index}",
            "idiomatic_own_port": 8300 + index,
            "idiomatic_share": "0.1",
            "idiomatic_env": setting,
            "idiomatic_serial": STEPS,
        }

    return variables


def rolled(playbook, setting):
    nothing.played(playbook, names.inventory(HOSTS, own(setting), "rolling"))


WAYS = {nothing.OURS: "playbooks/deploy.yml", nothing.IDIOMATIC: str(HERE.parent / "idiomatic_whole.yml")}


def clear():
    for server in names.SERVERS:
        lab.run(server, CLEAR)


def measure(runs):
    """Seconds of each way: dict of way to list."""
    clear()
    for playbook in WAYS.values():
        rolled(playbook, BEFORE)
    taken = {way: [] for way in WAYS}
    for number in range(runs):
        for way, playbook in WAYS.items():
            names.disconnect()
            begin = time.perf_counter()
            rolled(playbook, BEFORE if number % 2 else AFTER)
            taken[way].append(time.perf_counter() - begin)
            print(f"one setting, {way:<16} {taken[way][-1]:7.1f} s", flush=True)
    clear()
    return taken
