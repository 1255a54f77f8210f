# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""How far hosts are with what takes long, one by one and together, for people who wait.

Private to the collection: breaking changes at any time.
"""

from __future__ import annotations

from typing import NamedTuple

from ansible_collections.llmops.nim.plugins.module_utils import _clock
from ansible_collections.llmops.nim.plugins.module_utils._aside import BYTES, SECONDS
from ansible_collections.llmops.nim.plugins.module_utils._plan_text import amount
from ansible_collections.llmops.nim.plugins.module_utils._progress import FETCHING


class Far(NamedTuple):
    """How far something is.

    what: of which it is known how much is done; empty where there is none. besides: what else is on its way. done,
    total: of the unit, of all of which it is known, what is over by now as well, so that together they never shrink; a
    total of 0 is not known. rate: of the unit a second. seconds_left: None where nothing is known.
    """

    what: str
    besides: str
    done: int
    total: int
    rate: float
    seconds_left: int | None
    unit: str = BYTES

    @property
    def percent(self):
        """How much of it is done (int), or None where that says nothing of what is on its way."""
        return int(100 * self.done // self.total) if self.what and self.total else None

    @property
    def step(self):
        """What is on its way: C(weights; image)."""
        return "; ".join(part for part in (self.what, self.besides) if part)

    @property
    def text(self):
        """All of it in one line: C(weights 45%, 3m 2s left, 3.0 GiB of 6.7 GiB, 20.8 MiB/s; image)."""
        share = "" if self.percent is None else f" {self.percent}%"
        words = (self.what + share, self.left, self.amounts, self.speed)
        return "; ".join(part for part in (", ".join(word for word in words if word), self.besides) if part)

    @property
    def left(self):
        return "" if self.seconds_left is None else f"{_clock.age(self.seconds_left)} left"

    @property
    def amounts(self):
        """How much of how much, where that says more than the time left: C(3.0 GiB of 6.7 GiB)."""
        if self.unit == SECONDS or not (self.what and (self.done or self.total)):
            return ""
        done, total = (amount(one) if self.unit == BYTES else str(one) for one in (self.done, self.total))
        unit = "" if self.unit == BYTES else f" {self.unit}"
        return f"{done} of {total}{unit}" if self.total else f"{done}{unit}"

    @property
    def speed(self):
        return f"{amount(int(self.rate))}/s" if self.rate and self.unit == BYTES else ""


def of_told(told):
    """The Far of what a host has told (list of dict): transfers as nim_transfers returns them, or one step (Aside)."""
    return of_step(told[0]) if "unit" in told[0] else of_transfers(told)


def of_step(told):
    """The Far of the one step that a module is at (dict of the arguments of Aside.tell)."""
    known = told["done"] is not None
    return Far(
        told["what"] if known else "",
        "" if known else told["what"],
        told["done"] or 0,
        told["total"] or 0,
        told["rate"] or 0.0,
        told["seconds_left"],
        told["unit"],
    )


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
    """The Far of hosts that are at the same step (what), and of those that were and are gone: lists of Far.

    Of hosts that count in units of their own, the first one's counts.
    """
    unit = at_work[0].unit
    at_work, gone = ([far for far in some if far.unit == unit] for some in (at_work, gone))
    return Far(
        what if any(far.what for far in at_work) else "",
        "" if any(far.what for far in at_work) else what,
        sum(far.done for far in at_work + gone),
        sum(far.total for far in at_work + gone),
        sum(far.rate for far in at_work),
        _longest(far.seconds_left for far in at_work),
        unit,
    )


def _kinds(transfers):
    """What transfers bring, each kind once."""
    kinds = [
        ("" if one["phase"] in (None, FETCHING) else f"{one['phase']} ") + one["what"].split()[0] for one in transfers
    ]
    return "; ".join(dict.fromkeys(kinds))


def _longest(seconds):
    return max((one for one in seconds if one is not None), default=None)
