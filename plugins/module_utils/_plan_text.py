# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""The plan in plain words, as a table, and as data for programs.

Private to the collection: breaking changes at any time.
"""

from __future__ import annotations

from ansible_collections.llmops.nim.plugins.module_utils._gpu_mode import CDI, HOOK
from ansible_collections.llmops.nim.plugins.module_utils._models import LABEL
from ansible_collections.llmops.nim.plugins.module_utils._problem import Problem, report
from ansible_collections.llmops.nim.plugins.module_utils._table import table

_ACTIONS = {
    "none": "in sync,",
    "create": "create",
    "start": "start",
    "replace": "replace the running release by",
    "refused": "refused",
}
_MODES = {HOOK: "the runtime hook (gpus)", CDI: "CDI (cdi)"}
_HEADINGS = ("HOST", "MODEL", "DO", "RELEASE", "FETCH", "PROFILE", "ENGINE", "GPU MEMORY", "SWAP", "PROBLEMS")


def amount(size):
    """A number of bytes (int, or None) for the eye: C(2.3 GiB), C(nothing), C(unknown)."""
    if size is None:
        return "unknown"
    if size == 0:
        return "nothing"
    for unit, factor in (("GiB", 1024**3), ("MiB", 1024**2), ("KiB", 1024)):
        if size >= factor:
            return f"{size / factor:.1f} {unit}"
    return f"{size} B"


def headline(item):
    """What is done with a model (dict of plans()), in one line."""
    name = item["release"]["container"] if item["release"] else "until its problems are solved"
    because = f" ({'; '.join(item['reasons'])})" if item["reasons"] else ""
    return f"{item['model']['name']}: {_ACTIONS[item['action']]} {name}{because}"


def lines(item):
    """The plan of a model (dict of plans()) in full: list of str."""
    said = [headline(item)]
    if item["action"] not in ("none", "refused"):
        fetch, profile, engine = item["fetch"], item["profile"], item["engine"]
        said += [f"  change: {one['key']}: {one['from']} → {one['to']}" for one in item["changes"]]
        said.append(f"  fetch: image {amount(fetch['image_bytes'])}, weights {amount(fetch['weights_bytes'])}")
        said.append("  GPUs: " + _gpus(item))
        said.append("  profile: " + _profile(profile))
        said.append(f"  engine: {engine['do']}: {engine['why']}")
        said += [f"  memory: {one}" for one in _memory(item["memory"])]
        if item["strays"]:
            said.append("  stopped first, left by a run that was killed: " + ", ".join(item["strays"]))
        swap = item["swap"]
        said.append(f"  swap: {swap['strategy']}: {swap['why']}; downtime: {swap['downtime']}")
        said.append(f"  if it fails: {item['fallback']}")
    for word in ("problem", "warning"):
        for one in item[word + "s"]:
            said += _problem(word, one)
    return said


def _gpus(item):
    names = ", ".join(f"{gpu['index']} ({gpu['uuid']})" for gpu in item["gpus"])
    return f"{names}, handed over by {_MODES[item['release']['gpu_mode']]}"


def _profile(profile):
    if profile is None:
        return "chosen once the image is on the host, from its own listing with exactly these GPUs"
    return f"{profile['description']} ({profile['id']}): " + "; ".join(profile["reasons"])


def _memory(memory):
    needs = "what the model needs is not known before its checkpoint is read"
    if memory["need_mib"] is not None:
        needs = f"the model needs {memory['need_mib']} MiB at {memory['max_model_len']} tokens"
    for gpu in memory["gpus"]:
        yield (
            f"GPU {gpu['index']} ({gpu['name']}): {_mib(gpu['used_mib'])} of {_mib(gpu['total_mib'])} MiB in use, "
            f"{gpu['own_mib']} by this model; afterwards {_mib(gpu['after_mib'])} (share {memory['share']:g}); {needs}"
        )
    if any(gpu["own_mib"] for gpu in memory["gpus"]):
        yield f"beside the running release: {memory['crowd'] or 'it fits'}"


def _mib(number):
    return "?" if number is None else str(number)


def _problem(word, one):
    said = [f"  {word}: {one['what']}"]
    for key in ("evidence", "remedy", "source"):
        parts = one[key].splitlines() if one[key] else []
        said += [f"    {key}: {parts[0]}"] + [f"      {part}" for part in parts[1:]] if parts else []
    return said


def told(item):
    """The plan of a model with its C(text), and its C(refusal): the problems as one text, or None."""
    problems = [
        Problem(*(one[key] for key in ("what", "evidence", "remedy", "code", "source"))) for one in item["problems"]
    ]
    return dict(item, text="\n".join(lines(item)), refusal=report(problems) if problems else None)


def row(host, item):
    """The cells (list of str) of a model (dict of plans()) on a host."""
    fetch, memory, profile = item["fetch"], item["memory"], item["profile"]
    sizes = [size for size in fetch.values() if size is not None]
    after = "-"
    if memory:
        after = " ".join(f"{gpu['index']}: {_mib(gpu['used_mib'])}→{_mib(gpu['after_mib'])}" for gpu in memory["gpus"])
    return [
        host,
        item["model"]["name"],
        "in sync" if item["action"] == "none" else item["action"],
        item["release"]["id"] if item["release"] else "-",
        "-" if item["action"] == "none" else amount(sum(sizes)) if sizes else "unknown",
        (profile or {}).get("description") or "-",
        item["engine"]["do"] if item["action"] != "none" else "-",
        after,
        item["swap"]["strategy"] if item["action"] != "none" else "-",
        str(len(item["problems"])) if item["problems"] else "-",
    ]


def plan_table(hosts):
    """The table (str) of hosts: list of (host, its plans)."""
    return table(_HEADINGS, [row(host, item) for host, items in hosts for item in items])


def data(item):
    """The plan of a model (dict of plans()) for programs, without what may be a secret."""
    wanted = item["release"]
    shown = ("action", "reasons", "changes", "fetch", "profile", "engine", "memory", "swap", "problems", "warnings")
    return dict(
        {key: item[key] for key in shown},
        model=item["model"]["name"],
        release=wanted and wanted["id"],
        container=wanted and wanted["container"],
        image=wanted and wanted["image"],
        contract=wanted and wanted["labels"][LABEL + "contract"],
        gpu_mode=wanted and wanted["gpu_mode"],
        weights=item["model"]["weights"]["repo"],
        commit=wanted and wanted["labels"][LABEL + "commit"],
        predecessor=item["predecessor"] and item["predecessor"]["container"],
    )
