# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""How far hosts are with what they fetch, one by one and together, for people who wait.

Private to the collection: breaking changes at any time.
"""

from __future__ import annotations

from typing import NamedTuple

from ansible_collections.llmops.nim.plugins.module_utils import _clock
from ansible_collections.llmops.nim.plugins.module_utils._plan_text import amount
from ansible_collections.llmops.nim.plugins.module_utils._progress import FETCHING


class Far(NamedTuple):
    """How far something is.

    what: of which the bytes are on their way; empty where there is none. besides: what else is. bytes, total: of all
    whose bytes are known, what is over by now as well, so that together they never shrink. rate: bytes a second.
    seconds_left: None where nothing is known.
    """

    what: str
    besides: str
    bytes: int
    total: int
    rate: float
    seconds_left: int | None

    @property
    def percent(self):
        """How much of it is there (int), or None where that says nothing of what is on its way."""
        return 100 * self.bytes // self.total if self.what else None

    @property
    def step(self):
        """What is on its way: C(weights; image)."""
        return "; ".join(part for part in (self.what, self.besides) if part)

    @property
    def text(self):
        """All of it in one line: C(weights 45%, 3m 2s left, 3.0 GiB of 6.7 GiB, 20.8 MiB/s; image)."""
        if self.percent is None:
            return self.step
        words = (f"{self.what} {self.percent}%", self.left, f"{amount(self.bytes)} of {amount(self.total)}", self.speed)
        return "; ".join(part for part in (", ".join(word for word in words if word), self.besides) if part)

    @property
    def left(self):
        return "" if self.seconds_left is None else f"{_clock.age(self.seconds_left)} left"

    @property
    def speed(self):
        return f"{amount(int(self.rate))}/s" if self.rate else ""


def of_transfers(transfers):
    """The Far of a host's transfers (list of dict, as nim_transfers returns them)."""
    on_their_way = [one for one in transfers if not one["over"]]
    counted = [one for one in on_their_way if one["total"] and one["phase"] == FETCHING]
    known = [one for one in transfers if one["total"]]
    return Far(
        _kinds(counted),
        _kinds([one for one in on_their_way if one not in counted]),
        sum(one["bytes"] for one in known),
        sum(one["total"] for one in known),
        sum(one["rate"] for one in counted),
        _longest(one["seconds_left"] for one in counted),
    )


def together(what, at_work, gone):
    """The Far of hosts that are at the same step (what), and of those that were and are gone: lists of Far."""
    return Far(
        what if any(far.what for far in at_work) else "",
        "" if any(far.what for far in at_work) else what,
        sum(far.bytes for far in at_work + gone),
        sum(far.total for far in at_work + gone),
        sum(far.rate for far in at_work),
        _longest(far.seconds_left for far in at_work),
    )


def _kinds(transfers):
    """What transfers bring, each kind once."""
    kinds = [
        ("" if one["phase"] in (None, FETCHING) else f"{one['phase']} ") + one["what"].split()[0] for one in transfers
    ]
    return "; ".join(dict.fromkeys(kinds))


def _longest(seconds):
    return max((one for one in seconds if one is not None), default=None)
