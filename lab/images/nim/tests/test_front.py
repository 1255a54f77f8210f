# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""The front of 2.x, before an engine is there and with one behind it, over real sockets."""

from __future__ import annotations

import dataclasses
import http.client
import json
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from lab_nim import contract
from lab_nim.front import Front


class Engine(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    client_left = threading.Event()

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        if self.path == "/endless":
            self.end_headers()
            try:
                while True:
                    self.wfile.write(b"data: x\n\n")
            except OSError:
                self.client_left.set()
                self.close_connection = True
            return
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def listener() -> socket.socket:
    return socket.create_server(("127.0.0.1", 0))


@pytest.fixture
def service():
    """The front's port, and a function that starts the engine behind it."""
    front, reserved = listener(), listener()
    engine_port = reserved.getsockname()[1]
    reserved.close()
    nim = dataclasses.replace(contract.load("2.0.2"), engine_port=engine_port)
    Front(nim).start([front])
    servers = []

    def start_engine():
        server = ThreadingHTTPServer(("127.0.0.1", engine_port), Engine)
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        servers.append(server)

    yield front.getsockname()[1], start_engine
    for server in servers:
        server.shutdown()
        server.server_close()


def ask(port: int, method: str, path: str, body: bytes | None = None) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request(method, path, body)
    response = connection.getresponse()
    answer = response.status, response.read()
    connection.close()
    return answer


def test_alive_at_once_and_ready_with_the_engine(service):
    port, start_engine = service
    assert ask(port, "GET", "/v1/health/live")[0] == 200
    assert ask(port, "GET", "/v1/health/ready")[0] == 503
    assert ask(port, "POST", "/v1/completions", b"{}")[0] == 502
    start_engine()
    status, body = ask(port, "GET", "/v1/health/ready?x=1")
    assert status == 200
    assert json.loads(body) == {"object": "health.response", "message": "ready", "status": "ready"}
    assert ask(port, "GET", "/v1/health/live")[0] == 200


def test_requests_reach_the_engine_whole(service):
    port, start_engine = service
    start_engine()
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    for body in (b"x" * 300_000, b"second on the same connection"):
        connection.request("POST", "/echo", body)
        assert connection.getresponse().read() == body
    connection.close()


def test_a_client_that_leaves_ends_its_answer(service):
    port, start_engine = service
    start_engine()
    Engine.client_left.clear()
    with socket.create_connection(("127.0.0.1", port), 10) as client:
        client.sendall(b"POST /endless HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n")
        assert client.recv(16).startswith(b"HTTP/1.1 200")
    assert Engine.client_left.wait(10)


@pytest.mark.parametrize("nonsense", [b"\r\n\r\n", b"x" * 100_000])
def test_nonsense_is_refused(service, nonsense):
    port, _start_engine = service
    with socket.create_connection(("127.0.0.1", port), 10) as client:
        client.sendall(nonsense)
        assert client.recv(16).startswith(b"HTTP/1.1 400")
    assert ask(port, "GET", "/v1/health/live")[0] == 200
