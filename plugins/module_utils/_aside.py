# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""How far a module is, told while it works, in a file on its host that anybody may read.

Private to the collection: breaking changes at any time.

Ansible hears of a module only at its end. The action of a module that takes long names the file and reads it meanwhile.
"""

from __future__ import annotations

import contextlib
import os
import time

from ansible_collections.llmops.nim.plugins.module_utils import _files

# In memory on every Linux. No secret is in it.
DIRECTORY = "/run/nim-progress"
ARGUMENT_SPEC = {"progress_file": {"type": "path"}}
BYTES, SECONDS, REQUESTS = "bytes", "seconds", "requests"
_EVERY = 1.0  # seconds


class Aside:
    """Keeps the file at path as a context, after which it is gone; None tells nobody."""

    def __init__(self, path):
        self._path = path
        self._what, self._told = None, 0.0

    def __enter__(self):
        return self

    def __exit__(self, kind, error, trace):
        if self._path:
            with contextlib.suppress(OSError):
                os.remove(self._path)

    def tell(self, what, done=None, total=None, unit=BYTES, rate=None, seconds_left=None):
        """Tell what is being done (str), at most once a second while that is the same.

        done, total: of the unit, or None where it is not known. rate: of it a second. seconds_left: until it is done.
        """
        now = time.monotonic()
        if not self._path or (what == self._what and now - self._told < _EVERY):
            return
        self._what, self._told = what, now
        words = {"what": what, "done": done, "total": total, "unit": unit, "rate": rate, "seconds_left": seconds_left}
        with contextlib.suppress(OSError):  # it is only told
            _make(os.path.dirname(self._path))
            _files.write_json(self._path, words, 0o644)


def _make(directory):
    """Have a directory that everybody may enter, whatever the umask is."""
    if not os.path.isdir(directory):
        os.makedirs(directory)
        os.chmod(directory, 0o755)
