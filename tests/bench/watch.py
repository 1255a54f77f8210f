"""Watches one server while its release is exchanged: when it answers, and when the gateway would send it a request."""

from __future__ import annotations

import http.client
import json
import subprocess
import threading
import time

import lab

BODY = json.dumps({"model": "capitals", "prompt": "What is the capital of France?", "max_tokens": 1})
# Prints a line at each change: the time, whether a slot gets new requests, and whether an answer runs.
AT_GATEWAY = """
import socket, sys, time
before = None
while True:
    with socket.socket(socket.AF_UNIX) as haproxy:
        haproxy.connect("/run/haproxy/nim.sock")
        haproxy.sendall(b"show stat\\n")
        rows = b"".join(iter(lambda: haproxy.recv(65536), b"")).decode().splitlines()
    names = rows[0].lstrip("# ").split(",")
    found = [dict(zip(names, row.split(","))) for row in rows[1:] if row]
    ours = [one for one in found if one["svname"] in ("{0}_a", "{0}_b")]
    now = (int(any(one["status"].startswith("UP") for one in ours)), int(any(int(one["scur"]) for one in ours)))
    if now != before:
        print(time.time(), *now, flush=True)
        before = now
    time.sleep(0.01)
"""


class Watch:
    """Runs while its block does. Then gap is the longest time (s) for which neither port of the server answered, and
    gateway_gap the longest for which the gateway neither had an answer running there nor would have begun one."""

    def __init__(self, host, address, ports=(8000, 18000)):
        self._host, self._address, self._ports = host, address, ports
        self._answers, self._ending = [], False
        self._thread = threading.Thread(target=self._ask, daemon=True)

    def __enter__(self):
        command = ["ssh", "-F", str(lab.SSH_CONFIG), "gateway", "sudo python3 -"]
        self._gateway = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self._gateway.stdin.write(AT_GATEWAY.replace("{0}", self._host))
        self._gateway.stdin.close()
        self._thread.start()
        return self

    def __exit__(self, *_error):
        self._ending = True
        self._thread.join()
        lab.run("gateway", "pkill -f '^python3 -$' || :")
        self._lines = [line.split() for line in self._gateway.stdout]
        self._gateway.wait()

    def _ask(self):
        while not self._ending:
            for port in self._ports:
                connection = http.client.HTTPConnection(self._address, port, timeout=5)
                try:
                    connection.request("POST", "/v1/completions", BODY, {"Content-Type": "application/json"})
                    if connection.getresponse().status == 200:
                        self._answers.append(time.time())
                except (OSError, http.client.HTTPException):
                    pass
                finally:
                    connection.close()
            time.sleep(0.01)

    @property
    def gap(self):
        return max(after - before for before, after in zip(self._answers, self._answers[1:]))

    @property
    def gateway_gap(self):
        changes = [(float(at), served == "1" or busy == "1") for at, served, busy in self._lines]
        return max(
            (after - at for (at, serves), (after, _then) in zip(changes, changes[1:]) if not serves),
            default=0.0,
        )
