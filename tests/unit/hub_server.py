# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""A hub for tests: git over HTTP and the LFS batch API on 127.0.0.1, with tokens, gates and faults.

It answers as the Hugging Face hub was seen to answer: 401 without a token for a repository that is unknown or gated,
401 for an invalid token, 403 for a valid one without access, 404 for an unknown repository with a valid token.
Objects come from a second port, reached as another host ("localhost"), as the real ones come from a CDN. It has the
part of the HTTP API that lists files, in pages, and gives them, small ones itself and LFS objects by a redirect.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

READER, OUTSIDER = "hf_test_reader_5f2c", "hf_test_outsider_9a1d"
# Requests for one path: who goes in circles is ended, so that the test fails and does not hang.
MOST = 5000


def pointer(data, oid=None):
    """The LFS pointer (bytes) of data (bytes), or one that names another oid (str, 64 hex)."""
    oid = oid or hashlib.sha256(data).hexdigest()
    return f"version https://git-lfs.github.com/spec/v1\noid sha256:{oid}\nsize {len(data)}\n".encode()


class Hub:
    """Serves the repositories beneath root (path) from C(with) on."""

    def __init__(self, root):
        self.root, self.objects = str(root), {}
        self.gated = set()
        self.requests = []  # (port name, method, path, authorization, range)
        self.cut = {}  # oid -> bytes after which the connection breaks, once
        self.wrong = {}  # oid -> other bytes to serve
        self.status = {}  # oid -> statuses, or (status, headers), to answer first, one a request
        self.readers = {READER}  # tokens with access to gated repositories
        self.sent = lambda oid: None  # called once an object was sent
        self.hold = None  # (bytes, Event): an object stops after so many bytes until the event is set
        self.holding = threading.Semaphore(0)  # released by each object that has come to that point
        self.redirect = False  # objects under the hub's own address, with a redirect to the other host
        self.api = True  # whether there is the HTTP API at all
        self.page = 2  # entries a page of its listings
        self.failures = {}  # path -> (status, headers) to answer first, one a request
        self.ranges = True  # whether objects can be had in parts
        self.moved = None  # where LFS objects are redirected to instead, an address
        self._servers = []

    def __enter__(self):
        for name in ("hub", "storage"):
            server = ThreadingHTTPServer(
                ("127.0.0.1", 0), type("Handler", (_Handler,), {"hub": self, "port_name": name})
            )
            server.daemon_threads = True
            threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
            self._servers.append(server)
        self.url = f"http://127.0.0.1:{self._servers[0].server_port}"
        self.storage = f"http://localhost:{self._servers[1].server_port}"
        return self

    def __exit__(self, *exc):
        if self.hold:
            self.hold[1].set()
        for server in self._servers:
            server.shutdown()
            server.server_close()

    def commit(self, repo, files, branch="main", tags=()):
        """Commit files (path -> bytes, or (mode, bytes)) to repo as its whole tree; the commit's id (str)."""
        path = os.path.join(self.root, repo + ".git")
        if not os.path.isdir(path):
            self._git("init", "-q", "--bare", "-b", "main", path)
        exists = os.path.exists(os.path.join(path, "refs", "heads", branch))
        parent = f"from refs/heads/{branch}^0\n" if exists else ""
        head = f"commit refs/heads/{branch}\ncommitter t <t@example.org> 1700000000 +0000\ndata 0\n{parent}deleteall\n"
        stream = [head.encode()]
        for name, content in files.items():
            mode, data = content if isinstance(content, tuple) else ("100644", content)
            if mode == "160000":
                stream.append(b"M 160000 " + data + b" " + name.encode() + b"\n")
            else:
                stream.append(f'M {mode} inline "{name}"\ndata {len(data)}\n'.encode() + data + b"\n")
        self._git("-C", path, "fast-import", "--quiet", "--force", data=b"".join(stream))
        commit = self._git("-C", path, "rev-parse", branch).decode().strip()
        for tag in tags:
            self._git("-C", path, "-c", "user.name=t", "-c", "user.email=t@example.org", "tag", "-m", tag, tag, commit)
        return commit

    def lfs(self, data):
        """Keep data (bytes) as an LFS object; its pointer (bytes)."""
        self.objects[hashlib.sha256(data).hexdigest()] = data
        return pointer(data)

    def downloads(self):
        """The (oid, range) of each object asked for, in order."""
        return [(path[-64:], ranged) for port, _method, path, _auth, ranged in self.requests if port == "storage"]

    @staticmethod
    def _git(*args, data=b""):
        return subprocess.run(["git", *args], input=data, check=True, stdout=subprocess.PIPE).stdout


class _Handler(BaseHTTPRequestHandler):
    hub, port_name, protocol_version = None, "", "HTTP/1.1"

    def log_message(self, *args):
        pass

    def do_GET(self):
        path = urlsplit(self.path).path
        self.hub.requests.append(
            (self.port_name, self.command, path, self.headers.get("Authorization"), self.headers.get("Range"))
        )
        if sum(asked[2] == path for asked in self.hub.requests) > MOST:
            self.close_connection = True
            return self._text(410, "asked for too often")
        if self.hub.failures.get(path):
            status, headers = self.hub.failures[path].pop(0)
            if status == 307 and len(self.hub.failures[path]) == 0:  # without end
                self.hub.failures[path].append((status, headers))
            self.close_connection = self.command == "POST"  # what came with the request is not read
            return self._text(status, "not now", headers)
        if self.port_name == "storage" and path[-64:] in self.hub.objects:
            return self._object(path[-64:])
        match = self.port_name == "hub" and re.match(
            r"/(?P<repo>[^/]+/[^/]+?)(?:\.git)?/(?P<rest>info/lfs/.+|info/refs|git-upload-pack|object/.+)$", path
        )
        api = self.port_name == "hub" and re.match(
            r"/(?P<api>api/models/)?(?P<repo>[^/]+/[^/]+)/(?P<verb>tree|resolve)/(?P<commit>[0-9a-f]{40})(?P<path>/.+)?$",
            path,
        )
        if api and self.hub.api and not self._refused(api["repo"]):
            return self._tree(api["repo"], api["commit"]) if api["api"] else self._resolve(**api.groupdict())
        if api and self.hub.api:
            return None
        if not match:
            return self._text(404, "Not found")
        repo, rest = match["repo"], match["rest"]
        if self._refused(repo):
            return None
        if rest == "info/lfs/objects/batch":
            return self._batch(repo)
        if rest.startswith("object/"):
            return self._text(302, "", {"Location": f"{self.hub.storage}/{rest}?signature=abc"})
        return self._git_backend(repo, rest)

    do_POST = do_GET

    def _refused(self, repo):
        header = self.headers.get("Authorization", "")
        token = base64.b64decode(header[6:]).decode().partition(":")[2] if header.startswith("Basic ") else None
        if header.startswith("Bearer "):
            token = header[7:]
        known = os.path.isdir(os.path.join(self.hub.root, repo + ".git"))
        if known and repo not in self.hub.gated and token in (None, READER, OUTSIDER):
            return False
        if token not in (*self.hub.readers, OUTSIDER):
            self._text(
                401, "Invalid username or password.", {"WWW-Authenticate": 'Basic realm="Authentication required"'}
            )
        elif not known:
            self._text(404, "Repository not found", {"X-Error-Code": "RepoNotFound"})
        elif token == OUTSIDER:
            self._text(
                403,
                f"Access to model {repo} is restricted and you are not in the authorized list. "
                f"Visit https://huggingface.co/{repo} to ask for access.",
            )
        else:
            return False
        return True

    def _blobs(self, repo, commit):
        """path -> content (bytes) of the commit, pointers as they are; None where there is no such commit."""
        git = ["git", "-C", os.path.join(self.hub.root, repo + ".git")]
        listing = subprocess.run([*git, "ls-tree", "-r", "-z", commit], capture_output=True)
        if listing.returncode:
            self._text(404, "Invalid rev id", {"X-Error-Code": "RevisionNotFound"})
            return None
        lines = [line.split("\t", 1) for line in listing.stdout.decode().split("\0") if line]
        return {path: Hub._git(*git[1:], "cat-file", "blob", meta.split()[2]) for meta, path in lines}

    def _tree(self, repo, commit):
        blobs = self._blobs(repo, commit)
        if blobs is None:
            return None
        entries = [{"type": "directory", "path": "folder", "size": 0, "oid": "0" * 40}]
        for path, data in blobs.items():
            entries.append({"type": "file", "path": path, "size": len(data), "oid": "0" * 40})
            match = re.match(rb"version https://git-lfs.*\noid sha256:(\w+)\nsize (\d+)\n$", data, re.DOTALL)
            if match and match[1].decode() in self.hub.objects:
                entries[-1]["lfs"] = {"oid": match[1].decode(), "size": int(match[2]), "pointerSize": len(data)}
        start = int((re.search(r"cursor=(\d+)", self.path) or [0, 0])[1])
        end = start + self.hub.page
        url = f"{self.hub.url}{urlsplit(self.path).path}?recursive=true&cursor={end}"
        headers = {"Link": f'<{url}>; rel="next"'} if end < len(entries) else {}
        return self._send(200, json.dumps(entries[start:end]).encode(), {"Content-Type": "application/json", **headers})

    def _resolve(self, repo, commit, path, **_rest):
        data = (self._blobs(repo, commit) or {}).get(unquote(path[1:]))
        if data is None:
            return self._text(404, "Entry not found", {"X-Error-Code": "EntryNotFound"})
        match = re.search(rb"oid sha256:(\w+)\n", data)
        if match and match[1].decode() in self.hub.objects:
            target = self.hub.moved or f"{self.hub.storage}/object/{match[1].decode()}"
            return self._text(302, "", {"Location": f"{target}?signature=abc"})
        return self._send(200, data, {"Content-Type": "text/plain"})

    def _batch(self, repo):
        wanted = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["objects"]
        base = f"{self.hub.url}/{repo}.git/object" if self.hub.redirect else f"{self.hub.storage}/object"
        answer = [
            {**item, "actions": {"download": {"href": f"{base}/{item['oid']}"}}}
            if item["oid"] in self.hub.objects
            else {**item, "error": {"code": 404, "message": "Object does not exist"}}
            for item in wanted
        ]
        self._send(200, json.dumps({"objects": answer}).encode(), {"Content-Type": "application/vnd.git-lfs+json"})

    def _object(self, oid):
        if self.hub.status.get(oid):
            answer = self.hub.status[oid].pop(0)
            return self._text(
                *((answer[0], "try again", answer[1]) if isinstance(answer, tuple) else (answer, "try again"))
            )
        data = self.hub.wrong.get(oid, self.hub.objects[oid])
        asked = self.hub.ranges and re.match(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        start = int(asked[1]) if asked else 0
        end = min(len(data), int(asked[2]) + 1) if asked and asked[2] else len(data)
        self.send_response(206 if asked else 200)
        if asked:
            self.send_header("Content-Range", f"bytes {start}-{end - 1}/{len(data)}")
        self.send_header("Content-Length", str(end - start))
        self.end_headers()
        body, cut = data[start:end], self.hub.cut.pop(oid, None)
        try:
            if cut is not None:
                self.wfile.write(body[:cut])
                self.close_connection = True
                self.hub.sent(oid)
                return self.connection.shutdown(2)
            if self.hub.hold and not self.hub.hold[1].is_set():
                at, released = self.hub.hold
                self.wfile.write(body[:at])
                self.wfile.flush()
                self.hub.holding.release()
                released.wait(30)
                body = body[at:]
            self.wfile.write(body)
            self.hub.sent(oid)
        except OSError:
            self.close_connection = True
        return None

    def _git_backend(self, repo, rest):
        env = {
            **os.environ,
            "GIT_PROJECT_ROOT": self.hub.root,
            "GIT_HTTP_EXPORT_ALL": "1",
            "PATH_INFO": f"/{repo}.git/{rest}",
            "REQUEST_METHOD": self.command,
            "QUERY_STRING": urlsplit(self.path).query,
            "CONTENT_TYPE": self.headers.get("Content-Type", ""),
            "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""),
            "GIT_PROTOCOL": self.headers.get("Git-Protocol", ""),
        }
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        reply = subprocess.run(["git", "http-backend"], input=body, env=env, stdout=subprocess.PIPE).stdout
        head, _blank, content = reply.partition(b"\r\n\r\n")
        headers = dict(line.split(": ", 1) for line in head.decode().split("\r\n"))
        self._send(int(headers.pop("Status", "200").split()[0]), content, headers)

    def _text(self, status, text, headers=None):
        self._send(status, text.encode(), {"Content-Type": "text/plain; charset=utf-8", **(headers or {})})

    def _send(self, status, content, headers):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)
