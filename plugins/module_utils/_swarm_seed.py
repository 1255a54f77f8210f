# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""The seed's part: each object is offered as soon as it is whole in the store, though others still come from the hub.

Private to the collection: breaking changes at any time.
"""

from __future__ import annotations

import os
import time

from ansible_collections.llmops.nim.plugins.module_utils import (
    _files,
    _lfs,
    _links,
    _parcel,
    _snapshot,
    _swarm,
    _swarm_feed,
)


class Seed:
    """Offers the snapshot at snapshot (Place of _snapshot), which is there or being fetched, from the parcel (path)."""

    def __init__(self, parcel, snapshot, swarm, feed):
        self._parcel, self._snapshot = parcel, snapshot
        self._swarm, self._feed, self._torrents = swarm, feed, {}
        self._begun = self._fetched = time.monotonic()

    def step(self):
        """Offer what has come since the last step; raises a Problem where what was offered has been altered."""
        for sha256, seen in self._swarm.look().items():
            if seen.wrong:  # libtorrent reads a piece again before it gives it away for the first time
                path = next(file["path"] for file in self._feed.manifest["files"] if file["sha256"] == sha256)
                raise _swarm.altered_file(path, f"on this host {sha256} is not what it was when it was offered")
        if self._feed.whole:
            return
        manifest, altered = _snapshot.look(self._snapshot)
        if manifest and not altered:
            _parcel.write(self._snapshot, manifest, self._parcel)
            for sha256, size in _parcel.contents(manifest).items():
                if size:  # there is no torrent of nothing
                    self._offer(sha256)
            self._feed.tell(manifest, True, self._torrents)
            return
        if _files.is_held(self._snapshot.lock):
            self._fetched = time.monotonic()
        # What a fetch is after, it says before it begins.
        planned = _files.read_json(self._snapshot.path + _snapshot.PLANNED)
        if planned:
            for file in planned["files"]:
                if file["lfs"]:
                    self._offer_object(file["sha256"])
            self._feed.tell(planned, False, self._torrents)

    def _offer_object(self, sha256):
        source, target = _lfs.object_path(self._snapshot.store, sha256), _parcel.file_path(self._parcel, sha256)
        if sha256 not in self._torrents and os.path.exists(source):
            if not os.path.exists(target):
                _links.place(source, target, sha256)
            self._offer(sha256)

    def _offer(self, sha256):
        if sha256 not in self._torrents:
            self._torrents[sha256] = self._swarm.offer(_parcel.file_path(self._parcel, sha256))

    def is_over(self, patience):
        """Whether nobody has asked for patience seconds, and as long as an answer may be held back.

        Or whether nobody fetches what is not there: the run was lost, and its receivers would ask until the end.
        """
        if not self._feed.whole and time.monotonic() - self._fetched > patience * _swarm.FIRST:
            return True
        if self._feed.asked is None:
            return time.monotonic() - self._begun > patience * _swarm.FIRST
        return time.monotonic() - self._feed.asked > patience + _swarm_feed.WAIT

    def state(self):
        """What the status file says of it (dict)."""
        manifest = self._feed.manifest or {"files": [], "bytes_total": 0}
        sizes = _parcel.contents(manifest)
        done = sum(sizes.get(sha256, 0) for sha256 in self._feed.torrents)
        return {"phase": "offering", "bytes_done": done, "bytes_total": sum(sizes.values())}

    def check(self, patience):
        """Nothing is awaited: the fetch tells itself of what is wrong with it."""
