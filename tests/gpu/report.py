# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""What the test sees of the machine, and how it tells it: as Markdown on stdout."""

from __future__ import annotations

import os
import platform
import re
import subprocess
import time
from datetime import datetime, timezone
from importlib import metadata

STARTED = time.monotonic()


def say(text=""):
    print(text, flush=True)


def title(text):
    say(f"\n## {text} ({time.monotonic() - STARTED:.0f} s)\n")


def block(text):
    say(f"```\n{text.rstrip()}\n```")


class Failed(Exception):
    """What was seen is not what was expected."""


def expect(truth, what):
    say(f"- {'ok' if truth else 'NOT SO'}: {what}")
    if not truth:
        raise Failed(what)


def smi(query, *options):
    """Lines (list of list of str) of nvidia-smi for a query."""
    command = ["nvidia-smi", *options, f"--query-{query}", "--format=csv,noheader,nounits"]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return [[cell.strip() for cell in line.split(",")] for line in output.splitlines()]


def used():
    """MiB in use on each GPU (list of int), as nvidia-smi reports it."""
    return [int(line[0]) for line in smi("gpu=memory.used")]


def containers():
    """Names of the model's containers that run (set of str)."""
    command = ["docker", "ps", "--filter", "label=llmops.nim.model", "--format", "{{.Names}}"]
    return set(subprocess.run(command, check=True, capture_output=True, text=True).stdout.split())


def identities():
    """Ids of all containers of the model (set of str)."""
    command = ["docker", "ps", "--all", "--quiet", "--no-trunc", "--filter", "label=llmops.nim.model"]
    return set(subprocess.run(command, check=True, capture_output=True, text=True).stdout.split())


def changed(output):
    """How many tasks have changed something."""
    return sum(int(number) for number in re.findall(r"changed=(\d+)", output))


def shown(output, begins):
    """The part (str) of what a playbook printed from the line that begins so, as far as it is indented alike."""
    lines = output.splitlines()
    first = next((number for number, line in enumerate(lines) if re.match(begins, line.strip())), None)
    if first is None:
        return "(nothing like that was printed)"
    margin = len(lines[first]) - len(lines[first].lstrip())
    found = [lines[first][margin:]]
    for line in lines[first + 1 :]:
        if not line.strip() or len(line) - len(line.lstrip()) < margin:
            break
        found.append(line[margin:])
    return "\n".join(found)


def without_warnings(plan):
    """The plan (str) of a model without what was shown before."""
    return plan.partition("\n  warning:")[0]


def machine():
    """What this was seen on."""
    from torch import version as torch_version

    title("The machine")
    for index, (name, driver, total, uuid, bus) in enumerate(
        smi("gpu=name,driver_version,memory.total,uuid,pci.bus_id")
    ):
        say(f"- GPU {index}: {name}, {total} MiB, driver {driver}, {bus}, {uuid}")
    engine = subprocess.run(["docker", "version", "--format", "{{.Server.Version}}"], capture_output=True, text=True)
    ansible = subprocess.run(["ansible", "--version"], capture_output=True, text=True, check=True).stdout
    system = platform.freedesktop_os_release()["PRETTY_NAME"]
    say(f"- {datetime.now(timezone.utc):%Y-%m-%d}, {system}, {os.cpu_count()} cores")
    say(
        f"- Docker {engine.stdout.strip()}, Python {platform.python_version()}, torch {metadata.version('torch')} "
        f"(CUDA {torch_version.cuda}), transformers {metadata.version('transformers')}, "
        f"ansible-core {re.search(r'core ([0-9.]+)', ansible)[1]}"
    )


def last_words():
    """What the containers have logged last."""
    for identity in identities():
        done = subprocess.run(["docker", "logs", "--tail", "20", identity], capture_output=True, text=True, check=False)
        block(done.stdout + done.stderr)
