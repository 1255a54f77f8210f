# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""A real HAProxy with the role's own configuration, as this user, and small peers that answer like a NIM."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import shutil
import signal
import socket
import ssl
import subprocess
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import jinja2
import yaml

from ansible_collections.llmops.nim.plugins.module_utils import _aside, _haproxy_gateway
from ansible_collections.llmops.nim.plugins.module_utils._haproxy_socket import Runtime

ROLE = Path(__file__).resolve().parents[2] / "roles/gateway"
MODEL = "capitals"
# Debian keeps it out of a user's PATH.
HAPROXY = shutil.which("haproxy", path=os.environ["PATH"] + ":/usr/sbin") or "haproxy"


def regex_replace(text, pattern, new):
    """Ansible's filter, told again: to import it would make this process a controller, and modules print warnings."""
    return re.sub(pattern, new, text)


def until(condition, seconds=60):
    """Waits until condition() is true, and returns its value."""
    end = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.01)


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


class Nim:
    """Answers like a NIM: healthy while ready is set, and streams its name, the first token at once.

    Answers to a prompt that begins with C(slow) go on only when go is set; to C(silent), they begin only then.
    """

    def __init__(self, name, ready=True):
        self.name = name
        self.ready, self.go = ready, threading.Event()
        self.checks, self.prompts, self.authorizations, self.connections, self.aborted = 0, [], [], set(), 0
        nim = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_arguments):
                pass

            def do_GET(self):
                nim.checks += 1
                self.send_response(200 if nim.ready else 503)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def do_POST(self):
                prompt = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["prompt"]
                nim.prompts.append(prompt)
                nim.authorizations.append(self.headers["Authorization"])
                nim.connections.add(self.client_address)
                if prompt.startswith("silent"):
                    nim.go.wait(60)
                self.send_response(200)
                self.send_header("Transfer-Encoding", "chunked")
                self.end_headers()
                self.token(nim.name)
                if prompt.startswith("slow"):
                    nim.go.wait(60)
                try:
                    self.token(nim.name)
                    self.token("[DONE]")
                    self.wfile.write(b"0\r\n\r\n")
                except OSError:
                    nim.aborted += 1

            def token(self, text):
                line = text.encode() + b"\n"
                self.wfile.write(f"{len(line):x}\r\n".encode() + line + b"\r\n")

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()

    def close(self):
        self.go.set()
        self.server.shutdown()
        self.server.server_close()


class Gateway:
    """HAProxy as the role starts and reloads it where there is no systemd, in folder (Path)."""

    def __init__(self, folder, hosts, **variables):
        self.folder, self.hosts = folder, hosts
        self.port = free_port()
        self.socket, self.state_file = str(folder / "nim.sock"), str(folder / "nim.state")
        self.config = folder / "haproxy.cfg"
        self.variables = variables
        self.processes = []
        self.write()

    def write(self, **variables):
        """Renders configuration and keys from the role's templates."""
        self.variables.update(variables)
        values = {
            **yaml.safe_load((ROLE / "defaults/main.yml").read_text()),
            "gateway_models": [{"name": MODEL, "port": self.port, "servers": self.hosts}],
            "gateway_bind": "127.0.0.1",
            "gateway_check_interval": "100ms",
            "gateway_maxconn": 200,
            "gateway_stats_socket": self.socket,
            "__gateway_state_file": self.state_file,
            "__gateway_keys_file": str(self.folder / "nim.keys"),
            "__gateway_pem_file": self.variables.get("gateway_tls_pem", ""),
            **self.variables,
        }
        environment = jinja2.Environment(
            loader=jinja2.FileSystemLoader(str(ROLE / "templates")), trim_blocks=True, undefined=jinja2.StrictUndefined
        )
        environment.filters["regex_replace"] = regex_replace
        (self.folder / "nim.keys").write_text(environment.get_template("nim.keys.j2").render(values) + "\n")
        text = environment.get_template("haproxy.cfg.j2").render(values) + "\n"
        # Only root can become another user.
        self.config.write_text(re.sub(r"(?m)^    (user|group|chroot) .*\n", "", text))

    def start(self, *options):
        log = (self.folder / "log").open("a")
        command = [HAPROXY, "-W", "-f", str(self.config), "-x", self.socket, *options]
        self.processes.append(subprocess.Popen(command, stdout=log, stderr=log))
        until(lambda: self.answers() and self.processes[-1].poll() is None)

    def save(self, replaced=None):
        """As the role does it before it starts or reloads the service, and afterwards; the id of who answers."""
        options = self.options(config=str(self.config), up_timeout=20, replaced=replaced)
        gateway = _haproxy_gateway.Gateway(options, _aside.Aside(None))
        gateway.save_all()
        return gateway.pid()

    def reload(self, save=True):
        """As the role does it: a new process takes over, the old one ends when its requests have."""
        old, pid = self.processes[-1], self.save() if save else None
        self.start("-sf", str(old.pid))
        if save:
            self.save(replaced=pid)
        return old

    def stop(self):
        for process in self.processes:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
            process.wait(10)
        self.processes.clear()

    def ask(self, command):
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as one:
            one.connect(self.socket)
            one.sendall(command.encode() + b"\n")
            return b"".join(iter(lambda: one.recv(65536), b"")).decode()

    def answers(self):
        try:
            return self.ask("show info")
        except OSError:
            return False

    def servers(self):
        """What HAProxy says of its servers, by name."""
        return {one.name: one for one in Runtime(self.socket).servers()}

    def run(self):
        """Starts it as the role does for the first time."""
        self.save()
        self.start()
        self.save()

    def options(self, **options):
        """Options of the module nim_gateway for this gateway."""
        return {"socket": self.socket, "state_file": self.state_file, "model": MODEL, **options}


@contextlib.contextmanager
def fleet(folder):
    """A gateway that was not started yet, and its peers by name: hosts one and two, of which slot b is not ready."""
    nims = {name: Nim(name, ready=name.endswith("_a")) for name in ("one_a", "one_b", "two_a", "two_b")}
    hosts = [
        {"host": host, "address": "127.0.0.1", "ports": [nims[f"{host}_a"].port, nims[f"{host}_b"].port]}
        for host in ("one", "two")
    ]
    gateway = Gateway(folder, hosts)
    try:
        yield gateway, nims
    finally:
        gateway.stop()
        for nim in nims.values():
            nim.close()


class Client:
    """Keeps its connection open, as clients do, and repeats nothing."""

    def __init__(self, port, key=None, ca=None):
        context = ssl.create_default_context(cafile=ca) if ca else None
        kind, extra = (http.client.HTTPSConnection, {"context": context}) if ca else (http.client.HTTPConnection, {})
        self.connection = kind("127.0.0.1", port, timeout=60, **extra)
        self.headers = {"Authorization": f"Bearer {key}"} if key else {}

    def start(self, prompt="quick"):
        """Sends a request; the answer, of which nothing is read yet."""
        self.connection.request("POST", "/v1/completions", json.dumps({"prompt": prompt}), self.headers)
        return self.connection.getresponse()

    def ask(self, prompt="quick"):
        """The status and the text of the answer."""
        answer = self.start(prompt)
        return answer.status, answer.read().decode()

    def get(self, path):
        self.connection.request("GET", path, headers=self.headers)
        answer = self.connection.getresponse()
        return answer.status, answer.read().decode()


class Load:
    """Clients that ask without a pause; served: who answered, in the order of answers; lost: what went wrong."""

    def __init__(self, port, clients=4):
        self.port, self.served, self.lost = port, [], []
        self.ended = threading.Event()
        self.threads = [threading.Thread(target=self.run, daemon=True) for _number in range(clients)]

    def run(self):
        client = Client(self.port)
        while not self.ended.is_set():
            try:
                status, text = client.ask()
                lines = text.split()
                whole = status == 200 and len(lines) == 3 and lines[0] == lines[1] and lines[2] == "[DONE]"
                (self.served if whole else self.lost).append(lines[0] if whole else (status, text))
            except (OSError, http.client.HTTPException) as error:
                self.lost.append(repr(error))
                client = Client(self.port)

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        self.more()
        return self

    def more(self, count=20):
        """Waits for further answers."""
        wanted = len(self.served) + count
        until(lambda: len(self.served) >= wanted or self.lost)

    def __exit__(self, *_exception):
        self.ended.set()
        for thread in self.threads:
            thread.join(20)
