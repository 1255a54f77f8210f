# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""C(git ls-remote) for hosts where git is not installed yet: the same request, by Python alone.

Private to the collection: breaking changes at any time.

The answer is the reference discovery of git's smart HTTP protocol, version 0 (gitprotocol-http, gitprotocol-pack).
"""

from __future__ import annotations

import base64
import urllib.error
import urllib.request
from urllib.parse import urlsplit


class _SameHost(urllib.request.HTTPRedirectHandler):
    """Follows redirects on one host only: urllib would carry the token to the next."""

    def redirect_request(self, req, fp, code, msg, headers, newurl):
        here, there = urlsplit(req.full_url), urlsplit(newurl)
        if (here.scheme, here.netloc) != (there.scheme, there.netloc):
            return None
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def ls_remote(url, token=None, timeout=30):
    """The references of the repository at url: (rc, stdout, stderr) as git ls-remote would give them."""
    request = urllib.request.Request(url + "/info/refs?service=git-upload-pack")
    if token:
        login = base64.b64encode(f"hf_user:{token}".encode()).decode()
        request.add_header("Authorization", "Basic " + login)
    try:
        with urllib.request.build_opener(_SameHost).open(request, timeout=timeout) as reply:
            kind, body = reply.headers.get_content_type(), reply.read()
    except urllib.error.HTTPError as error:
        said = error.read(2000).decode("utf-8", "replace") if error.headers.get_content_type() == "text/plain" else ""
        return 128, "", f"{said}\nThe requested URL returned error: {error.code}"
    except (OSError, ValueError) as error:
        return 128, "", str(getattr(error, "reason", error))
    if kind != "application/x-git-upload-pack-advertisement":
        return 128, "", f"the answer is {kind}, not git's list of references"
    return 0, parse(body), ""


def parse(advertisement):
    """The references (bytes of git-upload-pack-advertisement) as lines "commit<tab>name"."""
    lines, at = [], 0
    while at + 4 <= len(advertisement):
        length = int(advertisement[at : at + 4], 16)
        line = advertisement[at + 4 : at + max(length, 4)]
        at += max(length, 4)
        # The first reference is followed by the server's capabilities; an empty repository has only those.
        line = line.split(b"\0")[0].rstrip(b"\n").decode("utf-8", "replace")
        commit, _space, name = line.partition(" ")
        if len(commit) == 40 and name != "capabilities^{}":
            lines.append(f"{commit}\t{name}\n")
    return "".join(lines)
