# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""How far a starting NIM is, read from its log, and whether it goes on, read from its container.

Private to the collection: breaking changes at any time.
"""

from __future__ import annotations

import re

STARTING, DOWNLOADING, BUILDING, LOADING, READY = "starting", "downloading", "building the engine", "loading", "ready"

# Observed in published logs of NIM 1.2 to 1.8.4. The last match of a log tells the phase.
_MARKS = (
    (DOWNLOADING, re.compile(r"Downloaded filename:|Downloading|nim_hub_ngc::api::tokio: ")),
    (BUILDING, re.compile(r"reading and converting rank\d+ checkpoint|\[TRT(-LLM)?\]|build_utils\.py")),
    (
        LOADING,
        re.compile(
            r"building rank\d+ engine|Engine size in bytes|Worker starting|Loading|Starting HTTP server"
            r"|Started server process|successfully cached"
        ),
    ),
)


def phase(line):
    """The phase (str) that a line of NIM's log belongs to, or None when the line tells nothing."""
    found = None
    for name, mark in _MARKS:
        if mark.search(line):
            found = name
    return found


class Progress:
    """Follows a log and keeps when each phase began.

    clock values are seconds of any monotonic clock.
    """

    def __init__(self, now):
        self.begun = [(STARTING, now)]

    @property
    def phase(self):
        return self.begun[-1][0]

    def read(self, lines, now):
        """Takes further lines (iterable of str) of the log into account."""
        for line in lines:
            found = phase(line)
            if found and found != self.phase:
                self.begun.append((found, now))

    def ready(self, now):
        """Notes that the endpoint answered."""
        self.begun.append((READY, now))

    def phases(self, now):
        """Each phase in order with its length: list of dict(phase, seconds)."""
        ends = [begin for _name, begin in self.begun[1:]] + [now]
        return [
            {"phase": name, "seconds": round(end - begin, 1)}
            for (name, begin), end in zip(self.begun, ends)
            if name != READY
        ]


def verdict(state, restarts_before):
    """Why a container in this state (C(.State) and C(.RestartCount) of docker inspect) will never be ready, or None.

    restarts_before: its restart count when the waiting began (int).
    """
    status = state.get("Status", "")
    if state.get("OOMKilled"):
        return "the kernel killed it for memory (exit status 137)"
    if status in ("exited", "dead", "removing"):
        return f"it ended with exit status {state.get('ExitCode')}"
    if status == "restarting" or state.get("RestartCount", 0) > restarts_before:
        return f"it ended with exit status {state.get('ExitCode')} and Docker restarts it again and again"
    if status == "paused":
        return "it is paused"
    return None


def interruption(state, before):
    """Why a container in this state no longer is the one that ran before, or None.

    state, before: C(.State) and C(.RestartCount) of docker inspect, now and when the watching began.
    """
    if state.get("Status") == "running" and state.get("StartedAt") != before.get("StartedAt"):
        return f"it ended and was started again at {state.get('StartedAt')}"
    never = verdict(state, before.get("RestartCount", 0))
    if never or state.get("Status") == "running":
        return never
    return f"it is {state.get('Status')}"


class Misses:
    """Counts checks that failed one after another.

    allowed: how many of them are no reason to worry (int).
    """

    def __init__(self, allowed):
        self.allowed = allowed
        self.reasons = []

    def note(self, reason):
        """Takes a check into account: why it failed (str), or None if it did not."""
        self.reasons = [*self.reasons, reason] if reason else []

    @property
    def too_many(self):
        return len(self.reasons) > self.allowed
