# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""A login to a registry that lasts as long as a pull, in a Docker configuration that nobody else reads.

Private to the collection: breaking changes at any time.
"""

from __future__ import annotations

import base64
import contextlib
import glob
import json
import os
import shutil
import signal
import tempfile

# In memory on every Linux: a host that loses power keeps no key.
PLACE = "/run"
_PREFIX = "nim-registry-"


@contextlib.contextmanager
def configuration(registry, username, password, place=None):
    """The path of a directory (mode 0700) for docker's C(--config), gone afterwards; without a password it knows none.

    registry: the one host (str) that gets the login. Beneath place (a directory, or PLACE), from where also goes what a
    process that was killed has left.
    """
    place = str(place or (PLACE if os.access(PLACE, os.W_OK) else tempfile.gettempdir()))
    sweep(place)
    with _ended_by_signals():
        directory = tempfile.mkdtemp(prefix=f"{_PREFIX}{os.getpid()}-", dir=place)
        try:
            descriptor = os.open(os.path.join(directory, "config.json"), os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "w") as stream:
                json.dump({"auths": _auths(registry, username, password)}, stream)
            yield directory
        finally:
            shutil.rmtree(directory)


def _auths(registry, username, password):
    if not password:
        return {}
    return {registry: {"auth": base64.b64encode(f"{username}:{password}".encode()).decode()}}


def sweep(place, proc="/proc"):
    """Remove the configurations beneath place whose process is gone."""
    for path in glob.glob(os.path.join(glob.escape(place), _PREFIX + "*")):
        owner = os.path.basename(path)[len(_PREFIX) :].partition("-")[0]
        if not os.path.isdir(os.path.join(proc, owner)):
            shutil.rmtree(path, ignore_errors=True)


def _end(number, _frame):
    raise SystemExit(128 + number)


@contextlib.contextmanager
def _ended_by_signals():
    """Have a lost connection and a kill end the process in good order, so that it tidies up."""
    signals = (signal.SIGHUP, signal.SIGTERM)
    before = [signal.signal(one, _end) for one in signals]
    try:
        yield
    finally:
        for one, handler in zip(signals, before):
            signal.signal(one, handler)
