# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""What stands in for NGC: the small file that every command fetches into the cache first."""

from __future__ import annotations

import os
import tempfile

from .console import Refusal, log_download
from .contract import Generation
from .settings import Settings

# unverified: the published failures name the exception and these words, the whole line was never captured.
MANIFEST_ERROR = "ManifestDownloadError: Error downloading manifest: {}"


def fetch_metadata(settings: Settings, generation: Generation) -> None:
    """Fetch config.json of the model, or use the copy that is there.

    A key is needed to fetch. Without one, a filled cache is enough [documented: the air-gapped start, which must have
    no key]; a wrong one is refused in any case [unverified].
    """
    model = settings.cache / "ngc/hub" / f"models--nim--{generation.model.replace('/', '--')}"
    blob = model / "blobs" / generation.metadata["blob"]
    copy = model / "snapshots" / generation.metadata["snapshot"] / "config.json"
    try:
        settings.cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=settings.cache):
            pass
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
        if not isinstance(error, PermissionError) and error.errno != 30:  # 30: read-only file system
            raise
        reason = f"{error.strerror} (os error {error.errno})"
        raise Refusal(MANIFEST_ERROR.format(f"I/O error {reason}")) from error
    log_download("nim_hub_ngc", f'File: config.json found in cache: "{copy}"')
    log_download(
        "nim_hub_ngc::api::tokio::public",
        f'Skipping download, using cached copy of file: config.json at path: "{copy}"',
    )


def _configured() -> None:
    log_download(
        "nim_hub_ngc::api::tokio::builder",
        "ngc configured with api_loc: api.ngc.nvidia.com auth_loc: authn.nvidia.com scheme: https",
    )
