# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""A parcel: the form in which a snapshot travels between hosts.

Private to the collection: breaking changes at any time.

<directory>/manifest.json      the snapshot's manifest, as published
<directory>/files/<sha256>     each file of the snapshot once, named by its content

The manifest is written last. Who receives a parcel believes none of it: a parcel may come from anywhere.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import hashlib
import os
import re
import stat

from ansible_collections.llmops.nim.plugins.module_utils import _clone, _files, _lfs, _links, _snapshot
from ansible_collections.llmops.nim.plugins.module_utils._problem import Problem

MANIFEST, FILES = "manifest.json", "files"
_SHA256 = re.compile(r"[0-9a-f]{64}\Z")
_READ = 4 * 1024 * 1024
_SHOWN = 10


def file_path(directory, sha256):
    """Where the file with that content lies in the parcel."""
    return os.path.join(directory, FILES, sha256)


def contents(document):
    """sha256 -> size of what the manifest (document) names, each once."""
    return {file["sha256"]: file["size"] for file in document["files"]}


def is_whole(directory, document):
    """Whether the parcel is there, by sizes and seals, with nothing else in it."""
    return (
        _snapshot.read_manifest(os.path.join(directory, MANIFEST)) == document
        and not strangers(directory, document)
        and all(_lfs.is_sealed(file_path(directory, name), size) for name, size in contents(document).items())
    )


def proven(spot, deep):
    """The manifest (dict) of the snapshot at spot (Place), which is as it was published; raises Problem."""
    document, altered = _snapshot.look(spot)
    if document is None:
        raise Problem(
            "There is no such snapshot on this host.",
            f"{spot.path} or its manifest is missing",
            "Fetch it first (lfs_snapshot).",
            "snapshot_missing",
        )
    altered = altered or (_snapshot.rotten(spot.path, document["files"]) if deep else [])
    if altered:
        raise Problem(
            "The snapshot was altered.",
            f"in {spot.path}: " + ", ".join(altered[:10]),
            "Have it mended first (lfs_snapshot).",
            "snapshot_altered",
        )
    return document


def write(spot, document, directory):
    """Make a parcel of the snapshot at spot (Place) with that manifest; the sha256s (list) of files that are copies."""
    os.makedirs(os.path.join(directory, FILES), mode=0o750, exist_ok=True)
    manifest, found = os.path.join(directory, MANIFEST), strangers(directory, document)
    foreign = [path for path in found if path != file_path(directory, os.path.basename(path)) or not _is_ours(path)]
    if foreign:
        raise Problem(
            "The directory holds something else than a parcel.",
            _listed(foreign),
            "Give an empty directory, or one that does not exist.",
            "directory_in_use",
        )
    for path in [manifest, *found]:  # of an older parcel
        if os.path.lexists(path):
            os.remove(path)
    sources, copied = {file["sha256"]: file for file in document["files"]}, []
    for sha256, file in sorted(sources.items()):
        target = file_path(directory, sha256)
        if _lfs.is_sealed(target, file["size"]):
            continue
        if os.path.lexists(target):
            os.remove(target)
        if not _links.place(os.path.join(spot.path, file["path"]), target, sha256):
            copied.append(sha256)
    _snapshot.write_manifest(manifest, document)
    return copied


def _is_ours(path):
    return bool(_SHA256.match(os.path.basename(path))) and stat.S_ISREG(os.lstat(path).st_mode)


def strangers(directory, document):
    """The paths (sorted list) in the parcel that its manifest (document) does not account for."""
    files, known = os.path.join(directory, FILES), contents(document)
    found = [os.path.join(directory, name) for name in os.listdir(directory) if name not in (MANIFEST, FILES)]
    if os.path.islink(files) or os.path.exists(files) and not os.path.isdir(files):
        return sorted([*found, files])
    names = os.listdir(files) if os.path.isdir(files) else []
    return sorted(found + [os.path.join(files, name) for name in names if name not in known])


def read(directory, repo, commit, selection, manifest_sha256=None):
    """The manifest (dict) of the parcel of repo at commit, if it is one that can be published.

    selection: the patterns (dict) by which it must have been made. manifest_sha256: the digest that it must have, if
    known. Raises Problem. Looks at no file but the manifest.
    """
    path = os.path.join(directory, MANIFEST)
    if not os.path.isfile(path) or os.path.islink(path):
        raise Problem(
            "There is no parcel.", f"{path} is no file", "Copy the parcel to this host first.", "parcel_missing"
        )
    document = _files.read_json(path)
    seen = fault(document)
    if not seen and (document["repo"], document["commit"]) != (repo, commit):
        seen = f"it is of {document['repo']}@{document['commit']}, wanted is {repo}@{commit}"
    if not seen and document["selection"] != selection:
        seen = f"it was made with other patterns, {ascii(document['selection'])[:500]}"
    if not seen and manifest_sha256 not in (None, document["digest"]):
        seen = f"its digest is {document['digest']}, wanted is {manifest_sha256}"
    if seen:
        raise Problem("The parcel's manifest is refused.", f"{path}: {seen}", "Make the parcel anew.", "parcel_invalid")
    return document


def fault(document):
    """What is wrong with a manifest of unknown origin (anything), or an empty str."""
    kinds = {"repo": str, "commit": str, "files": list, "checkpoint": dict, "bytes_total": int, "selection": dict}
    if not isinstance(document, dict) or not all(isinstance(document.get(key), kinds[key]) for key in kinds):
        return "it is no manifest"
    paths, sizes = set(), {}
    for file in document["files"]:
        fault = _file_fault(file)
        if fault:
            return f"{fault}: {ascii(file)[:200]}"
        if file["path"] in paths or sizes.setdefault(file["sha256"], file["size"]) != file["size"]:
            return f"it contradicts itself about {ascii(file['path'])}"
        paths.add(file["path"])
    for path in paths:
        if any(path[:at] in paths for at, letter in enumerate(path) if letter == "/"):
            return f"a file stands where the directory of {ascii(path)} would be"
    if not _snapshot.is_whole(document) or document["bytes_total"] != sum(file["size"] for file in document["files"]):
        return "its digest is not that of its files"
    return ""


def _file_fault(file):
    if not isinstance(file, dict) or not isinstance(file.get("path"), str) or not isinstance(file.get("lfs"), bool):
        return "an entry is no file"
    if not isinstance(file.get("sha256"), str) or not _SHA256.match(file["sha256"]):
        return "an entry has no sha256"
    if not isinstance(file.get("size"), int) or isinstance(file["size"], bool) or file["size"] < 0:
        return "an entry has no size"
    try:
        fault = _clone.path_fault(file["path"].encode("utf-8"))
    except UnicodeEncodeError:
        fault = "a file name that is not UTF-8"
    return fault and f"it has {fault}"


def needed(store, document):
    """sha256 -> size of what has to come with the parcel: all but the large files that are proven in store already."""
    return {
        file["sha256"]: file["size"]
        for file in document["files"]
        if not (file["lfs"] and _lfs.is_sealed(_lfs.object_path(store, file["sha256"]), file["size"]))
    }


def absent(directory, wanted):
    """Those of wanted (sha256 -> size) that do not lie in the parcel, as plain files of that size."""

    def is_there(sha256, size):
        try:
            status = os.lstat(file_path(directory, sha256))
        except (FileNotFoundError, NotADirectoryError):
            return False
        return stat.S_ISREG(status.st_mode) and status.st_size == size

    return {sha256: size for sha256, size in wanted.items() if not is_there(sha256, size)}


def prove(directory, document, wanted):
    """The Problems (list) with the parcel as the way by which wanted (sha256 -> size) comes. Reads all of it.

    Returned with them are the sha256s (set) that would have to come again.
    """
    names, missing = {file["sha256"]: file["path"] for file in document["files"]}, absent(directory, wanted)
    there = sorted(set(wanted) - set(missing))
    with concurrent.futures.ThreadPoolExecutor(max_workers=min(4, os.cpu_count() or 1)) as pool:
        found = pool.map(lambda sha256: _sha256(file_path(directory, sha256)), there)
        wrong = [sha256 for sha256, digest in zip(there, found) if digest != sha256]
    told = (
        (strangers(directory, document), "The parcel holds what its manifest does not name.", "parcel_unexpected"),
        ([f"{names[one]} ({FILES}/{one})" for one in sorted(missing)], "The parcel lacks files.", "parcel_incomplete"),
        ([f"{names[one]} ({FILES}/{one})" for one in wrong], "Files of the parcel were altered.", "parcel_altered"),
    )
    problems = [
        Problem(what, _listed(seen), "Nothing was published. Make the parcel anew, or copy it again.", code)
        for seen, what, code in told
        if seen
    ]
    return problems, {*missing, *wrong}


def _sha256(path):
    """The sha256 of the plain file at path; None where it has become something else."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return None
    digest = hashlib.sha256()
    with open(descriptor, "rb", buffering=0) as stream:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            return None
        for block in iter(lambda: stream.read(_READ), b""):
            digest.update(block)
    return digest.hexdigest()


def _listed(words):
    return ", ".join(words[:_SHOWN]) + (f" and {len(words) - _SHOWN} more" if len(words) > _SHOWN else "")


def remove(directory, document):
    """Remove the parcel with that manifest (document), and nothing else that may lie in its directory."""
    for path in [os.path.join(directory, MANIFEST), *(file_path(directory, name) for name in contents(document))]:
        with contextlib.suppress(FileNotFoundError):
            os.remove(path)
    for path in (os.path.join(directory, FILES), directory):
        with contextlib.suppress(OSError):  # something else is in it
            os.rmdir(path)
