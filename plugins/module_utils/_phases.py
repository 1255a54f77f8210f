# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""How far a starting NIM is, and whether it still gets on: from its log and the growth of its cache.

Private to the collection: breaking changes at any time.
"""

from __future__ import annotations

import os
import re

from ansible_collections.llmops.nim.plugins.module_utils._log_text import NOISE

START, DOWNLOAD, BUILD, LOAD, WARM_UP, READY = "start", "download", "build", "load", "warm_up", "ready"
# What a service does in each, for people.
WORDS = {
    START: "starting",
    DOWNLOAD: "downloading",
    BUILD: "building the engine",
    LOAD: "loading",
    WARM_UP: "warming up",
    READY: "ready",
}

# Seconds for which nothing may happen in a phase: no new line in the log, no growth of the cache. Chosen by us, from
# what is known to be slow: builds of tens of minutes without a word, loads of half an hour. A download shows at once.
BUDGETS = {START: 1800, DOWNLOAD: 600, BUILD: 3600, LOAD: 1800, WARM_UP: 1800}

# Observed in published logs of NIM 1.2 to 1.8.4, and of vLLM, the engine of 2.x. The last match tells the phase.
_MARKS = (
    # What was downloaded until then was only what the choice needs.
    (START, re.compile(r"Selected profile: ")),
    (DOWNLOAD, re.compile(r"Downloaded filename:|Downloading|nim_hub_ngc::api::tokio: ")),
    (BUILD, re.compile(r"reading and converting rank\d+ checkpoint|\[TRT(-LLM)?\]|build_utils\.py")),
    (
        LOAD,
        re.compile(
            r"building rank\d+ engine|Engine size in bytes|Worker starting|Loading|Starting HTTP server"
            r"|Started server process|successfully cached"
        ),
    ),
    (
        WARM_UP,
        re.compile(
            r"Model loading took|torch\.compile|Dynamo bytecode transform|[Mm]emory profiling takes|Capturing CUDA "
            r"graph"
            r"|Graph capturing finished|init engine \("
        ),
    ),
)
# Less is what NIM always writes to its cache.
_DOWNLOADED_BYTES = 16 * 1024**2
# So many lines are remembered, to tell what is new from what is said over and over.
_REMEMBERED = 20_000


def phase(line):
    """The phase (str) that a line of NIM's log belongs to, or None when the line tells nothing."""
    found = None
    for name, mark in _MARKS:
        if mark.search(line):
            found = name
    return found


class Progress:
    """Follows a log and a cache, keeps when each phase began, and when something happened last.

    Clock values are seconds of any monotonic clock. budgets: phase → seconds, where they differ from BUDGETS.
    """

    def __init__(self, now, budgets=None):
        self.begun = [(START, now)]
        self.budgets = dict(BUDGETS, **(budgets or {}))
        self.last = now
        self.sizes = []  # (time, bytes of the cache) whenever it was found larger
        self._said = set()

    @property
    def phase(self):
        return self.begun[-1][0]

    def enter(self, name, now):
        """Notes that a phase has begun, if it has not already."""
        if name != self.phase:
            self.begun.append((name, now))
            self.last = now

    def read(self, lines, now):
        """Takes further lines (iterable of str) of the log into account."""
        for line in lines:
            found = phase(line)
            if found:
                self.enter(found, now)
            # Of a download only bytes count, where they can be seen: it may say again and again that it tries.
            if not (self.phase == DOWNLOAD and self.sizes) and line not in self._said and not NOISE.search(line):
                self.last = now
            if len(self._said) < _REMEMBERED:
                self._said.add(line)

    def grown(self, size, now):
        """Takes the size of the cache (bytes, or None where it is not known) into account."""
        if size is None or (self.sizes and size <= self.sizes[-1][1]):
            return
        if self.sizes:
            self.last = now
            if self.phase == START and size - self.sizes[0][1] > _DOWNLOADED_BYTES:
                self.enter(DOWNLOAD, now)
        self.sizes.append((now, size))

    def stuck(self, now):
        """For how many seconds (float) nothing has happened, if that is too long for the phase; else None."""
        idle = now - self.last
        return idle if idle > self.budgets.get(self.phase, idle) else None

    @property
    def growth(self):
        """By how many bytes the cache has grown so far (int), or None where its size is not known."""
        return self.sizes[-1][1] - self.sizes[0][1] if self.sizes else None

    def rate(self, now, seconds=60):
        """By how many bytes a second the cache has grown of late (float), 0 where it has not."""
        recent = [one for one in self.sizes if one[0] >= now - seconds]
        earlier = [one for one in self.sizes if one[0] < now - seconds][-1:] or recent[:1]
        if not recent or not earlier or recent[-1][1] == earlier[0][1]:
            return 0.0
        return (recent[-1][1] - earlier[0][1]) / max(now - earlier[0][0], 1)

    def phases(self, now):
        """Each phase in order with its length: list of dict(phase, seconds)."""
        ends = [begin for _name, begin in self.begun[1:]] + [now]
        return [
            {"phase": name, "seconds": round(end - begin, 1)}
            for (name, begin), end in zip(self.begun, ends)
            if name != READY
        ]


def size(path, most=100_000):
    """How many bytes the files beneath path (a directory) take on the disk (int); None where there is none.

    most: no more files are looked at.
    """
    if not path or not os.path.isdir(path):
        return None
    total = 0
    for folder, _folders, names in os.walk(path):
        for name in names:
            try:
                total += os.lstat(os.path.join(folder, name)).st_blocks * 512
            except OSError:  # it was renamed meanwhile
                continue
            most -= 1
            if most <= 0:
                return total
    return total
