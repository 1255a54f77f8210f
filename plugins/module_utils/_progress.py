# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""How far a fetch is, in a file: of weights <weights_dir>/<org>--<repo>/progress.json.

Private to the collection: breaking changes at any time.

It is replaced as a whole while bytes come, and says at the end how that was. One that is not final and no longer
changes was left by a run that was killed.
"""

from __future__ import annotations

import collections
import contextlib
import os
import threading
import time

from ansible_collections.llmops.nim.plugins.module_utils import _clock, _files

NAME = "progress.json"
FETCHING, PROVING, UNPACKING, PUBLISHED, FAILED = "fetching", "proving", "unpacking", "published", "failed"
FINAL = (PUBLISHED, FAILED)
_EVERY = 1.0  # seconds
_WINDOW = 30  # samples that the rate is taken from


def path(home):
    """Where the file lies, beneath the directory (home) of a repository."""
    return os.path.join(home, NAME)


def state(subject, phase, samples, total):
    """What the file says (dict).

    subject (dict): what it is about. phase: FETCHING, PROVING, UNPACKING, PUBLISHED or FAILED. bytes: how many are
    there. total: how many there will be, or None. rate: bytes a second (float) of late. seconds_left: int, or None
    where no byte came of late. updated: time in UTC.

    samples: pairs of a time (seconds) and the bytes that were there, oldest first.
    """
    rate, left = pace(samples, total) if phase == FETCHING else (0.0, 0 if phase == PUBLISHED else None)
    return {
        **subject,
        "phase": phase,
        "bytes": samples[-1][1],
        "total": total,
        "rate": rate,
        "seconds_left": left,
        "updated": _clock.now(),
    }


def pace(samples, total):
    """Bytes a second (float) of late, and the seconds (int) until there are total, or None where it is not known."""
    (begin, first), (end, last) = samples[0], samples[-1]
    rate = max(0.0, (last - first) / (end - begin)) if end > begin else 0.0
    return round(rate, 1), int((total - last) / rate + 0.5) if rate and total is not None else None


def window():
    """An empty collection of so many samples as a pace is taken from."""
    return collections.deque(maxlen=_WINDOW)


class Progress:
    """Keeps the file at path up to date, as a context, about subject (dict).

    measure: from nothing to the bytes (int) that are there, and that there will be. heard: is called with what the file
    says (dict), whenever that is written.
    """

    def __init__(self, path, subject, measure, heard=lambda words: None):
        self._path, self._subject, self._measure, self._heard = path, subject, measure, heard
        self._samples, self._phase = window(), FETCHING
        self._write_lock, self._ended = threading.Lock(), threading.Event()
        self._thread = threading.Thread(target=self._keep, daemon=True)

    def __enter__(self):
        self._write()
        self._thread.start()
        return self

    def __exit__(self, kind, error, trace):
        self._ended.set()
        self._thread.join()
        self.turn(PUBLISHED if kind is None else FAILED)

    def turn(self, phase):
        """Another phase begins, if it has not already."""
        if phase != self._phase:
            self._phase = phase
            self._write()

    def _keep(self):
        while not self._ended.wait(_EVERY):
            self._write()

    def _write(self):
        with self._write_lock, contextlib.suppress(OSError):  # a full disk is told by those who need it
            done, total = self._measure()
            self._samples.append((time.monotonic(), done))
            words = state(self._subject, self._phase, list(self._samples), total)
            self._heard(words)
            _files.write_json(self._path, words)
