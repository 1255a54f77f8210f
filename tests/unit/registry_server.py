# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""A small container registry over HTTPS on 127.0.0.1, with Basic or Bearer authentication, as a peer for tests."""

from __future__ import annotations

import base64
import hashlib
import json
import ssl
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

KEY = "nvapi-good"
LOGIN = "Basic " + base64.b64encode(f"$oauthtoken:{KEY}".encode()).decode()
CURVE = ["-pkeyopt", "ec_paramgen_curve:prime256v1"]
TOKEN = "a-token-of-the-token-service"


def certificate(folder):
    """Makes a self-signed certificate for 127.0.0.1 in folder (Path); returns the paths of certificate and key."""
    crt, key = folder / "registry.crt", folder / "registry.key"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-nodes", *CURVE, "-days", "2", "-subj", "/CN=127.0.0.1"]
        + ["-addext", "subjectAltName=IP:127.0.0.1", "-out", str(crt), "-keyout", str(key)],
        check=True,
        capture_output=True,
    )
    return str(crt), str(key)


def blob(value):
    """The bytes of a JSON value, and their digest."""
    data = json.dumps(value).encode()
    return data, "sha256:" + hashlib.sha256(data).hexdigest()


class RegistryServer:
    """Serves the repository nim/meta/llama with tag 1.8.4; scheme is C(basic), C(bearer) or None for no login."""

    def __init__(self, folder, scheme, labels):
        self.scheme = scheme
        self.folder = folder
        self.seen = []
        config, config_digest = blob({"config": {"Labels": labels, "Env": ["A=b=c"]}})
        layers = [{"size": 700, "digest": "sha256:" + "1" * 64}, {"size": 300, "digest": "sha256:" + "2" * 64}]
        manifest, self.manifest_digest = blob({"config": {"digest": config_digest}, "layers": layers})
        entries = [
            {"digest": self.manifest_digest, "platform": {"os": "linux", "architecture": one}}
            for one in ("amd64", "arm64")
        ]
        index, self.index_digest = blob({"manifests": entries})
        alien = blob(
            {"manifests": [{"digest": "sha256:" + "3" * 64, "platform": {"os": "linux", "architecture": "s390x"}}]}
        )
        base = "/v2/nim/meta/llama/"
        self.answers = {
            base + "manifests/1.8.4": manifest,
            base + "manifests/index": index,
            base + "manifests/alien": alien[0],
            base + "manifests/" + self.manifest_digest: manifest,
            base + "blobs/" + config_digest: config,
        }

    def __enter__(self):
        handler = type("Handler", (_Handler,), {"registry": self})
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*certificate(self.folder))
        self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        self.host = f"127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *_exc):
        self.server.shutdown()
        self.server.server_close()


class _Handler(BaseHTTPRequestHandler):
    registry = None

    def log_message(self, *_args):
        pass

    def do_GET(self):
        registry, login = self.registry, self.headers.get("Authorization", "")
        registry.seen.append((self.path, login))
        path = self.path.partition("?")[0]
        if path == "/token":
            return self._answer(200, {"token": TOKEN}) if login == LOGIN else self._answer(401, {})
        wanted = {"basic": LOGIN, "bearer": "Bearer " + TOKEN, None: login}[registry.scheme]
        if login != wanted:
            realm = (
                f'Bearer realm="https://{registry.host}/token",service="s"' if registry.scheme == "bearer" else "Basic"
            )
            return self._answer(401, {}, {"WWW-Authenticate": realm})
        if path == "/v2/":
            return self._answer(200, {})
        if path.startswith("/v2/nim/meta/entitled"):
            return self._answer(403, {"errors": [{"code": "DENIED", "message": "no entitlement"}]})
        if path.startswith("/v2/nim/meta/sick"):
            return self._answer(503, {})
        if path not in registry.answers:
            return self._answer(404, {"errors": [{"code": "MANIFEST_UNKNOWN", "message": "manifest unknown"}]})
        return self._answer(200, registry.answers[path])

    def _answer(self, status, body, headers=None):
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)
