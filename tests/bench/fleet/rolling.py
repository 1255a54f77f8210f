"""One setting rolled over the lab's three servers, without new weights, and back: ours beside the idiomatic role.

Not over ten names: those of one server would share its container, its lock and its ledger, and so wait for each other
as servers of their own never do.
"""

from __future__ import annotations

import importlib
import time
from pathlib import Path

lab, names, nothing = map(importlib.import_module, ("lab", "names", "nothing"))

HERE = Path(__file__).resolve().parent
# Told by the log alone.
SETTINGS = ({"NIM_LOG_LEVEL": "DEBUG"}, {})


def ours(setting):
    models = [lab.model(gpus={"count": 1}, memory_share=0.45, env=setting)]
    nothing.ansible_playbook("playbooks/deploy.yml", len(names.SERVERS), nim_models=models, nim_soak_seconds=0)


def idiomatic(setting):
    """As nothing.py has it, one server after the other, as the one that cares for its users would."""
    nothing.ansible_playbook(
        str(HERE.parent / "idiomatic_whole.yml"), len(names.SERVERS), idiomatic_env=setting, idiomatic_serial=1
    )


def measure(runs):
    """Seconds of each way: dict of way to list."""
    taken = {nothing.OURS: [], nothing.IDIOMATIC: []}
    for _run in range(runs):
        for setting in SETTINGS:
            for way, job in ((nothing.OURS, ours), (nothing.IDIOMATIC, idiomatic)):
                names.disconnect()
                begin = time.perf_counter()
                job(setting)
                taken[way].append(time.perf_counter() - begin)
                print(f"one setting, {way:<16} {taken[way][-1]:7.1f} s", flush=True)
    return taken
