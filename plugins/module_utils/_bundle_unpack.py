# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""What a server lacks of a bundle, and from its files to images and caches.

Private to the collection: breaking changes at any time.
"""

from __future__ import annotations

import os
import platform

from ansible_collections.llmops.nim.plugins.module_utils import (
    _bundle,
    _bundle_wishes,
    _cache_archive,
    _host,
    _image_archive,
    _lfs,
    _links,
    _on_disk,
)
from ansible_collections.llmops.nim.plugins.module_utils._models import cache_dir
from ansible_collections.llmops.nim.plugins.module_utils._problem import Problem, Refused
from ansible_collections.llmops.nim.plugins.module_utils._registry import ARCHITECTURES


class Unpacking:
    """What of a bundle's manifest (document) a host is to have. wanted: the options (dict) of nim_bundle_unpack."""

    def __init__(self, wanted, document):
        self._wanted, self._document, self._directory = wanted, document, wanted["directory"]
        models = wanted["models"]
        self._images = {model["image"]: document["images"].get(model["image"]) for model in models}
        self._caches = {model["name"]: document["caches"].get(model["name"]) for model in models}
        revisions = {(model["weights"]["repo"], model["weights"]["revision"]) for model in models}
        self._weights = {pair: _bundle_wishes.snapshot_of(document, *pair) for pair in revisions}

    def look(self):
        """See what is lacking; raises Refused where it does not belong here or has no room."""
        self._check_held()
        there = {one.get("Id") for one in _image_archive.inspect(self._wanted["docker"], self._ids())}
        self.images = {one["id"]: one["file"] for one in self._images.values() if one["id"] not in there}
        self.caches = {name: one["file"] for name, one in self._caches.items() if one and self._lacks_cache(name, one)}
        needed = {*self.images.values(), *self.caches.values()}
        for one in self._weights.values():
            needed.update(self._files_of_parcel(one))
        self.needed = {name: self._document["files"][name] for name in sorted(needed)}
        self.missing = {name: file for name, file in self.needed.items() if not self._has_come(name, file["size"])}
        self._need_space()

    def _ids(self):
        return [one["id"] for one in self._images.values()]

    def _check_held(self):
        """Raise Refused where a wish is none of the bundle's, or an image is not for this machine."""
        machine = ARCHITECTURES.get(platform.machine(), platform.machine())
        problems = [
            Problem(
                f"The bundle does not hold {name}.",
                "its manifest does not name it",
                "Make a bundle with it where hub and registry are reached.",
                "bundle_other",
            )
            for name in [
                *(reference for reference, one in self._images.items() if one is None),
                *("@".join(pair) for pair, one in self._weights.items() if one is None),
            ]
        ]
        problems += [
            Problem(
                f"The bundle's {reference} is not for this server's architecture.",
                f"the server is {machine}, the image is made for {one['architecture']}",
                "Make a bundle on a host of this architecture.",
                "image_architecture",
            )
            for reference, one in self._images.items()
            if one and one["architecture"] != machine
        ]
        if problems:
            raise Refused(problems)

    def _cache(self, model):
        return cache_dir(model, self._wanted["home"])

    def _lacks_cache(self, model, entry):
        """Whether a model needs the bundle's cache: one of another image is of no use to it."""
        reference = next(one["image"] for one in self._wanted["models"] if one["name"] == model)
        same = entry["image"] == self._images[reference]["digest"]
        return same and bool(_cache_archive.missing(self._cache(model), entry["paths"]))

    def _files_of_parcel(self, entry):
        """The files of a parcel (set) that the snapshot is to be made of; none where it is there."""
        store, home = self._wanted["weights_dir"], entry["directory"] + "/"
        if _on_disk.is_published(store, entry["repo"], entry["snapshot"]):
            return set()
        files = {name: file for name, file in self._document["files"].items() if name.startswith(home)}
        return {
            name
            for name, file in files.items()
            if not _lfs.is_sealed(_lfs.object_path(store, file["sha256"]), file["size"])
        }

    def _has_come(self, name, size):
        path = os.path.join(self._directory, name)
        return not os.path.islink(path) and os.path.isfile(path) and os.path.getsize(path) == size

    def _need_space(self):
        """Raise Refused unless each disk has room for what has yet to come to it."""
        size = {name: file["size"] for name, file in self._document["files"].items()}
        to_come = [(self._directory, sum(size[name] for name in self.missing))]
        if self.images:
            to_come.append((self._docker_root(), sum(size[name] for name in self.images.values())))
        to_come += [(self._cache(model), size[name]) for model, name in self.caches.items()]
        disks = {}
        for directory, count in to_come:
            device = os.stat(_links.there(directory)).st_dev
            disks[device] = (directory, disks.get(device, (None, 0))[1] + count)
        problems = []
        for directory, count in disks.values():
            problems += _links.need_space(directory, count, self._wanted["reserve_bytes"]) if count else []
        if problems:
            raise Refused(problems)

    def _docker_root(self):
        done = _host.run([self._wanted["docker"], "info", "--format", "{{.DockerRootDir}}"])
        return done.out.strip() or "/var/lib/docker"

    def prove(self):
        """Raise Refused unless the files that images and caches are made of have come, and are what they should be."""
        files = {name: self.needed[name] for name in (*self.images.values(), *self.caches.values())}
        problems = _bundle.damage(self._directory, dict(self._document, files=files), deep=True)
        if problems:
            raise Refused(problems)
        for identity, name in self.images.items():
            found = _image_archive.config(os.path.join(self._directory, name))[0]
            if found != identity:
                raise Problem(
                    "The archive holds another image than the manifest says.",
                    f"{name}: {found}, wanted is {identity}",
                    "Make the bundle anew.",
                    "bundle_invalid",
                )
        for name in self.caches.values():
            _cache_archive.members(os.path.join(self._directory, name))

    def act(self):
        """Load the images and unpack the caches, which were proven."""
        for identity, name in self.images.items():
            _image_archive.load(self._wanted["docker"], os.path.join(self._directory, name), identity)
        for model, name in self.caches.items():
            _cache_archive.unpack(self._cache(model), os.path.join(self._directory, name))
