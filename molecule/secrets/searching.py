"""Where marked secrets lie: on a server (search.py runs there) and in what a run has left on the control node."""

from __future__ import annotations

import base64
import json
import shlex
import subprocess
import threading
from contextlib import contextmanager
from pathlib import Path

import lab

SEARCH = Path(__file__).with_name("search.py").read_text()
WATCH = Path(__file__).with_name("watch.py").read_text()


def forms(secret):
    """A secret (str) as it may stand somewhere: as it is, and in a registry's or a hub's login."""
    yield secret
    for user in ("$oauthtoken", "hf_user", ""):
        yield base64.b64encode(f"{user}:{secret}".encode()).decode().rstrip("=")


def needles(secrets):
    """dict of name to secrets (list of str), as a list of (text, name)."""
    return [(form, name) for name, found in secrets.items() for one in found for form in forms(one)]


def in_bytes(content, wanted):
    """The names (set) of the secrets in content (bytes); wanted: of needles()."""
    return {name for text, name in wanted if text.encode() in content}


def on_server(host, since, wanted):
    """What lies on a server (list of dict path, owner, mode, secrets) in files changed since then (its own clock)."""
    done = subprocess.run(
        ["ssh", "-F", str(lab.SSH_CONFIG), host, f"sudo {shlex.join(['python3', '-c', SEARCH])}"],
        # By stdin, so that the search itself leaves no secret in a command line.
        input=json.dumps([wanted, since]),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


class Watched:
    """What a stranger sees of the processes, as one text."""

    def __init__(self):
        self.texts = []

    def found(self, wanted):
        assert all(self.texts), "nothing was seen"
        return set().union(*(in_bytes(text.encode(), wanted) for text in self.texts))


@contextmanager
def watched(hosts):
    """Watches command lines and environments on the servers as nobody, and on the control node, meanwhile (Watched)."""
    seen, own = Watched(), ["python3", "-u", "-c", WATCH]
    commands = [["ssh", "-F", str(lab.SSH_CONFIG), one, f"sudo -u nobody {shlex.join(own)}"] for one in hosts]
    # Of this checkout's runs alone: others may rehearse on the machine.
    commands.append([*own, str(lab.ROOT)])
    watchers = [subprocess.Popen(one, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for one in commands]
    readers = [threading.Thread(target=lambda one=one: seen.texts.append(one.stdout.read())) for one in watchers]
    for reader in readers:
        reader.start()
    try:
        yield seen
    finally:
        for watcher in watchers:
            watcher.stdin.close()
        for reader in readers:
            reader.join()
        for watcher in watchers:
            watcher.wait()
