# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""The cache, and what stands in for NGC: the small file that every command fetches into the cache first."""

from __future__ import annotations

import errno
import os
import tempfile

from .console import Refusal, log_download
from .contract import Generation
from .settings import Settings

# unverified: the published failures name the exception and these words, the whole line was never captured.
MANIFEST_ERROR = "ManifestDownloadError: Error downloading manifest: {}"


def check_cache(settings: Settings, generation: Generation) -> None:
    """Is it writable for this process?"""
    group = generation.cache_group
    try:
        if group >= 0 and group not in (os.getegid(), *os.getgroups()):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        settings.cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=settings.cache):
            pass
    except OSError as error:
        raise _unusable(error) from error


def fetch_metadata(settings: Settings, generation: Generation) -> None:
    """Fetch config.json of the model, or use the copy that is there.

    A key is needed to fetch. Without one, a filled cache is enough [documented: the air-gapped start, which must have
    no key]; a wrong one is refused in any case [unverified].
    """
    check_cache(settings, generation)
    if not generation.metadata["snapshot"]:
        return
    model = settings.cache / "ngc/hub" / f"models--nim--{generation.model.replace('/', '--')}"
    blob = model / "blobs" / generation.metadata["blob"]
    copy = model / "snapshots" / generation.metadata["snapshot"] / "config.json"
    try:
        _configured()
        here = copy.is_file()
        wanted = settings.ngc_api_key or not here
        if wanted and not settings.ngc_api_key.startswith("nvapi-"):
            raise Refusal(MANIFEST_ERROR.format("Authentication Error"))
        if not here:
            blob.parent.mkdir(parents=True, exist_ok=True)
            blob.write_text("{}\n", encoding="utf-8")
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.symlink_to(os.path.relpath(blob, copy.parent))
            log_download("nim_hub_ngc::api::tokio", f'Downloaded filename: config.json to blob: "{blob}"')
            _configured()
    except OSError as error:
        raise _unusable(error) from error
    log_download("nim_hub_ngc", f'File: config.json found in cache: "{copy}"')
    log_download(
        "nim_hub_ngc::api::tokio::public",
        f'Skipping download, using cached copy of file: config.json at path: "{copy}"',
    )


def _unusable(error: OSError) -> Exception:
    """The refusal of a cache that can't be written; any other error as it is."""
    if error.errno not in (errno.EACCES, errno.EPERM, errno.EROFS):
        return error
    return Refusal(MANIFEST_ERROR.format(f"I/O error {error.strerror} (os error {error.errno})"))


def _configured() -> None:
    log_download(
        "nim_hub_ngc::api::tokio::builder",
        "ngc configured with api_loc: api.ngc.nvidia.com auth_loc: authn.nvidia.com scheme: https",
    )
