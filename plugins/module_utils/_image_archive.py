# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""An image as a file: written by docker save, proven by its own config, read by docker load.

An image's id is the sha256 of its config, and the config names the sha256 of each layer unpacked, which Docker compares
while it loads. So an archive whose config is right gives the right image or none.

Private to the collection: breaking changes at any time.
"""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import tarfile

from ansible_collections.llmops.nim.plugins.module_utils import _engine_archive, _host, _host_docker
from ansible_collections.llmops.nim.plugins.module_utils._problem import Problem

_BLOCK = 1024**2
_LOAD_SECONDS = 7200
# As docker save names the config, before and since it writes OCI layouts.
_CONFIG = re.compile(r"(?:blobs/sha256/)?([0-9a-f]{64})(?:\.json)?\Z")


def inspect(docker, references):
    """What C(docker image inspect) says of those of references (iterable of str) that are there (list of dict)."""
    wanted = sorted(set(references))
    if not wanted:
        return []
    return _host_docker.json_lines(_host.run([docker, "image", "inspect", "--format", "{{json .}}", *wanted]).out)


def save(docker, identity, stream):
    """Write the image with that id to an open file; the Archive. Raises Problem."""
    sink = _engine_archive.Sink(stream)
    with subprocess.Popen(
        [docker, "image", "save", identity], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        for block in iter(lambda: process.stdout.read(_BLOCK), b""):
            sink.write(block)
        said = process.stderr.read().decode("utf-8", "replace").strip()
    if process.returncode:
        raise Problem("The image could not be saved.", said[:1000], "Mend what Docker complains of.", "image_not_saved")
    return sink.archive()


def config(path):
    """The id (str C(sha256:…)) and the config (dict) of the image in the archive at path; raises Problem."""
    try:
        with tarfile.open(path, "r:") as archive:
            entries = json.loads(archive.extractfile("manifest.json").read())
            name = entries[0]["Config"]
            content = archive.extractfile(name).read()
        found = hashlib.sha256(content).hexdigest()
        if len(entries) != 1 or _CONFIG.match(name)[1] != found:
            raise ValueError(f"{len(entries)} images; the config {name} has the sha256 {found}")
        return f"sha256:{found}", json.loads(content)
    except (tarfile.TarError, ValueError, KeyError, IndexError, TypeError, AttributeError) as error:
        raise Problem(
            "The archive is not one image, whole and as Docker saves it.",
            f"{path}: {error}",
            "Make the bundle anew.",
            "image_archive_invalid",
        ) from error


def load(docker, path, identity):
    """Have the image with that id on the host, from the archive at path; raises Problem."""
    done = _host.run([docker, "image", "load", "--quiet", "--input", path], _LOAD_SECONDS)
    if done.rc:
        raise Problem(
            "Docker could not load the image.",
            done.err.strip()[:1000],
            "Mend what it complains of.",
            "image_not_loaded",
        )
    if not inspect(docker, [identity]):
        raise Problem(
            "Docker has loaded the image, and does not know it by its id.",
            f"{identity} is unknown; docker image load said {done.out.strip()[:300]}",
            "This Docker names images by something else than their config, as the containerd image store does: switch "
            'that off ("features": {"containerd-snapshotter": false} in /etc/docker/daemon.json).',
            "image_id_unknown",
        )
