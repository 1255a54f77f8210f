# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""The ledger of a model on a host: what served there, since when, by whose doing; and what served before.

Private to the collection: breaking changes at any time.

<home>/<model>/ledger.jsonl     a line of JSON for each event, only ever added to
<home>/<model>/releases.json    what follows from it: the current release and the one before

The ledger is the truth. Where it is lost, releases.json stands in for it.
"""

from __future__ import annotations

import json
import os
import re

from ansible_collections.llmops.nim.plugins.module_utils import _clock, _files
from ansible_collections.llmops.nim.plugins.module_utils._models import LABEL

# After these the release of the record is the one that serves. found: it served, and no run had recorded it.
SERVING = ("activated", "rolled_back", "found")
# A measurement befalls no release: it changes neither which one serves nor what happened last.
MEASURED = "benchmarked"
EVENTS = (*SERVING, "failed", MEASURED)

# Free text is quoted from logs and errors: keys as NGC and the hub issue them have no place in a ledger.
_KEY = re.compile(r"\b(nvapi-|hf_)[A-Za-z0-9_-]{6,}|(?<=Bearer )\S+")
_TEXT_LENGTH = 2000


def ledger_path(home, model):
    """The path of the ledger."""
    return os.path.join(home, model, "ledger.jsonl")


def state_path(home, model):
    """The path of what is current and previous."""
    return os.path.join(home, model, "releases.json")


def parse(content):
    """The records (list of dict, oldest first) in a ledger's content (bytes). A line that was torn is no record."""
    records = []
    for line in content.split(b"\n"):
        try:
            record = json.loads(line.decode("utf-8"))
        except ValueError:
            continue
        if isinstance(record, dict) and isinstance(record.get("release"), dict) and {"at", "event"} <= set(record):
            records.append(record)
    return records


def records(home, model):
    """The records of a model, oldest first (list of dict)."""
    try:
        with open(ledger_path(home, model), "rb") as stream:
            return parse(stream.read())
    except FileNotFoundError:
        return []


def state(history):
    """What follows from history (list of records): dict of current and previous, each a release with C(at), or None."""
    found = {"current": None, "previous": None}
    for record in history:
        if record["event"] not in SERVING:
            continue
        serves = dict(record["release"], at=record["at"])
        if found["current"] and found["current"].get("id") != serves.get("id"):
            found["previous"] = found["current"]
        found["current"] = serves
    return found


def read(home, model):
    """What the ledger of a model says: dict of current, previous (a release with C(at), or None) and last (a record,
    or None)."""
    return _read(home, model, records(home, model))


def _read(home, model, history):
    found = state(history)
    if not found["current"]:
        kept = _files.read_json(state_path(home, model)) or {}
        found = {key: value if isinstance(value, dict) else None for key, value in ((k, kept.get(k)) for k in found)}
    happened = [one for one in history if one["event"] != MEASURED]
    return dict(found, last=happened[-1] if happened else None)


def models(home):
    """The models that have a ledger beneath home (sorted list of str)."""
    if not os.path.isdir(home):
        return []
    return sorted(
        name
        for name in os.listdir(home)
        if os.path.isfile(ledger_path(home, name)) or os.path.isfile(state_path(home, name))
    )


def release_of(container):
    """The release (dict) as a ledger keeps it, of a container (dict of _host_docker.releases())."""
    labels = container["labels"]
    return {
        "id": container["release"],
        "container": container["container"],
        "image": container["image"],
        "nim_version": labels.get(LABEL + "nim_version") or None,
        "contract": labels.get(LABEL + "contract") or None,
        "weights": container["weights"],
        "commit": container["commit"],
        "manifest": labels.get(LABEL + "manifest") or None,
        "profile": container["profile"],
        "profile_name": container["profile_name"],
        "engine": engine_of(container),
        "gpus": container["gpus"],
        "port": container["port"],
        "served_name": container["served_name"],
    }


def engine_of(container):
    """The name under which a container (dict of _host_docker.releases()) caches its engine, or None."""
    return container["settings"]["env"].get("NIM_CUSTOM_MODEL_NAME") or None


def unknown_release(model, container):
    """The release (dict) of a container that never came to be, of which only the name is known."""
    prefix = f"nim-{model}-"
    identity = container[len(prefix) :] if container.startswith(prefix) else None
    blank = dict.fromkeys(
        ("image", "nim_version", "contract", "weights", "commit", "manifest", "profile", "profile_name", "engine")
    )
    return dict(blank, id=identity, container=container, gpus=[], port=None, served_name=None)


def record(event, release, **details):
    """A record (dict) of an event (of EVENTS) that befell a release (dict) just now.

    details: from, strategy, who, controller, run, reason, timings (dict of step to seconds), verdicts (list), measured
    (dict of nim_benchmark).
    """
    given = {"from": None, "strategy": None, "who": None, "controller": None, "run": None, "reason": None}
    given.update(timings={}, verdicts=[])
    given.update((key, value) for key, value in details.items() if value is not None)
    given["reason"] = _safe(given["reason"])
    given["verdicts"] = _safe(given["verdicts"])
    if "measured" in given:
        given["measured"] = _safe(given["measured"])
    return dict(given, at=_clock.now(), event=event, release=release)


def _safe(value):
    """The value without keys in its texts, each of a length that a ledger can bear."""
    if isinstance(value, str):
        return _KEY.sub("(a key)", value)[:_TEXT_LENGTH]
    if isinstance(value, dict):
        return {key: _safe(one) for key, one in value.items()}
    return [_safe(one) for one in value] if isinstance(value, list) else value


def additions(known, new, find):
    """The records (list) to add to a ledger for new (a record), none where it is there already.

    known: dict of history (list of records) and current (a release or None), as the host has them now.
    find: function of a release's id: its release (dict) where a container of it is left, else None.
    """
    history, current = known["history"], known["current"]
    release, event = new["release"], new["event"]
    if event == "found" and current and current.get("id") == release["id"] and history:
        return []

    def key(one):
        return one.get("run"), one["release"].get("container"), one["event"]

    if new["run"] and any(key(one) == key(new) for one in history):
        return []
    serving = (state(history)["current"] or {}).get("id")
    before = new["from"]
    if event not in SERVING or not before or before in (serving, release["id"]):
        return [new]
    # The ledger does not know what served until now: without it there would be no way back.
    known_before = [current or {}] + [one["release"] for one in reversed(history)]
    predecessor = next((one for one in known_before if one.get("id") == before), None) or find(before)
    if not predecessor:
        return [new]
    seen = {key: value for key, value in predecessor.items() if key != "at"}
    shared = {key: new[key] for key in ("who", "controller", "run")}
    return [record("found", seen, **shared), new]


def add(home, model, new, find, dry=False):
    """Write new (a record) into the ledger: (whether that changed anything, what read() says then).

    find: as in additions(). dry: only tell. Raises OSError where the disk is full, with the ledger as it was.
    """
    if dry:
        return _add(home, model, new, find, dry)
    with _files.guarded(os.path.join(home, model)):
        return _add(home, model, new, find, dry)


def _add(home, model, new, find, dry):
    history = records(home, model)
    current = _read(home, model, history)["current"]
    fresh = additions({"history": history, "current": current}, new, find)
    for one in fresh if not dry else ():
        _files.append_line(ledger_path(home, model), json.dumps(one, sort_keys=True))
    after = _read(home, model, history + fresh)
    kept = {key: after[key] for key in ("current", "previous")}
    # A run that was killed between the two left the second behind.
    stale = kept["current"] is not None and _files.read_json(state_path(home, model)) != kept
    if stale and not dry:
        _files.write_json(state_path(home, model), kept)
    return bool(fresh) or stale, after
