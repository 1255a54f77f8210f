# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""Which hosts are at work on a step that takes long, since when, and how far they are, for people who wait.

Private to the collection: breaking changes at any time.
"""

from __future__ import annotations

from ansible_collections.llmops.nim.plugins.module_utils import _clock
from ansible_collections.llmops.nim.plugins.module_utils._plan_text import amount

TRANSFERS = "llmops.nim.nim_transfers"
# What takes long: action → the step, as people call it.
STEPS = {
    "llmops.nim.gpu_host_info": "being looked at",
    "llmops.nim.nim_release_info": "being asked for its releases",
    "llmops.nim.nim_check": "being looked ahead at",
    "llmops.nim.nim_image": "pulling the image",
    "llmops.nim.lfs_snapshot": "fetching weights",
    TRANSFERS: "fetching",
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
# Seconds until a first line; each further one comes after as long again, and no later than after _LONGEST.
FIRST, _LONGEST = 10, 300


class AtWork:
    """The hosts at work. Clock values are seconds of any monotonic clock."""

    def __init__(self):
        self._hosts = {}  # name → (step, begin)
        self._due = {}  # name → when its next line is due
        self._far = {}  # name → how far it is, as people are told

    def begin(self, host, action, now):
        """A host (str) begins a task's action (str); one that takes no time counts as none."""
        self.end(host)
        if action in STEPS:
            self._hosts[host] = (STEPS[action], now)
            self._due[host] = now + FIRST

    def end(self, host):
        """A host is done with its task."""
        for known in (self._hosts, self._due, self._far):
            known.pop(host, None)

    def transferring(self):
        """The hosts (list of str) that wait for transfers."""
        return [host for host, (step, _begin) in self._hosts.items() if step == STEPS[TRANSFERS]]

    def tell(self, host, transfers):
        """How far the transfers (list of dict, as nim_transfers returns them) of a host at work are."""
        self._far[host] = how_far(transfers)

    def rows(self, now, least=0):
        """What to show: list of (who, step, how long), each a str; the longest at work comes first.

        least: seconds that a host has been at its step, to be shown.
        """
        return self._rows(self._working(now, least))

    def lines(self, now):
        """What to write where rows cannot be drawn anew (list of str): hosts whose line is due, and only once each."""
        due = [one for one in self._working(now) if self._due[one[0]] <= now]
        for host, _step, seconds in due:
            self._due[host] = now + min(seconds, _LONGEST)
        return [f"{who}: {step}, for {length}" for who, step, length in self._rows(due)]

    def _working(self, now, least=0):
        """Each host at work: list of (host, step, seconds), the longest first."""
        found = [(host, step, now - begin) for host, (step, begin) in self._hosts.items() if now - begin >= least]
        return sorted(found, key=lambda one: -one[2])

    def _rows(self, working):
        """The rows of hosts at work, or of their steps where there are more hosts than rows."""
        if len(working) <= MOST_ROWS:
            return [(host, self._far.get(host) or step, _clock.age(int(seconds))) for host, step, seconds in working]
        steps = {}
        for host, step, seconds in working:
            steps.setdefault(step, []).append((host, seconds))
        return [
            (f"{len(hosts)} hosts, longest {hosts[0][0]}", step, _clock.age(int(hosts[0][1])))
            for step, hosts in steps.items()
        ]


def how_far(transfers):
    """What is on its way and how far, in a few words, the most telling first: C(weights 45%, 3m 2s left; image)."""
    told = []
    for one in sorted((one for one in transfers if not one["over"]), key=lambda one: not one["total"]):
        kind = one["what"].partition(" ")[0]
        if not one["total"]:
            told.append(kind)
            continue
        words = [f"{kind} {100 * one['bytes'] // one['total']}%"]
        if one["phase"] == "proving":
            words.append("proving")
        if one["seconds_left"] is not None:
            words.append(f"{_clock.age(one['seconds_left'])} left")
        words.append(f"{amount(one['bytes'])} of {amount(one['total'])}")
        if one["rate"]:
            words.append(f"{amount(int(one['rate']))}/s")
        told.append(", ".join(words))
    return "; ".join(told)


def interrupted(rows):
    """What to say (str) when a run is interrupted while there were such rows."""
    told = "\n".join(f"  {who}: {step}, for {length}" for who, step, length in rows)
    return (
        f"Interrupted while at work:\n{told}\n"
        "What a server was told to do may go on there for a while: playbooks/status.yml says what serves.\n"
        "The same command goes on: what is on a server by now is not fetched again."
    )
