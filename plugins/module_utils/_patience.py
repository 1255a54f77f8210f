# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""Asking again what failed for a reason that may pass by itself, after growing pauses, or as long as the hub asks for.

Private to the collection: breaking changes at any time.
"""

from __future__ import annotations

import threading
import time

from ansible_collections.llmops.nim.plugins.module_utils import _hub

# They pass by themselves, or with the address signed anew.
PASSING = (*_hub.PASSING, "storage_refused")
LONGEST_PAUSE = 60  # seconds, unless the hub asks for more
LONGEST_WAIT = 900  # seconds; a hub that asks for a longer one is told as busy

STALLED = 300  # seconds


def end_when_stalled(progress):
    """A before_communicate_callback for run_command, that ends the program where nothing happens.

    That is, once progress() has not changed for STALLED seconds. git-lfs follows redirects without end. Where a
    connection stands still, it gives up by itself.
    """

    def watch(program):
        last, since = progress(), time.monotonic()
        while program.poll() is None:
            if progress() != last:
                last, since = progress(), time.monotonic()
            elif time.monotonic() - since > STALLED:
                program.terminate()
                return
            threading.Event().wait(0.5)

    return lambda program: threading.Thread(target=watch, args=(program,), daemon=True).start()


def persist(attempt, progress, retries, asked=lambda: None):
    """Call attempt() until it returns None, or a Problem that will not pass or has come too often; that, or None.

    Gives up after retries repetitions in a row in which progress() (bytes so far) did not grow; each takes a longer
    pause (1, 4, 16, at most LONGEST_PAUSE seconds). asked(): how many seconds the hub wants to be left alone (int or
    None), which is looked up after it said that it is busy or broken.
    """
    idle, before = 0, progress()
    while True:
        problem = attempt()
        if problem is None or problem.code not in PASSING:
            return problem
        now = progress()
        idle = 0 if now > before else idle + 1
        if idle > retries or retries == 0:
            return problem
        before = now
        wanted = asked() if problem.code in ("hub_busy", "hub_error") else None
        if wanted and wanted > LONGEST_WAIT:
            problem.evidence += f"\nIt wants to be asked again in {wanted} s."
            return problem
        time.sleep(max(wanted or 0, min(LONGEST_PAUSE, 4 ** max(0, idle - 1))))
