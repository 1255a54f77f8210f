# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""What a host says of itself, as Prometheus reads it from a file (node_exporter's textfile collector). Pure.

Private to the collection: breaking changes at any time.
"""

from __future__ import annotations

from datetime import datetime, timezone

# Name → what it tells. All are gauges.
HELP = {
    "nim_check_timestamp_seconds": "When the host was checked last.",
    "nim_check_findings": "What is wrong (severity problem) or about to be (severity warning), by its code.",
    "nim_disk_free_bytes": "Free bytes of a disk that models need.",
    "nim_certificate_expires_timestamp_seconds": "When a certificate of the gateway expires.",
    "nim_release_info": "1 for the release that serves by the ledger, with what it is made of.",
    "nim_release_activated_timestamp_seconds": "Since when it serves, by the ledger.",
    "nim_release_ready": "Whether the endpoint of that release is ready.",
    "nim_release_drift": "How many differences there are between what runs and the ledger, by kind.",
}


def exposition(checked, found):
    """The file (str). checked: result of nim_check. found: result of nim_release_info, or None where it has none."""
    samples = _of_check(checked) + _of_releases(found or {})
    lines = []
    for name, text in HELP.items():
        ours = [sample for sample in samples if sample[0] == name]
        if ours:
            lines += [f"# HELP {name} {text}", f"# TYPE {name} gauge"]
            lines += [f"{name}{_labels(labels)} {value}" for _name, labels, value in ours]
    return "\n".join(lines) + "\n"


def _of_check(checked):
    samples = [("nim_check_timestamp_seconds", {}, float(checked["checked_at"]))]
    counted = {}
    for severity, key in (("problem", "problems"), ("warning", "warnings_found")):
        for one in checked[key]:
            labels = (severity, one["code"], one.get("model") or "")
            counted[labels] = counted.get(labels, 0) + 1
    for labels, count in counted.items():
        samples.append(("nim_check_findings", dict(zip(("severity", "code", "model"), labels)), count))
    samples += [("nim_disk_free_bytes", {"mount": mount}, free) for mount, free in checked["disks"].items()]
    for path, expires in checked["certificates"].items():
        samples.append(("nim_certificate_expires_timestamp_seconds", {"path": path}, expires))
    return samples


def _of_releases(found):
    samples, counted = [], {}
    ready = {one["container"] for one in found.get("releases") or [] if one["health"] == "ready"}
    for model, ledger in (found.get("ledgers") or {}).items():
        release = ledger["current"]
        if not release:
            continue
        kept = {key: release.get(key) or "" for key in ("weights", "commit", "nim_version")}
        labels = {"model": model, "release": release.get("id") or ""}
        samples.append(("nim_release_info", dict(labels, **kept), 1))
        samples.append(("nim_release_activated_timestamp_seconds", labels, _seconds(release["at"])))
        samples.append(("nim_release_ready", labels, int(release.get("container") in ready)))
    for one in found.get("drift") or []:
        labels = (one["model"], one["kind"])
        counted[labels] = counted.get(labels, 0) + 1
    for labels, count in counted.items():
        samples.append(("nim_release_drift", dict(zip(("model", "kind"), labels)), count))
    return samples


def _seconds(at):
    moment = datetime.strptime(str(at)[:19], "%Y-%m-%dT%H:%M:%S")
    return moment.replace(tzinfo=timezone.utc).timestamp()


def _labels(labels):
    shown = ",".join(f'{key}="{_escaped(value)}"' for key, value in labels.items())
    return f"{{{shown}}}" if shown else ""


def _escaped(value):
    return str(value).replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
