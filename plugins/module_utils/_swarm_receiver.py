# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""A receiver's part: takes what is offered and hands it on; each file is proven as soon as it is whole.

Private to the collection: breaking changes at any time.

A large file that was proven is in the store at once, whatever becomes of the others.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
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
from ansible_collections.llmops.nim.plugins.module_utils._problem import Problem, Refused


class Receiver:
    """Receives into spot (Place of _swarm_place) and into store (directory), whose disk keeps reserve bytes free."""

    def __init__(self, spot, store, reserve, swarm, reader):
        self._spot, self._store, self._reserve = spot, store, reserve
        self._swarm, self._reader = swarm, reader
        self._files, self._sizes = {}, {}  # by sha256: what the manifest says, and the size
        self._taken, self._proving, self._proven = set(), {}, set()
        self._pool = concurrent.futures.ThreadPoolExecutor(max_workers=2)
        self._seen, self._sign, self._moved = {}, time.monotonic(), 0
        self._sent, self._sent_at = 0, time.monotonic()
        self.complete = False

    def step(self):
        """Take what is offered, prove what has come; raises a Problem where it is not what it should be."""
        if self.complete:
            return
        offers = self._reader.latest
        if offers and offers["manifest"]:
            self._learn(offers["manifest"])
            for name in offers["names"]:
                self._take(name)
        self._seen = self._swarm.look()
        self._prove()
        self._note()
        if offers and offers["whole"] and self._proven == set(self._sizes):
            _snapshot.write_manifest(os.path.join(self._spot.parcel, _parcel.MANIFEST), offers["manifest"])
            self.complete = True

    def _learn(self, manifest):
        """Take in what is to come, once it is known."""
        if self._sizes:
            return
        fault = _parcel.fault(manifest)
        if fault:
            raise Problem("The seed's manifest is refused.", fault, "Run again.", "parcel_invalid")
        self._files = {file["sha256"]: file for file in manifest["files"]}
        self._sizes = _parcel.contents(manifest)
        _files.write_json(self._spot.plan, manifest)
        for sha256, size in self._sizes.items():
            self._keep(sha256, size)
        lacking = sum(size for sha256, size in self._sizes.items() if sha256 not in self._proven)
        there = sum(self._blocks(sha256) for sha256 in set(self._sizes) - self._proven)
        # What comes goes into the store, and from there into the snapshot.
        copies = 0 if _links.shares(self._spot.directory) else 2 * lacking
        problems = _links.need_space(self._store, max(0, lacking - there), self._reserve, copies)
        if problems:
            raise Refused(problems)

    def _path(self, sha256):
        return _parcel.file_path(self._spot.parcel, sha256)

    def _blocks(self, sha256):
        """The bytes on the disk of a file that has come in part: it has holes."""
        return os.stat(self._path(sha256)).st_blocks * 512 if os.path.exists(self._path(sha256)) else 0

    def _keep(self, sha256, size):
        """Count as proven what this host has had before."""
        path, stored = self._path(sha256), _lfs.object_path(self._store, sha256)
        if size == 0:
            with open(path, "wb"):
                pass
            _lfs.seal(path)
        elif not _lfs.is_sealed(path, size) and _lfs.is_sealed(stored, size):
            with contextlib.suppress(FileNotFoundError):
                os.remove(path)
            _links.place(stored, path, sha256)
        if _lfs.is_sealed(path, size):
            self._proven.add(sha256)

    def _take(self, name):
        if name in self._taken or name not in self._sizes:
            return
        torrent = self._reader.torrent(name)
        if torrent:
            directory = os.path.dirname(self._path(name))
            self._swarm.take(torrent, directory, name, self._sizes[name], whole=name in self._proven)
            self._taken.add(name)

    def _prove(self):
        """Read what is whole, beside the rest of the work, and put it into the store."""
        for name, piecework in self._seen.items():
            if piecework.complete and name not in self._proven and name not in self._proving:
                self._proving[name] = self._pool.submit(self._adopt, name)
        for name in [name for name, job in self._proving.items() if job.done()]:
            self._proving.pop(name).result()
            self._proven.add(name)

    def _adopt(self, name):
        path, file = self._path(name), self._files[name]
        if _lfs.sha256(path) != name:
            os.remove(path)
            raise _swarm.altered_file(file["path"], f"sha256 {name} is promised, and what came has another")
        _lfs.seal(path)
        stored = _lfs.object_path(self._store, name)
        if file["lfs"] and not os.path.exists(stored):
            os.makedirs(os.path.dirname(stored), mode=0o750, exist_ok=True)
            _links.place(path, stored, name)

    def _note(self):
        """Keep when there was the last sign of life: bytes, or word of the seed while it has nothing that is new."""
        moved = sum(one.done for one in self._seen.values())
        waits = self._taken <= self._proven | set(self._proving)
        if moved > self._moved:
            self._sign = time.monotonic()
        elif waits and self._reader.silence is not None:
            self._sign = max(self._sign, time.monotonic() - self._reader.silence)
        self._moved = moved

    def check(self, patience):
        """Raise a Problem if there was no sign of life for patience seconds."""
        silence, heard = time.monotonic() - self._sign, self._reader.silence is not None
        if self.complete or silence < (patience + _swarm_feed.WAIT if heard else patience * _swarm.FIRST):
            return
        peers = ", ".join(self._swarm.connected()) or "none"
        if not heard:
            raise Problem(
                "The host that has the weights does not answer.",
                f"asked for {silence:.0f} s; connected with: {peers}",
                "Let the hosts reach each other on weights_fleet_port and the port above it (TCP), or give the "
                "addresses at which they do in weights_fleet_address.",
                "seed_unreachable",
            )
        lacking = sorted(self._files[sha256]["path"] for sha256 in set(self._sizes) - self._proven)
        raise Problem(
            "Nobody hands on what is still missing.",
            f"nothing came for {silence:.0f} s; missing: {', '.join(lacking[:10])}; connected with: {peers}",
            "Run again: what has come is kept. If no host is connected, let the hosts reach each other on "
            "weights_fleet_port (TCP).",
            "seed_gone",
        )

    def is_over(self, patience):
        """Whether all has come, and nobody has taken any of it for patience seconds."""
        sent = self._swarm.traffic()[1]
        if not self.complete or sent != self._sent:
            self._sent, self._sent_at = sent, time.monotonic()
        return time.monotonic() - self._sent_at > patience

    def state(self):
        """What the status file says of it (dict)."""
        done = sum(self._sizes[sha256] for sha256 in self._proven)
        done += sum(one.done for name, one in self._seen.items() if name not in self._proven)
        phase = "complete" if self.complete else "receiving" if self._sizes else "waiting"
        refused = sum(one.wrong for one in self._seen.values())
        return {
            "phase": phase,
            "bytes_done": done,
            "bytes_total": sum(self._sizes.values()),
            "pieces_refused": refused,
        }
