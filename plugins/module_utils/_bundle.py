# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""A bundle: all that releases are made of in one directory, for servers that reach neither hub nor registry.

Private to the collection: breaking changes at any time.

<directory>/bundle.json                            the manifest: what each wish means, and each file's size and sha256
<directory>/images/<hex>.tar                       an image as docker save writes it, by its id (the config's digest)
<directory>/weights/<org>--<repo>/<snapshot>/      a snapshot, as a parcel
<directory>/caches/<model>.tar                     the cache that NIM filled where it could reach NGC

The manifest is written last. Who receives a bundle believes none of it: it may come from anywhere.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import stat
from concurrent.futures import ThreadPoolExecutor

from ansible_collections.llmops.nim.plugins.module_utils import _files, _lfs
from ansible_collections.llmops.nim.plugins.module_utils._problem import Problem

MANIFEST = "bundle.json"
FORMAT = 1
_SHOWN = 10
_SHA256 = re.compile(r"[0-9a-f]{64}\Z")
_IMAGE_ID = re.compile(r"sha256:[0-9a-f]{64}\Z")
_PARCEL = r"weights/[\w.-]+--[\w.-]+/[0-9a-f]{40}(-[0-9a-f]{8})?"
_DIRECTORY = re.compile(rf"{_PARCEL}\Z", re.ASCII)
_FILE = re.compile(
    rf"(images/[0-9a-f]{{64}}\.tar|caches/[\w-][\w.-]*\.tar|{_PARCEL}/(manifest\.json|files/[0-9a-f]{{64}}))\Z",
    re.ASCII,
)
# What the entries of a manifest must have at least.
_SHAPES = {
    "images": {"reference": str, "id": str, "digest": str, "architecture": str, "bytes": int, "file": str},
    "weights": {"repo": str, "commit": str, "snapshot": str, "directory": str, "manifest_sha256": str},
    "caches": {"image": str, "file": str, "paths": list},
    "files": {"size": int, "sha256": str},
}


def image_file(identity):
    """Where the image with that id (C(sha256:…)) lies in a bundle."""
    return f"images/{identity.partition(':')[2]}.tar"


def cache_file(model):
    """Where the cache of the model called that lies in a bundle."""
    return f"caches/{model}.tar"


def parcel_directory(repo, snapshot):
    """Where the snapshot (its name) of a repository lies in a bundle."""
    return f"weights/{repo.replace('/', '--')}/{snapshot}"


# --- the manifest ---


def digest(document):
    """The sha256 (hex) that stands for a manifest (dict), its own digest left aside."""
    rest = {key: value for key, value in document.items() if key != "digest"}
    return hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()


def manifest(images, weights, caches, files):
    """The manifest (dict).

    images: by reference, weights: by C(repo@revision), caches: by model, files: by path in the bundle; each dict of
    dict, as _SHAPES says.
    """
    document = {"format": FORMAT, "images": images, "weights": weights, "caches": caches, "files": files}
    return dict(document, digest=digest(document))


def read(directory, wanted_digest=None):
    """The manifest (dict) of the bundle in a directory; raises Problem. Looks at no other file.

    wanted_digest: the digest (str) that it must have, if that is known.
    """
    path = os.path.join(directory, MANIFEST)
    if not os.path.isfile(path):
        raise Problem(
            "There is no bundle.",
            f"{path} is no file",
            "Give in nim_bundle the directory that playbooks/bundle.yml has made, copied whole.",
            "bundle_missing",
        )
    document = _files.read_json(path)
    seen = fault(document)
    if not seen and wanted_digest not in (None, "", document["digest"]):
        seen = f"its digest is {document['digest']}, wanted is {wanted_digest}"
    if seen:
        raise Problem(
            "The bundle's manifest is refused.", f"{path}: {seen}", "Make or copy the bundle anew.", "bundle_invalid"
        )
    return document


def fault(document):
    """What is wrong with a manifest of unknown origin (anything), or an empty str."""
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        return "it is no manifest of a bundle, or of a format that is not known"
    if document.get("digest") != digest(document):
        return "its digest is not that of what it says"
    for part, shape in _SHAPES.items():
        entries = document.get(part)
        if not isinstance(entries, dict):
            return f"it has no {part}"
        for name, entry in entries.items():
            if not isinstance(entry, dict) or any(not isinstance(entry.get(key), kind) for key, kind in shape.items()):
                return f"{part} says nothing of use about {ascii(name)[:200]}"
    faults = (_file_fault(name, file) for name, file in document["files"].items())
    return next(filter(None, faults), "") or _place_fault(document)


def _file_fault(name, file):
    if not _FILE.match(name):
        return f"{ascii(name)[:200]} is no place in a bundle"
    return "" if _SHA256.match(file["sha256"]) and file["size"] >= 0 else f"{name} has no sha256 or no size"


def _place_fault(document):
    """What is wrong with where the entries lie, or an empty str."""
    for one in document["images"].values():
        if (
            not _IMAGE_ID.match(one["id"])
            or one["file"] != image_file(one["id"])
            or one["file"] not in document["files"]
        ):
            return f"the image {ascii(one['reference'])[:200]} is not in it"
    for one in document["weights"].values():
        where = one["directory"]
        if not _DIRECTORY.match(where) or where != parcel_directory(one["repo"], one["snapshot"]):
            return f"{ascii(where)[:200]} is no place for a snapshot"
        if f"{where}/manifest.json" not in document["files"] or not one["snapshot"].startswith(one["commit"]):
            return f"the snapshot {ascii(one['snapshot'])[:200]} is not in it"
    for name, one in document["caches"].items():
        if one["file"] != cache_file(name) or one["file"] not in document["files"]:
            return f"the cache of {ascii(name)[:200]} is not in it"
        if not all(isinstance(path, str) for path in one["paths"]):
            return f"the cache of {ascii(name)[:200]} has a path that is none"
    return ""


def damage(directory, document, deep):
    """What is not as the manifest (document) says (list of Problem). deep: read all files, else compare sizes."""

    def seen(item):
        name, file = item
        path = os.path.join(directory, name)
        try:
            status = os.lstat(path)
        except OSError:
            return "missing"
        if not stat.S_ISREG(status.st_mode) or status.st_size != file["size"]:
            return "altered"
        return "altered" if deep and _lfs.sha256(path) != file["sha256"] else None

    with ThreadPoolExecutor(max_workers=min(4, os.cpu_count() or 1)) as pool:
        found = dict(zip(document["files"], pool.map(seen, document["files"].items())))
    told = (("missing", "The bundle lacks files."), ("altered", "Files of the bundle were altered."))
    problems = []
    for kind, what in told:
        names = sorted(name for name, one in found.items() if one == kind)
        if names:
            more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
            remedy = "Nothing was changed on any server. Copy them again from where the bundle was made."
            problems.append(Problem(what, ", ".join(names[:_SHOWN]) + more, remedy, f"bundle_{kind}"))
    return problems
