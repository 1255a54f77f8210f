# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""What the report tells of a fleet, section by section, from what its hosts said of themselves.

Private to the collection: breaking changes at any time.

A host is a dict of results as playbooks/report.yml registers them: C(releases) (nim_release_info), C(ledgers)
(nim_ledger), C(observed) (gpu_host_info), C(checked) (nim_check) and C(asked) (nim_completion, looped). Each may be
missing or have failed: a host that does not answer has none, and still has its place in the report.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from ansible_collections.llmops.nim.plugins.module_utils import _benchmark, _clock, _ledger, _lock, _status

# In the order in which they begin. What a ledger times beside them comes after.
STEPS = ("ready", "drain", "soak")
# Result → what it has where the host has told it (a playbook that goes on calls no result a failure), and words for it.
ASKED = {
    "releases": ("releases", "what runs"),
    "ledgers": ("models", "its ledgers"),
    "observed": ("gpus", "its GPUs"),
    "checked": ("problems", "what will break next"),
}


def facts(hosts):
    """The sections of the report (dict). hosts: dict of name to host, in the inventory's order."""
    entries = _entries(hosts)
    return {
        "fleet": fleet(hosts),
        "rollouts": [one for one in entries if "broken" not in one and one["event"] != _ledger.MEASURED],
        "steps": steps(entries),
        "memory": memory(hosts),
        "answers": answers(hosts),
        "benchmarks": benchmarks(entries),
        "problems": problems(hosts, entries),
    }


def fleet(hosts):
    """Who serves what (list of dict), a row a release and host; a host without any has one that says so."""
    rows = []
    for host, told in hosts.items():
        found = told.get("releases") or {}
        if "releases" not in found:
            rows.append({"host": host, "health": "does not answer" if found.get("unreachable") else "unknown"})
            continue
        for one in found["releases"]:
            drift = [other["what"] for other in found["drift"] if other["container"] == one["container"]]
            rows.append(
                {
                    "host": host,
                    "model": one["model"],
                    "release": one["release"],
                    "health": one["health"],
                    "since": one.get("started") if one.get("running", True) else None,
                    "age": _clock.age(one["age_seconds"]),
                    "port": one["port"],
                    "weights": _status.weights(one),
                    "manifest": _status.manifest(one),
                    "image": _status.image_of(one),
                    "profile": one["profile_name"],
                    "drift": drift,
                }
            )
        if not found["releases"]:
            rows.append({"host": host, "health": "no release"})
    return rows


def _entries(hosts):
    """The records of all ledgers (list of dict with host and model), oldest first; what cannot be read is broken."""
    found = []
    for host, told in hosts.items():
        for model, ledger in ((told.get("ledgers") or {}).get("models") or {}).items():
            for record in ledger["records"]:
                found.append(_entry(record, host, model))
    return sorted(found, key=lambda one: str(one.get("at")))


def _entry(record, host, model):
    try:
        end = _moment(record["at"])
        timings = record.get("timings") or {}
        order = [step for step in STEPS if step in timings] + sorted(set(timings) - set(STEPS))
        timings = {step: float(timings[step]) for step in order}
        begin = end - timedelta(seconds=sum(timings.values()))
        release = record["release"]
        return {
            "host": host,
            "model": model,
            "at": str(record["at"]),
            "begin": begin,
            "event": str(record["event"]),
            "release": str(release.get("id") or release.get("container") or "-"),
            "from": record.get("from"),
            "weights": _status.weights(dict({"weights": None, "commit": None}, **release)),
            "strategy": record.get("strategy"),
            "who": record.get("who"),
            "reason": record.get("reason"),
            "run": str(record.get("run") or record["at"]),
            "timings": timings,
            "steps": _benchmark.points(record["measured"]) if record["event"] == _ledger.MEASURED else [],
        }
    except (AttributeError, LookupError, TypeError, ValueError, OverflowError) as error:
        return {"host": host, "model": model, "broken": f"{type(error).__name__}: {error}: {record!r}"[:300]}


def steps(entries, runs=5):
    """The steps of the last runs (int), a dict each: of which run, host, model and release, what, how many seconds, and
    at which second of the run it began. A ledger has the steps' lengths and the end of all, so this is counted back.
    """
    timed = [one for one in entries if "broken" not in one and sum(one["timings"].values())]
    last = list(dict.fromkeys(one["run"] for one in timed))[-runs:]
    found = []
    for run in last:
        ours = [one for one in timed if one["run"] == run]
        begun = min(one["begin"] for one in ours)
        for one in ours:
            offset = (one["begin"] - begun).total_seconds()
            for step, seconds in one["timings"].items():
                found.append(
                    dict(
                        {key: one[key] for key in ("run", "host", "model", "release")},
                        run_at=begun.strftime("%Y-%m-%d %H:%M:%S"),
                        step=step,
                        begin=offset,
                        seconds=seconds,
                    )
                )
                offset += seconds
    return found


def benchmarks(entries):
    """The last benchmarks (list of dict), of each host's model the newest of its last two releases; a row a step."""
    newest = {}
    for one in entries:
        if one.get("steps"):
            of_model = newest.setdefault((one["host"], one["model"]), {})
            # The newest stands last.
            of_model.pop(one["release"], None)
            of_model[one["release"]] = one
    kept = [one for _model, releases in sorted(newest.items()) for one in list(releases.values())[-2:]]
    shared = ("host", "model", "release", "at")
    return [dict(point, **{key: one[key] for key in shared}) for one in kept for point in one["steps"]]


def memory(hosts):
    """The memory of each GPU (list of dict): C(held) (dict of release to MiB), C(other_mib) and C(free_mib)."""
    rows = []
    for host, told in hosts.items():
        found = told.get("observed") or {}
        for gpu in found.get("gpus") or []:
            total, used = gpu.get("memory_total_mib"), gpu.get("memory_used_mib")
            if total is None or used is None:
                continue
            held = {}
            for one in found.get("releases") or []:
                mine = (one.get("memory_mib") or {}).get(gpu["uuid"])
                if mine:
                    held[f"{one['model']} {one['release']}"] = mine
            other = max(0, used - sum(held.values()))
            free = max(0, total - used)
            gpu_name = f"GPU {gpu['index']}"
            rows.append({"host": host, "gpu": gpu_name, "held": held, "other_mib": other, "free_mib": free})
    return rows


def answers(hosts):
    """What the endpoints answered (list of dict), a row a question."""
    rows = []
    for host, told in hosts.items():
        for result in (told.get("asked") or {}).get("results") or []:
            for one in result.get("answers") or []:
                wrong = [text for text in one["verdicts"].values() if text != "ok"]
                shown = {key: one.get(key) for key in ("prompt", "answer", "ttft_seconds", "tokens_per_second")}
                rows.append(dict(shown, host=host, container=result.get("item"), wrong=wrong))
    return rows


def problems(hosts, entries=()):
    """All that is wrong or will be (list of dict of host, model, what, evidence and remedy), what is wrong first."""
    wrong, coming = [], []
    for host, told in hosts.items():
        wrong += _unanswered(host, told)
        wrong += [_problem(host, one, one.get("model")) for one in (told.get("checked") or {}).get("problems") or []]
        coming += [
            dict(_problem(host, one, one.get("model")), coming=True)
            for one in (told.get("checked") or {}).get("warnings_found") or []
        ]
        found = told.get("releases") or {}
        for one in found.get("drift") or []:
            what = {"what": one["what"], "remedy": "Deploy again, or see why with diagnose.yml."}
            wrong.append(_problem(host, what, one["model"]))
        if found.get("lock"):
            coming.append(dict(_problem(host, {"what": _lock.describe(found["lock"])}), coming=True))
        for result in (told.get("asked") or {}).get("results") or []:
            wrong += [_problem(host, one, result.get("item")) for one in result.get("problems") or []]
    for one in entries:
        if "broken" in one:
            what = {"what": "A record of the ledger cannot be read, and is left out", "evidence": one["broken"]}
            wrong.append(_problem(one["host"], what, one["model"]))
    return wrong + coming


def _unanswered(host, told):
    """A problem (list of dict) for each thing that a host did not tell; one alone where it did not answer at all."""
    unreachable = [one for one in told.values() if one and one.get("unreachable")]
    if unreachable:
        what = {"what": "The host does not answer", "evidence": unreachable[0].get("msg")}
        remedy = f"See whether it is up and lets you in: ansible {host} -m ping"
        return [_problem(host, dict(what, remedy=remedy))]
    found = []
    for key, (has, words) in ASKED.items():
        result = told.get(key) or {}
        if has not in result:
            known = result.get("problem") or {"what": f"The host does not tell {words}", "evidence": result.get("msg")}
            found.append(_problem(host, known))
    return found


def _problem(host, found, model=None):
    models = ", ".join(model) if isinstance(model, list) else model
    return dict({key: found.get(key) for key in ("what", "evidence", "remedy")}, host=host, model=models, coming=False)


def _moment(at):
    return datetime.strptime(str(at)[:19], "%Y-%m-%dT%H:%M:%S")
