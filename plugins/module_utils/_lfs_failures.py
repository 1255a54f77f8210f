# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""What git-lfs says when a fetch fails, and the Problem behind it.

Private to the collection: breaking changes at any time.
"""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from ansible_collections.llmops.nim.plugins.module_utils import _hub
from ansible_collections.llmops.nim.plugins.module_utils._problem import Problem
from ansible_collections.llmops.nim.plugins.module_utils._signatures_hub import NO_CONTENT, OTHER_BYTES


def mismatched(text):
    """The oids (set) of which git-lfs says (text, its stderr) that the hub sent other bytes."""
    return set(re.findall(OTHER_BYTES, text))


def corrupt(oids, paths, evidence):
    """The Problem of objects (set of oids) that came with other bytes; paths: oid -> path."""
    return Problem(
        "The hub sends other bytes than the repository promises: " + _named(oids, paths) + ".",
        evidence,
        "Publish the file again. If other hosts get the right bytes, look for a proxy that alters downloads here.",
        "object_corrupt",
    )


def is_killed(text):
    """Whether git says (text) that git-lfs was ended by a signal."""
    return re.search(r"git-lfs died of signal \d+", text) is not None


def killed(text, token=None):
    """The Problem of a git-lfs that was killed, as git says it (text)."""
    return Problem(
        "git-lfs was killed.",
        _hub.redact(text, token),
        "Run again: what has come is kept. If nobody did it, look for want of memory (dmesg).",
        "killed",
    )


def _named(oids, paths):
    return ", ".join(f"{paths.get(oid, 'a file')} (sha256 {oid})" for oid in sorted(oids)[:10])


def explain(text, paths, endpoint, repo, commit, token=None):
    """The Problem behind the failure of a git-lfs fetch that said text; paths: oid -> path, for the messages."""
    wrong = mismatched(text)
    if wrong:
        return corrupt(wrong, paths, _hub.redact(text, token))
    gone = set(re.findall(NO_CONTENT, text))
    if gone:
        return Problem(
            "The hub does not have the content of " + _named(gone, paths) + ".",
            _hub.redact(text, token),
            "Publish the file again: only its pointer was pushed (git lfs push --all does both).",
            "object_missing",
        )
    if "no space left on device" in text.lower():
        return Problem("The disk is full.", _hub.redact(text, token), "Free space, then run again.", "disk_full")
    if is_killed(text):
        return killed(text, token)
    refused = re.search(r"(?:Authorization error|HTTP 403)\S*:? *(https?://\S+)", text)
    if refused and not refused[1].startswith(_hub.url(endpoint, repo)):
        return Problem(
            f"{urlsplit(refused[1]).netloc}, which stores the hub's files, refuses a download.",
            _hub.redact(text, token),
            "Run again: the hub signs a new address each time. If it stays, a firewall or proxy refuses it.",
            "storage_refused",
        )
    asked = re.search(r"could not read Username for '(https?://[^']+)'", text)
    if asked and urlsplit(asked[1]).netloc != urlsplit(endpoint).netloc:
        return Problem(
            f"The hub sends downloads on to {urlsplit(asked[1]).netloc}, which wants a login of its own.",
            _hub.redact(text, token),
            "The token is kept from other hosts. Give an endpoint that serves the files itself.",
            "storage_login",
        )
    return _hub.explain(text, endpoint, repo, commit, token)
