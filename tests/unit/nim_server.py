# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""A service in OpenAI's format for tests, over HTTP on 127.0.0.1, as a NIM or a gateway is, and a docker beside it."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class NimServer:
    """Answers from C(with) on; a test changes the attributes."""

    def __init__(self):
        self.models = ["wren"]
        self.model = "wren"  # the id that answers bear
        self.pieces = ["The capital", " of France is", " Paris."]
        self.answers = {}  # prompt -> pieces, instead of those
        self.finish_reason = "stop"
        self.usage = True
        self.ready = 200
        self.statuses = {}  # path -> (status, body) instead of an answer
        self.cut = False  # the connection breaks before the answer's end
        self.requests = []  # (path, headers with names in lower case, body)
        self.before = lambda path: None  # called with the path of each request, before it is answered

    def __enter__(self):
        handler = type("Handler", (_Handler,), {"nim": self})
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *_exception):
        self.server.shutdown()
        self.server.server_close()

    @property
    def address(self):
        return f"http://127.0.0.1:{self.server.server_port}"

    @property
    def url(self):
        return self.address + "/v1/health/ready"

    def asked(self, path):
        """The bodies of the requests for a path (str)."""
        return [body for one, _headers, body in self.requests if one == path]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    nim: NimServer

    def log_message(self, *_args):
        pass

    def do_GET(self):
        if not self.note(None):
            return
        if self.path == "/v1/health/ready":
            self.answer(self.nim.ready, {"object": "health.response", "message": "?"})
        elif self.path == "/v1/models":
            self.answer(200, {"object": "list", "data": [{"id": name, "object": "model"} for name in self.nim.models]})
        else:
            self.answer(404, {"detail": "Not Found"})

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if not self.note(body):
            return
        chat = self.path == "/v1/chat/completions"
        prompt = body["messages"][0]["content"] if chat else body["prompt"]
        pieces = self.nim.answers.get(prompt, self.nim.pieces)
        if not body.get("stream"):
            self.answer(200, self.chunk(False, "".join(pieces), self.nim.finish_reason))
            return
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for piece in pieces:
            self.event(json.dumps(self.chunk(chat, piece, None)))
        if self.nim.cut:
            self.close_connection = True
            return
        self.event(json.dumps(self.chunk(chat, "", self.nim.finish_reason)))
        if self.nim.usage:
            usage = {"prompt_tokens": 5, "completion_tokens": 7, "total_tokens": 12}
            self.event(json.dumps(dict(self.chunk(chat, "", None), choices=[], usage=usage)))
        self.event("[DONE]")
        self.wfile.write(b"0\r\n\r\n")

    def note(self, body):
        """Records the request; whether it is to be answered as usual."""
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.nim.requests.append((self.path, headers, body))
        self.nim.before(self.path)
        if self.path not in self.nim.statuses:
            return True
        self.answer(*self.nim.statuses[self.path])
        return False

    def chunk(self, chat, text, finish_reason):
        choice = {"index": 0, "finish_reason": finish_reason}
        choice.update({"delta": {"content": text}} if chat else {"text": text})
        return {"id": "1", "object": "text_completion", "created": 1, "model": self.nim.model, "choices": [choice]}

    def event(self, data):
        line = f"data: {data}\n\n".encode()
        self.wfile.write(b"%x\r\n%s\r\n" % (len(line), line))
        self.wfile.flush()

    def answer(self, status, body):
        data = body.encode() if isinstance(body, str) else json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "text/html" if isinstance(body, str) else "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


class DockerStub:
    """A stand-in for the docker command with one container, whose state a test sets; made in folder (Path)."""

    def __init__(self, folder):
        self.command = str(folder / "docker")
        self._folder = folder
        self.state = {
            "Status": "running",
            "Running": True,
            "StartedAt": "2026-01-02T03:04:05.123456789Z",
            "ExitCode": 0,
        }
        self._mounts = []
        self.log(*(f"line {number}" for number in range(1, 101)))
        (folder / "docker").write_text(
            f'#!/bin/sh\ncase "$1" in\n'
            f"inspect) echo >> {folder}/inspections\n"
            f'  [ "$(wc -l < {folder}/inspections)" = "$(cat {folder}/when)" ] && mv {folder}/then {folder}/state\n'
            f'  cat {folder}/state 2>/dev/null || {{ echo "Error: No such container: $3" >&2; exit 1; }} ;;\n'
            f'logs) tail -n "$3" {folder}/log >&2 ;;\n'
            # As docker does, it leaves out this very second where it is to tell until 0s ago.
            f'events) case "$*" in *"--until "[0-9]*.[0-9]*) cat {folder}/ends 2>/dev/null ;; esac ;;\n'
            f'start|stop) echo "$@" >> {folder}/done; cat {folder}/refusal >&2 2>/dev/null && exit 1\n'
            f'  [ "$1" = start ] && [ -e {folder}/started ] && mv {folder}/started {folder}/state; exit 0 ;;\nesac\n',
            encoding="utf-8",
        )
        (folder / "docker").chmod(0o755)
        (folder / "when").write_text("never", encoding="utf-8")
        self.set()

    def log(self, *lines):
        """What the container has written (str each)."""
        (self._folder / "log").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")

    def mount(self, source, destination):
        """What the container mounts (paths)."""
        self._mounts.append({"Source": str(source), "Destination": destination})
        self.set()

    def set(self, restarts=0, **state):
        """Changes what inspect tells: RestartCount and keys of C(.State)."""
        self.state.update(state)
        self._write("new", self.state, restarts).replace(self._folder / "state")

    def stopped(self):
        """Has the container be stopped, until it is started by the command."""
        self._write("started", dict(self.state), 0)
        self.set(Status="exited", Running=False)

    @property
    def done(self):
        """The commands that started and stopped (list of str)."""
        path = self._folder / "done"
        return path.read_text().splitlines() if path.exists() else []

    def refuse(self, words):
        """Has docker start and docker stop fail with these words (str)."""
        (self._folder / "refusal").write_text(words + "\n", encoding="utf-8")

    def ended(self, *events):
        """What docker tells of the container's ends so far: die and a status, or oom (str each)."""
        (self._folder / "ends").write_text("".join(f"{event}\n" for event in events), encoding="utf-8")

    def after_inspections(self, number, restarts=0, **state):
        """As set(), when docker is asked for the state the number-th time (int)."""
        self._write("then", dict(self.state, **state), restarts)
        (self._folder / "when").write_text(str(number), encoding="utf-8")

    def _write(self, name, state, restarts):
        path = self._folder / name
        path.write_text(
            json.dumps([{"State": state, "RestartCount": restarts, "Mounts": self._mounts}]), encoding="utf-8"
        )
        return path

    def remove(self):
        (self._folder / "state").unlink()
