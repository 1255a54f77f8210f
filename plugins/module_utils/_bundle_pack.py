# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""From what a host has to a bundle of it.

Private to the collection: breaking changes at any time.
"""

from __future__ import annotations

import os
import shutil

from ansible_collections.llmops.nim.plugins.module_utils import (
    _bundle,
    _cache_archive,
    _files,
    _image_archive,
    _lfs,
    _links,
    _parcel,
    _snapshot,
)
from ansible_collections.llmops.nim.plugins.module_utils._models import cache_dir
from ansible_collections.llmops.nim.plugins.module_utils._problem import Problem, Refused

MANIFEST = _bundle.MANIFEST
_OURS = {MANIFEST, "images", "weights", "caches"}


class Packing:
    """One bundle on its way. wanted: the options (dict) of nim_bundle_pack."""

    def __init__(self, wanted):
        self._wanted, self._directory = wanted, wanted["directory"]
        self._images = {}  # by what pins it: what docker says of the image
        self._snapshots = {}  # by path: the manifest
        self.bytes = 0  # what will be written, as far as is known before

    def look(self):
        """See that all is there, whole, and has room; raises Refused."""
        problems = [*self._look_at_directory()]
        for model in self._wanted["models"]:
            for look in (self._look_at_image, self._look_at_weights, self._look_at_cache):
                try:
                    look(model)
                except Problem as problem:
                    problems.append(problem)
        problems = problems or _links.need_space(self._directory, self.bytes, self._wanted["reserve_bytes"])
        if problems:
            raise Refused(problems)

    def _look_at_directory(self):
        there = os.listdir(self._directory) if os.path.isdir(self._directory) else []
        strangers = sorted(set(there) - _OURS)
        if strangers:
            yield Problem(
                "The directory holds something else than a bundle.",
                f"{self._directory}: {', '.join(strangers[:10])}",
                "Give an empty directory, or one that does not exist.",
                "directory_in_use",
            )

    def _look_at_image(self, model):
        pinned = model["image"]["pinned"]
        if pinned in self._images:
            return
        found = _image_archive.inspect(self._wanted["docker"], [pinned])
        if not found:
            raise Problem(
                f"The image of {model['name']} is not on this host.",
                f"docker knows no {pinned}",
                "Deploy the model to this host first, and pack then.",
                "image_missing",
            )
        self._images[pinned] = found[0]
        self.bytes += found[0].get("Size") or 0

    def _look_at_weights(self, model):
        weights = model["weights"]
        spot = _snapshot.place(self._wanted["weights_dir"], weights["repo"], weights["snapshot"])
        if spot.path in self._snapshots:
            return
        document = _parcel.proven(spot, deep=True)
        self._snapshots[spot.path] = document
        if os.stat(_links.there(self._directory)).st_dev != os.stat(spot.path).st_dev:
            self.bytes += sum(_parcel.contents(document).values())

    def _look_at_cache(self, model):
        cache = cache_dir(model["name"], self._wanted["home"])
        if not self._wanted["caches"]:
            return
        if not os.path.isdir(cache):
            raise Problem(
                f"Model {model['name']} has no cache on this host.",
                f"{cache} is no directory",
                "Deploy the model to this host first, and pack then.",
                "cache_missing",
            )
        self.bytes += sum(status.st_size for status in _cache_archive.walk(cache, model["engine"]).values())

    def write(self):
        """Write the bundle in the place of one that is there; its manifest (dict)."""
        for name in _OURS:
            path = os.path.join(self._directory, name)
            if os.path.isdir(path) and not os.path.islink(path):
                shutil.rmtree(path)
            elif os.path.lexists(path):
                os.remove(path)
        images, weights, caches, files = {}, {}, {}, {}
        for model in self._wanted["models"]:
            image, wish = model["image"], model["weights"]
            images[image["reference"]] = self._image(image, files)
            weights[f"{wish['repo']}@{wish['revision']}"] = self._parcel(wish, model["checkpoint"], files)
            if self._wanted["caches"]:
                caches[model["name"]] = self._cache(model, files)
        document = _bundle.manifest(images, weights, caches, files)
        _files.write_json(os.path.join(self._directory, MANIFEST), document)
        _files.lend(self._directory)
        return document

    def _image(self, image, files):
        found = self._images[image["pinned"]]
        name = _bundle.image_file(found["Id"])
        if name not in files:
            with self._new(name) as stream:
                archive = _image_archive.save(self._wanted["docker"], found["Id"], stream)
            self._prove_id(name, found["Id"])
            files[name] = {"sha256": archive.sha256, "size": archive.bytes}
        return {
            "reference": image["reference"],
            "id": found["Id"],
            "digest": image["digest"],
            "architecture": found.get("Architecture") or "",
            "bytes": image["bytes"],
            "nim_version": image["nim_version"],
            "nim_model": image["nim_model"],
            "file": name,
        }

    def _prove_id(self, name, identity):
        """The id must be the config's digest, or no other Docker would know the image by it."""
        found = _image_archive.config(os.path.join(self._directory, name))[0]
        if found != identity:
            raise Problem(
                "This Docker names images by something else than their config.",
                f"it calls the image {identity}, its config is {found}",
                "Pack on a host whose Docker does not use the containerd image store.",
                "image_id_unknown",
            )

    def _parcel(self, wish, checkpoint, files):
        spot = _snapshot.place(self._wanted["weights_dir"], wish["repo"], wish["snapshot"])
        document = self._snapshots[spot.path]
        name = _bundle.parcel_directory(wish["repo"], wish["snapshot"])
        directory = os.path.join(self._directory, name)
        if f"{name}/{_parcel.MANIFEST}" not in files:
            _parcel.write(spot, document, directory)
            for sha256, size in _parcel.contents(document).items():
                files[f"{name}/{_parcel.FILES}/{sha256}"] = {"sha256": sha256, "size": size}
            manifest = os.path.join(directory, _parcel.MANIFEST)
            size = os.path.getsize(manifest)
            files[f"{name}/{_parcel.MANIFEST}"] = {"sha256": _lfs.sha256(manifest), "size": size}
        return {
            "repo": wish["repo"],
            "commit": wish["commit"],
            "snapshot": wish["snapshot"],
            "directory": name,
            "manifest_sha256": document["digest"],
            "checkpoint": checkpoint,
        }

    def _cache(self, model, files):
        name = _bundle.cache_file(model["name"])
        with self._new(name) as stream:
            archive, paths = _cache_archive.pack(
                cache_dir(model["name"], self._wanted["home"]), model["engine"], stream
            )
        files[name] = {"sha256": archive.sha256, "size": archive.bytes}
        return {"image": model["image"]["digest"], "engine": model["engine"], "file": name, "paths": paths}

    def _new(self, name):
        """A new file of the bundle, open for writing, that only who logged in may read."""
        path = os.path.join(self._directory, name)
        os.makedirs(os.path.dirname(path), mode=0o755, exist_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        os.fchown(descriptor, *_files.reader())
        return open(descriptor, "wb")
