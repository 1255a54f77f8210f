# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""How far C(docker pull) is, from what it draws on a terminal: the only place where the command tells it.

Private to the collection: breaking changes at any time.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import struct
import subprocess
import tempfile
import termios

# As docker names a layer: the beginning of its digest in the registry.
NAME_LENGTH = 12
# Cursor movements.
_CONTROL = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
_LINE = re.compile(rf"(?P<layer>[0-9a-f]{{{NAME_LENGTH}}}): (?P<status>[A-Z][a-z]+(?: [A-Za-z]+)*)(?P<rest>.*)")
_AMOUNT = r"(\d+(?:\.\d+)?)([kMGTP]?B)"
_AMOUNTS = re.compile(rf"{_AMOUNT}/{_AMOUNT}")
_UNITS = {unit: 1000**power for power, unit in enumerate(["B", "kB", "MB", "GB", "TB", "PB"])}
_EXISTS, _DOWNLOADING, _COMPLETE = "Already exists", "Downloading", "Pull complete"
_DOWNLOADED = ("Verifying Checksum", "Download complete", "Extracting", _COMPLETE)
# So narrow that amounts come without a bar.
_ROWS, _COLUMNS = 50, 80


class Layers:
    """The layers of one image that is pulled, as far as docker's words tell. sizes: layer's name → bytes."""

    def __init__(self, sizes):
        self._sizes = sizes
        self._layers = {}  # name → (status, bytes that have come, or None, and that there will be, or None)
        self._rest = ""

    def read(self, text):
        """Takes further words (str) into account; they may be cut anywhere."""
        *lines, self._rest = re.split(r"[\r\n]", self._rest + text)
        for line in lines:
            found = _LINE.fullmatch(_CONTROL.sub("", line).strip())
            if found:
                self._note(found["layer"], found["status"], found["rest"])

    def _note(self, layer, status, rest):
        _status, done, total = self._layers.get(layer, (None, 0, self._sizes.get(layer)))
        amounts = _AMOUNTS.search(rest)
        if status == _DOWNLOADING and amounts:
            said, of = _bytes(*amounts.groups()[:2]), _bytes(*amounts.groups()[2:])
            total = self._sizes.get(layer, of)
            done = min(said, total)
        elif status == _EXISTS:
            done = total = 0
        elif status in _DOWNLOADED:
            done = total
        self._layers[layer] = (status, done, total)

    @property
    def bytes(self):
        """How many bytes have come (int), of layers whose size is known."""
        return sum(done or 0 for _status, done, _total in self._layers.values())

    @property
    def total(self):
        """How many bytes there will be (int), or None where that is not known yet of each layer."""
        if not self._layers:
            return sum(self._sizes.values()) or None
        totals = [total for _status, _done, total in self._layers.values()]
        return None if None in totals else sum(totals)

    @property
    def unpacking(self):
        """Whether all has come, and not all is in its place yet."""
        states = {status for status, _done, _total in self._layers.values()}
        return states <= {_EXISTS, *_DOWNLOADED} and not states <= {_EXISTS, _COMPLETE}


def _bytes(number, unit):
    return int(float(number) * _UNITS[unit])


def watched(command, hear):
    """Run a command (list of str) with a terminal as its output: (exit status, what it says on stderr, str).

    hear: is called with the words (str) that it draws. Where there is no terminal to be had it hears nothing.
    """
    with tempfile.TemporaryFile() as errors, contextlib.ExitStack() as stack:
        try:
            ours, theirs = os.openpty()
            fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", _ROWS, _COLUMNS, 0, 0))
        except OSError:
            ours, theirs = None, subprocess.DEVNULL
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=theirs, stderr=errors)
        stack.callback(process.kill)  # of one that has ended nothing comes
        if ours is not None:
            stack.callback(os.close, ours)
            os.close(theirs)
            _listen(ours, hear)
        status = process.wait()
        errors.seek(0)
        return status, errors.read().decode(errors="replace")


def _listen(terminal, hear):
    while True:
        try:
            block = os.read(terminal, 65536)
        except OSError:  # Linux, once the other side is closed
            return
        if not block:
            return
        hear(block.decode(errors="replace"))
