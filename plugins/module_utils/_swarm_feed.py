# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""What a seed offers so far, over HTTP, for those who know the secret of the run and come from its hosts.

Private to the collection: breaking changes at any time.

GET /offers/<version>     {"version", "manifest": what the snapshot is or will be, "whole": whether it is published,
                           "names"}, once there is another version; after some seconds in any case
GET /torrents/<sha256>    the torrent of one file
"""

from __future__ import annotations

import hmac
import http.client
import http.server
import json
import socket
import socketserver
import threading
import time

from ansible_collections.llmops.nim.plugins.module_utils import _swarm

_TIMEOUT = 15  # seconds, for each answer
WAIT = 5  # seconds that an answer is held back while there is nothing new
_PAUSE = 1  # second before asking again a seed that does not answer
_LIMIT = 64 * 1024**2  # bytes of an answer


class Feed:
    """Serves what a seed offers, from now until the process ends.

    asked: when somebody asked last, of time.monotonic(); None before the first.
    """

    def __init__(self, address, port, peers, secret):
        self.manifest, self.whole, self.torrents = None, False, {}
        self.asked = None
        self._version, self._changed = 0, threading.Condition()
        try:
            server = _Server(self, address, port, frozenset(peers), secret)
        except OSError as error:
            raise _swarm.cannot_listen(address, port, str(error)) from None
        threading.Thread(target=server.serve_forever, daemon=True).start()

    def tell(self, manifest, whole, torrents):
        """Offer more: what is to come or, if whole, has come (manifest), and the torrents (sha256 -> bytes) so far."""
        with self._changed:
            if (manifest, whole, len(torrents)) != (self.manifest, self.whole, len(self.torrents)):
                self.manifest, self.whole, self.torrents = manifest, whole, dict(torrents)
                self._version += 1
                self._changed.notify_all()

    def answer(self, path):
        """The bytes at path, or None."""
        self.asked = time.monotonic()
        _root, kind, name = (path.split("/") + ["", ""])[:3]
        if kind == "torrents":
            return self.torrents.get(name)
        return self._offers(name) if kind == "offers" else None

    def _offers(self, version):
        with self._changed:
            self._changed.wait_for(lambda: str(self._version) != version, timeout=WAIT)
            offers = {"manifest": self.manifest, "whole": self.whole, "names": sorted(self.torrents)}
            return json.dumps({"version": self._version, **offers}).encode()


class _Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
    daemon_threads = True
    request_queue_size = 512

    def __init__(self, feed, address, port, peers, secret):
        self.address_family = socket.AF_INET6 if ":" in address else socket.AF_INET
        self.feed, self._peers, self.secret = feed, peers, secret
        super().__init__((address, port), _Handler)

    def server_bind(self):  # HTTPServer's would ask for the name of the address
        socketserver.TCPServer.server_bind(self)

    def verify_request(self, request, client_address):
        return client_address[0] in self._peers

    def handle_error(self, request, client_address):
        pass  # whoever went away will ask again


class _Handler(http.server.BaseHTTPRequestHandler):
    timeout = _TIMEOUT

    def do_GET(self):
        given = self.headers.get("Authorization", "")
        known = hmac.compare_digest(given.encode(), f"Bearer {self.server.secret}".encode())
        body = self.server.feed.answer(self.path) if known else None
        self.send_response(200 if body is not None else 404)
        self.send_header("Content-Length", str(len(body or b"")))
        self.end_headers()
        self.wfile.write(body or b"")

    def log_message(self, format, *args):
        pass


class Reader:
    """Asks the seed at address and port from now on, until the process ends; latest: its offers (dict), or None.

    own: the address of this host, by which the seed knows it.
    """

    def __init__(self, address, port, secret, own):
        self._own = (own, 0)
        self._place, self._headers = (address, port), {"Authorization": f"Bearer {secret}"}
        self.latest, self._answered = None, None
        threading.Thread(target=self._ask, daemon=True).start()

    @property
    def silence(self):
        """How many seconds ago the seed has answered last; None if it never has."""
        return None if self._answered is None else time.monotonic() - self._answered

    def torrent(self, name):
        """The torrent (bytes) of a file, or None where the seed does not answer."""
        return self._get(f"/torrents/{name}")

    def _ask(self):
        while True:
            body = self._get(f"/offers/{self.latest['version'] if self.latest else ''}")
            if body:
                self.latest, self._answered = json.loads(body.decode("utf-8")), time.monotonic()
            else:
                time.sleep(_PAUSE)

    def _get(self, path):
        connection = http.client.HTTPConnection(*self._place, timeout=_TIMEOUT, source_address=self._own)
        try:
            connection.request("GET", path, headers=self._headers)
            reply = connection.getresponse()
            return reply.read(_LIMIT) if reply.status == 200 else None
        except (OSError, http.client.HTTPException):
            return None
        finally:
            connection.close()
