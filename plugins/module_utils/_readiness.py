# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""Whether a NIM goes on, read from the state of its container.

Private to the collection: breaking changes at any time.
"""

from __future__ import annotations


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
