# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""The files of a repository, as far as a look is worth it: their names and sizes, and parts of them, over HTTP.

Private to the collection: breaking changes at any time.

The hub's API lists the files; /resolve/ gives them, often with a redirect to a content network and an address that is
signed. The token goes to the hub's own address only. Proxies and authorities are those of the environment (https_proxy,
SSL_CERT_FILE).
"""

from __future__ import annotations

import email.utils
import http.client
import json
import re
import ssl
import time
import urllib.error
import urllib.request
from urllib.parse import quote, urljoin, urlsplit

from ansible_collections.llmops.nim.plugins.module_utils import _hub
from ansible_collections.llmops.nim.plugins.module_utils._problem import Problem

TIMEOUT = 30  # seconds, for each answer
ATTEMPTS = 4
LONGEST_WAIT = 30  # seconds; a hub that asks for a longer one is told as busy
TEXT_LIMIT = 64 * 1024 * 1024  # bytes of a JSON file
_PAGES = 500
_REDIRECTS = 5
_PASSING = (408, 429, 500, 502, 503, 504)
_MOVED = (301, 302, 303, 307, 308)


class NoApi(Exception):
    """The hub has no API that lists files; git may work all the same."""


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """Redirects are followed by hand: urllib would carry the token along."""

    def redirect_request(self, req, fp, code, msg, headers, newurl):
        return None


class HubFiles:
    """The files of repo at commit (40 hex digits), on the hub at endpoint. All methods raise Problem."""

    def __init__(self, endpoint, repo, commit, token=None, timeout=TIMEOUT):
        self._hub = (endpoint, repo, commit, token)
        self._base, self._repo, self._commit = endpoint.rstrip("/"), repo, commit
        self._token, self._timeout = token, timeout
        self._opener = urllib.request.build_opener(
            urllib.request.HTTPSHandler(context=ssl.create_default_context()), _NoRedirects()
        )

    def sizes(self):
        """path -> size in bytes of all files; raises NoApi as well."""
        url, found = f"{self._base}/api/models/{self._repo}/tree/{self._commit}?recursive=true", {}
        for _page in range(_PAGES):
            headers, body = self._get(url, TEXT_LIMIT)
            found.update(self._entries(url, body))
            following = re.search(r'<([^>]+)>;\s*rel="?next"?', headers.get("Link") or "")
            if not following:
                return found
            url = urljoin(url, following[1])
        raise self._odd(url, f"its list of files does not end after {_PAGES} pages")

    def _entries(self, url, body):
        try:
            return {
                entry["path"]: int((entry.get("lfs") or entry)["size"])
                for entry in json.loads(body.decode("utf-8"))
                if entry["type"] == "file"
            }
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            raise self._odd(url, f"it begins with {body[:80]!r}") from None

    def text(self, path):
        """The whole file (bytes) at path; at most TEXT_LIMIT."""
        body = self._get(self._address(path), TEXT_LIMIT + 1)[1]
        if len(body) > TEXT_LIMIT:
            raise Problem(
                f"{path} is too large to be what its name says.",
                f"more than {TEXT_LIMIT} bytes",
                "Publish the file again.",
                "file_too_large",
            )
        return body

    def part(self, path, start, end):
        """The bytes [start, end) of the file at path; fewer where it ends before."""
        headers, body = self._get(self._address(path), end, {"Range": f"bytes={start}-{end - 1}"})
        # A server that does not know ranges sends the file from its beginning.
        return (body if headers.get("Content-Range") else body[start:])[: end - start]

    def wait_asked(self, url):
        """How many seconds whoever answers at url wants to be left alone (int); None where nothing is said of it."""
        try:
            self._follow(url, 1, {"Range": "bytes=0-0"})
        except urllib.error.HTTPError as error:
            with error:
                return _seconds(error.headers.get("Retry-After")) if error.code in _PASSING else None
        except (Problem, OSError, ValueError, http.client.HTTPException):
            pass
        return None

    def _address(self, path):
        return f"{self._base}/{self._repo}/resolve/{self._commit}/{quote(path)}"

    def _get(self, url, limit, headers=None):
        """The headers and the first limit bytes of what is at url, however often it takes."""
        for attempt in range(1, ATTEMPTS + 1):
            try:
                return self._follow(url, limit, headers or {})
            except urllib.error.HTTPError as error:
                with error:
                    wait, problem = self._refusal(error, url)
            except (OSError, http.client.HTTPException) as error:
                wait, problem = self._broken(error, url, attempt)
            if wait is None or wait > LONGEST_WAIT or attempt == ATTEMPTS:
                raise problem
            time.sleep(wait)
        raise AssertionError("the last attempt returns or raises")

    def _broken(self, error, url, attempt):
        """As _refusal(), for a connection that could not be made, or broke: that is tried once more."""
        problem = _hub.explain(f"{url}: {getattr(error, 'reason', None) or error or repr(error)}", *self._hub)
        if problem.code == _hub.UNKNOWN:
            what = f"The connection to {self._base} broke."
            problem = Problem(what, problem.evidence, "Run again later.", "hub_unreachable")
        return (0.5 if attempt == 1 and problem.code != "hub_tls" else None), problem

    def _refusal(self, error, url):
        """How many seconds to wait before asking again (None: do not), and the Problem; raises NoApi."""
        said, code = error.headers.get("X-Error-Code", ""), error.code
        if code == 404 and not said and url.startswith(f"{self._base}/api/"):
            raise NoApi(f"HTTP 404 for {url}") from None
        words = error.read(2000).decode("utf-8", "replace")
        if error.headers.get_content_type() == "text/html":
            words = ""
        words = f"{error.headers.get('X-Error-Message') or words}\n{url}: HTTP {code}"
        problem = _hub.explain(f"{'not our ref' if said == 'RevisionNotFound' else ''}\n{words}", *self._hub)
        if code not in _PASSING:
            return None, problem
        asked = _seconds(error.headers.get("Retry-After"))
        return 1 if asked is None else asked, problem

    def _follow(self, url, limit, headers):
        """As _get(), once, and wherever the redirects lead."""
        for _hop in range(_REDIRECTS + 1):
            onward = url
            request = urllib.request.Request(url, headers={"Accept-Encoding": "identity", **headers})
            if self._token and _origin(url) == _origin(self._base):
                request.add_unredirected_header("Authorization", f"Bearer {self._token}")
            try:
                with self._opener.open(request, timeout=self._timeout) as reply:
                    return reply.headers, _read(reply, limit)
            except urllib.error.HTTPError as error:
                if error.code not in _MOVED or not error.headers.get("Location"):
                    raise
                with error:
                    onward = urljoin(url, error.headers["Location"])
            if urlsplit(onward).scheme != "https" and urlsplit(url).scheme == "https" or _strange(onward):
                raise self._odd(url, f"it redirects to {_hub.redact(onward, self._token)}, which is no https address")
            url = onward
        raise self._odd(url, f"it redirects more than {_REDIRECTS} times")

    def _odd(self, url, seen):
        return Problem(
            f"{self._base} does not answer as a hub does.",
            _hub.redact(f"{url}: {seen}", self._token),
            "Check that the endpoint is the address of a Hugging Face hub or of a mirror that is like it.",
            "hub_odd",
        )


def _read(reply, limit):
    """At most limit bytes of reply; raises IncompleteRead where the connection broke before its end."""
    blocks, left = [], limit
    while left:
        block = reply.read(min(left, 1024 * 1024))
        if not block:
            break
        blocks.append(block)
        left -= len(block)
    if left and reply.length:
        raise http.client.IncompleteRead(b"".join(blocks), reply.length)
    return b"".join(blocks)


def _seconds(text):
    """The wait (int) that a Retry-After header (str or None) asks for, in seconds or as a date; None if none."""
    if text and text.strip().isdecimal():
        return int(text)
    try:
        moment = email.utils.parsedate_to_datetime(text)
    except (TypeError, ValueError, IndexError):
        return None
    return max(0, round(moment.timestamp() - time.time()))


def _origin(url):
    parts = urlsplit(url)
    return parts.scheme, parts.netloc.lower()


def _strange(url):
    """Whether the address is for another protocol than HTTP: urllib would also open files."""
    return urlsplit(url).scheme not in ("http", "https")
