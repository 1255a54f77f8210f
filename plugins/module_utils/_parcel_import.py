# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""From a parcel whose files were proven to objects in the store and a snapshot; the repository's lock is held.

Private to the collection: breaking changes at any time.
"""

from __future__ import annotations

import os

from ansible_collections.llmops.nim.plugins.module_utils import (
    _checkpoint,
    _checkpoint_local,
    _hub_files,
    _lfs,
    _links,
    _parcel,
    _snapshot,
)
from ansible_collections.llmops.nim.plugins.module_utils._problem import Refused


class Import:
    """The parcel in directory, with that manifest (document), on its way to the snapshot at spot (Place).

    needed: sha256 -> size of what comes from the parcel.
    """

    def __init__(self, spot, directory, document, needed):
        self._spot, self._directory, self._needed = spot, directory, needed
        self._document = document
        self.fetched = sum(large(document, needed).values())  # bytes

    def judge(self, pickle):
        """The manifest (dict) to be published, with what the files say of the checkpoint; raises Refused.

        pickle: whether weights may be pickles.
        """
        files = [{key: file[key] for key in ("path", "size", "sha256", "lfs")} for file in self._document["files"]]
        contents, headers = {}, {}
        for file in files:
            path, place = file["path"], self._place(file)
            if path in _checkpoint.TEXTS:
                contents[path] = _head(place, _hub_files.TEXT_LIMIT)
            elif not file["lfs"]:
                contents[path] = _head(place, _checkpoint_local.HEAD)
            elif _checkpoint_local.is_safetensors(path):
                headers[path] = _checkpoint_local.header(path, place)
        sizes = {file["path"]: file["size"] for file in files}
        problems, warnings, facts = _checkpoint_local.inspect(sizes, contents, (), headers, pickle)
        if problems:
            raise Refused(problems)
        document = _snapshot.manifest(*(self._document[key] for key in ("repo", "commit", "selection")), files)
        _snapshot.judge(document, facts, warnings)
        return document

    def need_space(self, reserve):
        """Raise Refused unless there is room for what has to be copied, and reserve bytes beside it.

        Raises a Problem where the file system cannot hold a snapshot.
        """
        small = sum(file["size"] for file in self._document["files"] if not file["lfs"])
        copied = sum(size for sha256, size in self._large().items() if not self._is_linkable(sha256))
        in_snapshot = sum(file["size"] for file in self._document["files"] if file["lfs"])
        copies = 0 if _links.shares(self._spot.home) else in_snapshot
        problems = _links.need_space(self._spot.store, small + copied, reserve, copies)
        if problems:
            raise Refused(problems)

    def publish(self, document):
        """Have the objects in the store and the snapshot with that manifest; the paths (list) that are copies."""
        incoming = os.path.join(self._spot.home, f"incoming.partial-{os.getpid()}")  # clean() knows it by its name
        os.mkdir(incoming)
        for sha256 in self._large():
            source, target = _parcel.file_path(self._directory, sha256), _lfs.object_path(self._spot.store, sha256)
            linkable = self._is_linkable(sha256)
            if linkable:
                _lfs.seal(source)
            _links.place(source, os.path.join(incoming, sha256), sha256, hard=linkable)
            os.makedirs(os.path.dirname(target), mode=0o750, exist_ok=True)
            os.rename(os.path.join(incoming, sha256), target)
        return _snapshot.publish(self._spot, document, self._blocks)

    def _large(self):
        return large(self._document, self._needed)

    def _is_linkable(self, sha256):
        """Whether the store may have the very file of the parcel: nobody else can write to it."""
        status = os.lstat(_parcel.file_path(self._directory, sha256))
        return status.st_uid == os.geteuid() and status.st_dev == os.stat(self._spot.home).st_dev

    def _place(self, file):
        if file["sha256"] in self._needed:
            return _parcel.file_path(self._directory, file["sha256"])
        return _lfs.object_path(self._spot.store, file["sha256"])

    def _blocks(self, file):
        with open(self._place(file), "rb") as stream:
            yield from iter(lambda: stream.read(1024 * 1024), b"")


def large(document, needed):
    """Those of needed (sha256 -> size) that the manifest (document) calls LFS objects."""
    return {file["sha256"]: file["size"] for file in document["files"] if file["lfs"] and file["sha256"] in needed}


def _head(place, limit):
    with open(place, "rb") as stream:
        return stream.read(limit)
