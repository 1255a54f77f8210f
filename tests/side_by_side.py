# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""Runs shell commands at the same time.

python tests/side_by_side.py NAME=COMMAND ...

What the first says is shown at once, what the others say when all have ended, and what has failed once more as
the last. Each one's words are kept in build/NAME.log.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

LOGS = Path("build")


def begin(name, command):
    with open(LOGS / f"{name}.log", "wb") as log:
        return subprocess.Popen(command, shell=True, stdout=log, stderr=subprocess.STDOUT)


def show(name):
    print(f"\n{name}:", flush=True)
    sys.stdout.buffer.write((LOGS / f"{name}.log").read_bytes())
    sys.stdout.flush()


def main(arguments):
    LOGS.mkdir(exist_ok=True)
    processes = {name: begin(name, command) for name, _is, command in (each.partition("=") for each in arguments)}
    first, *others = processes
    pid = processes[first].pid
    with subprocess.Popen(["tail", f"--pid={pid}", "--lines=+1", "--follow", LOGS / f"{first}.log"]):
        processes[first].wait()
    failed = [name for name, process in processes.items() if process.wait()]
    for name in [name for name in others if name not in failed] + failed:
        show(name)
    if failed:
        sys.exit(f"\nFailed: {', '.join(failed)}")


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except KeyboardInterrupt:  # which each of them was sent as well
        sys.exit(130)
