# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""Which hosts are at work on a step that takes long, since when, and how far they are, for people who wait.

Private to the collection: breaking changes at any time.
"""

from __future__ import annotations

from typing import NamedTuple

from ansible_collections.llmops.nim.plugins.module_utils import _clock, _how_far

# What takes long: action → the step, as people call it.
STEPS = {
    "llmops.nim.gpu_host_info": "being looked at",
    "llmops.nim.nim_release_info": "being asked for its releases",
    "llmops.nim.nim_check": "being looked ahead at",
    "llmops.nim.nim_image": "pulling the image",
    "llmops.nim.lfs_snapshot": "fetching weights",
    "llmops.nim.nim_transfers": "fetching",
    "llmops.nim.weights_swarm": "carrying weights",
    "llmops.nim.weights_import": "importing weights",
    "llmops.nim.nim_model_profiles": "listing profiles",
    "llmops.nim.nim_engine": "carrying an engine",
    "llmops.nim.nim_gateway": "draining or admitting",
    "llmops.nim.nim_ready": "becoming ready",
    "llmops.nim.nim_completion": "answering",
    "llmops.nim.nim_soak": "being watched",
}
# So many hosts have a row each; of more the steps are told.
MOST_ROWS = 10
# A line comes after so many seconds at a step, and each further one after as long again, no later than after _LONGEST.
# It comes sooner where so many percent have come since, but never sooner than after FIRST.
FIRST, _LONGEST, FURTHER = 10, 300, 10


class Row(NamedTuple):
    """What is shown of a host, or of all hosts at a step.

    who, step: for people. seconds: how long it takes by now. far: how far it is (Far), or None.
    """

    who: str
    step: str
    seconds: float
    far: _how_far.Far | None = None

    @property
    def percent(self):
        return self.far.percent if self.far else None

    @property
    def length(self):
        return _clock.age(int(self.seconds))

    @property
    def text(self):
        return f"{self.who}: {self.far.text if self.far else self.step}, for {self.length}"


class Pace:
    """When lines are due of what has begun at a moment."""

    def __init__(self, begin):
        self._begin = self._last = begin
        self._next = begin + FIRST
        self._percent = 0

    def due(self, now, percent):
        """Whether a line is, which then counts as written; percent (int) is as far as it is, or None."""
        further = percent is not None and percent - self._percent >= FURTHER
        if now < (self._last + FIRST if further else self._next):
            return False
        self._last, self._next = now, now + min(now - self._begin, _LONGEST)
        self._percent = percent or 0
        return True


class AtWork:
    """The hosts at work. Clock values are seconds of any monotonic clock."""

    def __init__(self):
        self._hosts = {}  # name → (step, begin)
        self._far = {}  # name → Far
        self._gone = {}  # step at which hosts are → list of Far of those that were
        self._paces = {}  # (name, (step, begin)), or step → Pace

    def begin(self, host, action, now):
        """A host (str) begins a task's action (str); one that takes no time counts as none."""
        self.end(host)
        if action in STEPS:
            self._hosts[host] = (STEPS[action], now)

    def end(self, host):
        """A host is done with its task."""
        step, _begin = self._hosts.pop(host, (None, None))
        far = self._far.pop(host, None)
        if far:
            # What it has told last was some time ago.
            self._gone.setdefault(step, []).append(far._replace(done=far.total or far.done))
        if step not in {step for step, _begin in self._hosts.values()}:
            self._gone.pop(step, None)

    def hosts(self):
        """The hosts at work (list of str)."""
        return list(self._hosts)

    def tell(self, host, action, told):
        """How far a host is with an action (str), as it has told (list of dict); counts if it is still at it."""
        if told and host in self._hosts and self._hosts[host][0] == STEPS.get(action):
            self._far[host] = _how_far.of_told(told)

    def rows(self, now, least=0):
        """What to show: list of Row; the longest at work comes first.

        least: seconds that a host has been at its step, to be shown.
        """
        return list(self._rows(now, least).values())

    def lines(self, now):
        """What to write where rows cannot be drawn anew (list of str): rows whose line is due, and only once each."""
        alive = {*self._hosts.items(), *(step for step, _begin in self._hosts.values())}
        self._paces = {key: pace for key, pace in self._paces.items() if key in alive}
        told = []
        for key, row in self._rows(now).items():
            if self._paces.setdefault(key, Pace(now - row.seconds)).due(now, row.percent):
                told.append(row.text)
        return told

    def _rows(self, now, least=0):
        """Each host at work with its step and begin, or its step where there are more hosts than rows → Row."""
        working = [one for one in self._hosts.items() if now - one[1][1] >= least]
        working.sort(key=lambda one: one[1][1])
        if len(working) <= MOST_ROWS:
            return {(host, (step, begin)): self._row(host, step, now - begin) for host, (step, begin) in working}
        steps = {}
        for host, (step, begin) in working:
            steps.setdefault(step, []).append((host, now - begin))
        return {step: self._summary(step, hosts) for step, hosts in steps.items()}

    def _row(self, host, step, seconds):
        far = self._far.get(host)
        # Of what is over altogether there is nothing to tell but the step.
        return Row(host, far.step, seconds, far) if far and far.step else Row(host, step, seconds)

    def _summary(self, step, hosts):
        """The Row of the hosts at a step: list of (name, seconds), the longest first."""
        (longest, seconds), known = hosts[0], [self._far[host] for host, _seconds in hosts if host in self._far]
        far = _how_far.together(step, known, self._gone.get(step, [])) if known else None
        return Row(f"{len(hosts)} hosts, longest {longest}", step, seconds, far)


def interrupted(rows):
    """What to say (str) when a run is interrupted while there were such rows (list of Row)."""
    told = "\n".join(f"  {row.text}" for row in rows)
    return (
        f"Interrupted while at work:\n{told}\n"
        "What a server was told to do may go on there for a while: playbooks/status.yml says what serves.\n"
        "The same command goes on: what is on a server by now is not fetched again."
    )
