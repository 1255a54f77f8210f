"""Breaks the lab as the matrix says, and sees what comes of it."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import cycle
from typing import NamedTuple

import lab

HOSTS = {"gpu1": "10.83.0.11", "gpu2": "10.83.0.12", "gpu3": "10.83.0.13"}
INVENTORIES = (lab.INVENTORY, "inventories/lab_faults")
# How the release that every step but the last begins with answers, and how its successor does too.
PREDECESSOR, ANY_RELEASE = "The capital of France is Paris", "Paris"
PATIENCE_SECONDS = 90
# A machine of the lab that nothing is done to.
CLIENT = "gateway"
ASK = """python3 - {address} <<'END'
import json, sys, urllib.request
body = {{"model": "capitals", "prompt": "What is the capital of France?", "max_tokens": 32}}
url = "http://" + sys.argv[1] + ":8000/v1/completions"
request = urllib.request.Request(url, json.dumps(body).encode(), {{"Content-Type": "application/json"}})
print(json.load(urllib.request.urlopen(request, timeout=20))["choices"][0]["text"])
END
"""


class Outcome(NamedTuple):
    """What came of a fault: whether its cause was named, whether what served before answers, whether the same command
    went on once it was mended. said, said_then: what the two runs said (str)."""

    named: bool
    serves: bool
    goes_on: bool
    said: str
    said_then: str


def undergo(step):
    """Lets all faults of a step happen, side by side on the servers, and then the same command: dict of a fault's name
    to its Outcome."""
    queues, turns = {host: [] for host in HOSTS}, cycle(HOSTS)
    for fault in step.faults:
        if not fault.at:
            queues[fault.host or next(turns)].append(fault)
    # What breaks a machine that all need happens alone.
    suffered = {fault.name: _tried(step, fault, "gpu1") for fault in step.faults if fault.at}
    with ThreadPoolExecutor() as pool:
        for found in pool.map(lambda host: {one.name: _tried(step, one, host) for one in queues[host]}, HOSTS):
            suffered.update(found)
    then = {}
    for fault in step.faults:
        if str(fault.asks) not in then:
            then[str(fault.asks)] = _begin(step, [step.asks, fault.asks], step.mended)
    ended = {asks: (process.communicate()[0], process.returncode) for asks, process in then.items()}
    outcomes = {}
    for fault in step.faults:
        named, serves, said = suffered[fault.name]
        said_then, status = ended[str(fault.asks)]
        outcomes[fault.name] = Outcome(named, serves, status == 0, said, said_then)
    return outcomes


def answer(host):
    """What the server answers a client in its network that asks for the capital, or why it does not (str)."""
    try:
        return lab.inside(CLIENT, ASK.format(address=HOSTS[host]))
    except AssertionError as error:
        return str(error)


def fingerprints():
    """dict of server to all that a refusal must not change on it."""
    return {host: lab.fingerprint(host) for host in HOSTS}


def _tried(step, fault, host):
    """As _suffer(); a fault that could not be made or mended is a failure of its own and stops no other."""
    try:
        return _suffer(step, fault, host)
    except AssertionError as error:
        return False, False, str(error)


def _suffer(step, fault, host):
    """(Whether the cause was named, whether what served answers, what was said) when one fault happens on a server."""
    wishes = [step.asks, fault.asks, fault.wish]
    with _broken(fault, host):
        if fault.killed_at:
            doomed = _begin(step, wishes, fault.wrong, host)
            lab.read_until(doomed, fault.killed_at)
            lab.kill(doomed)
        process = _begin(step, wishes, fault.wrong, host)
        said = process.communicate()[0]
        serves = not fault.serves or PREDECESSOR in answer(host)
    if not fault.serves:
        serves = _answers_again(host)
    flat = " ".join(said.split())
    named = process.returncode != 0 and "Traceback" not in said and all(words in flat for words in fault.says)
    return named, serves, said


def _begin(step, wishes, variables, limit=None):
    variables = {**step.variables, **variables, "faults_wishes": wishes}
    return lab.begin(step.playbook, limit=limit, inventories=INVENTORIES, **variables)


@contextmanager
def _broken(fault, host):
    machine = fault.at or host
    if fault.at and not fault.do:
        with lab.stopped(f"nim-lab-{machine}"):
            yield
        return
    try:
        lab.inside(machine, fault.do)
        yield
    finally:
        lab.inside(machine, fault.undo)


def _answers_again(host):
    """Whether a release answers within a time that is ample."""
    end = time.monotonic() + PATIENCE_SECONDS
    while ANY_RELEASE not in answer(host):
        if time.monotonic() > end:
            return False
    return True
