# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""The lab's hub: git over HTTPS, the LFS batch API and gated repositories, under the Hugging Face hub's paths.

git itself is git's own http-backend. The HTTP API lists a commit's files (/api/models/<repo>/tree/<commit>) and gives
them (/<repo>/resolve/<commit>/<path>), those in LFS by a redirect to a signed address. Tokens come as the password of
basic auth, whatever the user, or as a bearer.
FAULTS, a JSON file read when it is needed, makes it misbehave: {"cut_after": BYTES} ends each LFS download's connection
there; {"hold_after": BYTES} holds it there until the file says otherwise; {"status": 429, "retry_after": SECONDS}
refuses it; {"signed_for": SECONDS} is how long the address of a download is good. Without the file it behaves.
"""

import base64
import gzip
import hashlib
import hmac
import json
import os
import re
import secrets
import select
import shutil
import ssl
import subprocess
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

import proxy
from seed import seed

ROOT = Path("/srv/hub")
WEIGHTS = Path("/srv/weights")
IDENTITY = Path("/etc/nim-lab/identity")
FAULTS = Path("/srv/faults.json")
SITE = "https://hub.lab"

# Token: whether its owner is on the authorized list of the gated repositories. Rehearsal values, no secrets.
TOKENS = {"hf_lab_reader": True, "hf_lab_outsider": False}
GATED = {"lab/Llama-3.2-1B-gated", "lab/Llama-3.2-1B-capitals-chat"}

REPOSITORY = re.compile(r"/(?P<name>[\w.-]+/[\w.-]+?)(?:\.git)?/(?P<path>info/.+|git-(?:upload|receive)-pack|HEAD)")
API = re.compile(
    r"/(?:api/models/(?P<listed>[\w.-]+/[\w.-]+)/tree|(?P<given>[\w.-]+/[\w.-]+)/resolve)"
    r"/(?P<commit>[0-9a-f]{40})(?:/(?P<path>.+))?"
)
POINTER = re.compile(rb"version https://git-lfs[^\n]+\noid sha256:([0-9a-f]{64})\nsize (\d+)\n")
DOWNLOAD = re.compile(r"/lfs/(?P<name>[\w.-]+/[\w.-]+)/(?P<oid>[0-9a-f]{64})")
LFS_JSON = "application/vnd.git-lfs+json"
SIGNING_KEY = secrets.token_bytes(32)
SIGNED_FOR_SECONDS = 3600


class Refused(Exception):
    def __init__(self, status, message, code="", **headers):
        super().__init__(message)
        self.status = status
        self.headers = {**({"X-Error-Code": code, "X-Error-Message": message} if code else {}), **headers}


def faults():
    return json.loads(FAULTS.read_text()) if FAULTS.exists() else {}


def signature(name, oid, expires):
    return hmac.new(SIGNING_KEY, f"{name}/{oid}/{expires}".encode(), hashlib.sha256).hexdigest()


def signed(name, oid):
    """The address at which the object can be had for a while, without a token."""
    expires = int(time.time()) + faults().get("signed_for", SIGNED_FOR_SECONDS)
    return f"{SITE}/lfs/{name}/{oid}?expires={expires}&signature={signature(name, oid, expires)}"


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version = "nim-lab-hub"
    timeout = 60
    disable_nagle_algorithm = True

    # The log: one line a request, with the bytes sent and without the query, where signatures stand.
    sent = 0

    def log_request(self, code="-", size="-"):
        self.status = int(code)

    def log_message(self, format, *args):
        pass

    def handle_one_request(self):
        self.status, self.sent, self.path = 0, 0, ""
        try:
            super().handle_one_request()
        finally:
            if self.path:
                # Named, since Python 3.11 may crash when sys.stdout is replaced while a thread prints to it unnamed.
                print(self.command, urlsplit(self.path).path, self.status, self.sent, file=sys.stdout, flush=True)

    def write(self, data):
        self.wfile.write(data)
        self.sent += len(data)

    def reply(self, status, body=b"", content_type="text/plain; charset=utf-8", **headers):
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        for key, value in headers.items():
            self.send_header(key.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.write(body)

    def do_GET(self):
        self.answer()

    do_HEAD = do_POST = do_GET

    def answer(self):
        # Always read, so that the connection can serve the next request.
        body = self.body()
        try:
            self.route(body)
        except Refused as refused:
            if self.headers.get("Accept", "").startswith(LFS_JSON):
                text, kind = json.dumps({"message": str(refused)}).encode(), LFS_JSON
            else:
                text, kind = str(refused).encode(), "text/plain; charset=utf-8"
            headers = dict(refused.headers)
            if refused.status == 401:
                headers["WWW-Authenticate"] = 'Basic realm="Authentication required", charset="UTF-8"'
            self.reply(refused.status, text, kind, **headers)

    def body(self):
        if self.headers.get("Transfer-Encoding", "").lower() == "chunked":
            chunks = []
            while size := int(self.rfile.readline().split(b";")[0], 16):
                chunks.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            data = b"".join(chunks)
        else:
            data = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        return gzip.decompress(data) if self.headers.get("Content-Encoding") == "gzip" else data

    def token(self):
        """The request's token, or None; one that the hub has not given out is refused."""
        scheme, _space, value = self.headers.get("Authorization", "").partition(" ")
        if scheme.lower() == "basic":
            value = base64.b64decode(value).decode().partition(":")[2]
        value = value.strip()
        if value and value not in TOKENS:
            raise Refused(401, "Invalid username or password.")
        return value or None

    def repository(self, name):
        """The bare repository called name, if the requester may read it."""
        token = self.token()
        path = ROOT / (name + ".git")
        if not path.is_dir():
            # As at Hugging Face, strangers don't learn which repositories exist.
            if token is None:
                raise Refused(401, "Invalid username or password.", "RepoNotFound")
            raise Refused(404, "Repository not found", "RepoNotFound")
        if name in GATED and token is None:
            raise Refused(
                401,
                f"Access to model {name} is restricted. You must have access to it and be authenticated "
                "to access it. Please log in.",
                "GatedRepo",
            )
        if name in GATED and not TOKENS[token]:
            raise Refused(
                403,
                f"Access to model {name} is restricted and you are not in the authorized list. "
                f"Visit {SITE}/{name} to ask for access.",
                "GatedRepo",
            )
        return path

    def route(self, body):
        url = urlsplit(self.path)
        if url.path == "/":
            return self.reply(200, b"The lab's hub\n")
        if match := DOWNLOAD.fullmatch(url.path):
            return self.download(match["name"], match["oid"], parse_qs(url.query))
        if match := API.fullmatch(url.path):
            files = self.files(self.repository(match["listed"] or match["given"]), match["commit"])
            return (
                self.tree(files)
                if match["listed"]
                else self.resolve(match["given"], files, unquote(match["path"] or ""))
            )
        match = REPOSITORY.fullmatch(url.path)
        if not match:
            raise Refused(404, "Not found")
        repository = self.repository(match["name"])
        if match["path"] == "info/lfs/objects/batch":
            return self.batch(match["name"], repository, body)
        if match["path"].startswith("info/lfs/"):
            raise Refused(404, "Not found")
        return self.git(repository, match["path"], url.query, body)

    def git(self, repository, path, query, body):
        environ = {
            "PATH": os.environ["PATH"],
            "GIT_PROJECT_ROOT": str(ROOT),
            "GIT_HTTP_EXPORT_ALL": "1",
            "GIT_PROTOCOL": self.headers.get("Git-Protocol", ""),
            "PATH_INFO": f"/{repository.relative_to(ROOT)}/{path}",
            "QUERY_STRING": query,
            "REQUEST_METHOD": self.command,
            "CONTENT_TYPE": self.headers.get("Content-Type", ""),
            "CONTENT_LENGTH": str(len(body)),
            "REMOTE_ADDR": self.client_address[0],
        }
        done = subprocess.run(["git", "http-backend"], input=body, env=environ, stdout=subprocess.PIPE, check=False)
        head, _blank, content = done.stdout.partition(b"\r\n\r\n")
        fields = dict(line.split(": ", 1) for line in head.decode().split("\r\n") if ": " in line)
        status = int(fields.pop("Status", "200").split()[0])
        self.reply(status, content, fields.pop("Content-Type", "text/plain"), **fields)

    def files(self, repository, commit):
        """path -> (content, its id, None or its pointer as a match) of the commit's files."""
        git = ["git", "-C", str(repository)]
        listing = subprocess.run([*git, "ls-tree", "-r", "-z", commit], capture_output=True, check=False)
        if listing.returncode:
            raise Refused(404, f"Invalid rev id: {commit}", "RevisionNotFound")
        found = {}
        for line in listing.stdout.decode().split("\0")[:-1]:
            meta, _tab, path = line.partition("\t")
            oid = meta.split()[2]
            blob = subprocess.run([*git, "cat-file", "blob", oid], stdout=subprocess.PIPE, check=True).stdout
            pointer = POINTER.fullmatch(blob)
            if pointer and not (repository / "lfs" / pointer[1].decode()).is_file():
                pointer = None  # the text of a pointer, which nobody handed to LFS
            found[path] = blob, oid, pointer
        return found

    def tree(self, files):
        entries = []
        for path, (blob, oid, pointer) in files.items():
            entry = {"type": "file", "oid": oid, "size": len(blob), "path": path}
            if pointer:
                entry["size"] = int(pointer[2])
                entry["lfs"] = {"oid": pointer[1].decode(), "size": int(pointer[2]), "pointerSize": len(blob)}
            entries.append(entry)
        self.reply(200, json.dumps(entries).encode(), "application/json; charset=utf-8")

    def resolve(self, name, files, path):
        if path not in files:
            raise Refused(404, "Entry not found", "EntryNotFound")
        blob, oid, pointer = files[path]
        if pointer:
            return self.reply(302, Location=signed(name, pointer[1].decode()))
        start, end = self.byte_range(len(blob))
        headers = {"ETag": f'"{oid}"', "Accept_Ranges": "bytes"}
        if "Range" in self.headers:
            headers["Content_Range"] = f"bytes {start}-{end - 1}/{len(blob)}"
        return self.reply(206 if "Range" in self.headers else 200, blob[start:end], **headers)

    def batch(self, name, repository, body):
        request = json.loads(body)
        if request.get("operation") != "download":
            raise Refused(403, "This hub is read-only")
        objects = []
        for wanted in request["objects"]:
            oid, entry = str(wanted["oid"]), dict(wanted)
            stored = repository / "lfs" / oid
            if re.fullmatch("[0-9a-f]{64}", oid) and stored.is_file():
                entry["size"] = stored.stat().st_size
                entry["authenticated"] = True
                entry["actions"] = {"download": {"href": signed(name, oid), "expires_in": SIGNED_FOR_SECONDS}}
            else:
                entry["error"] = {"code": 404, "message": "Object does not exist on the server"}
            objects.append(entry)
        self.reply(200, json.dumps({"transfer": "basic", "hash_algo": "sha256", "objects": objects}).encode(), LFS_JSON)

    def download(self, name, oid, query):
        expires = query.get("expires", ["0"])[0]
        given = query.get("signature", [""])[0]
        if not hmac.compare_digest(given, signature(name, oid, expires)) or int(expires) <= time.time():
            raise Refused(403, "The signature of this URL is wrong or has expired")
        wrong = faults()
        if "status" in wrong:
            raise Refused(wrong["status"], "Slow down", Retry_After=str(wrong.get("retry_after", 1)))
        path = ROOT / (name + ".git") / "lfs" / oid
        size = path.stat().st_size
        start, end = self.byte_range(size)
        self.send_response(206 if "Range" in self.headers else 200)
        self.send_header("Content-Type", "application/octet-stream")
        self.send_header("Content-Length", str(end - start))
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("ETag", f'"{oid}"')
        if "Range" in self.headers:
            self.send_header("Content-Range", f"bytes {start}-{end - 1}/{size}")
        self.end_headers()
        if self.command == "HEAD":
            return
        left = min(end - start, wrong.get("cut_after", size))
        self.close_connection = left < end - start
        first = min(left, wrong.get("hold_after", left))
        with path.open("rb") as file:
            file.seek(start)
            for part in (first, left - first):
                while part > 0:
                    data = file.read(min(part, 1 << 20))
                    self.write(data)
                    part -= len(data)
                while first < left and "hold_after" in faults():
                    if self.is_left_alone():
                        raise ConnectionResetError
                    time.sleep(0.05)

    def is_left_alone(self):
        """Whether the client has ended the connection."""
        connection = select.poll()
        connection.register(self.connection, select.POLLRDHUP | select.POLLHUP)
        return bool(connection.poll(0))

    def byte_range(self, size):
        """The bytes asked for, as [start, end)."""
        match = re.fullmatch(r"bytes=(\d*)-(\d*)", self.headers.get("Range", ""))
        if not match or match.groups() == ("", ""):
            return 0, size
        first, last = match.groups()
        start = int(first) if first else max(0, size - int(last))
        end = min(size, int(last) + 1) if first and last else size
        if start >= end:
            raise Refused(416, "Range not satisfiable", Content_Range=f"bytes */{size}")
        return start, end


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, address, handler, context):
        super().__init__(address, handler)
        self.context = context

    def finish_request(self, request, client_address):
        # The handshake in the connection's own thread: a silent client holds up nobody.
        request.settimeout(60)
        with self.context.wrap_socket(request, server_side=True) as connection:
            super().finish_request(connection, client_address)

    def handle_error(self, request, client_address):
        # A client that went away, or broke off the handshake, is its own business.
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)


def main():
    shutil.rmtree(ROOT, ignore_errors=True)
    seed(WEIGHTS, ROOT)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(IDENTITY / "server.crt", IDENTITY / "server.key")
    proxy.start()
    print("ready", flush=True)
    Server(("", 443), Handler, context).serve_forever()


if __name__ == "__main__":
    main()
