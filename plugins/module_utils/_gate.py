# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""By which benchmark of its predecessor a release is measured before it gets requests, and how.

Records are those of a ledger, with what nim_benchmark returns as C(measured). Pure.
Private to the collection: breaking changes at any time.
"""

from __future__ import annotations

from ansible_collections.llmops.nim.plugins.module_utils import _benchmark
from ansible_collections.llmops.nim.plugins.module_utils._models import LABEL


def gates(planned, records, most):
    """How the releases of a plan (list of dict of _plan.plans()) are to be measured: a dict of C(gates) (model to dict
    of C(reference) (a record), C(load) (of _benchmark.load()) and C(most)) and C(without) (list of str, why the others
    are not).

    records: dict of model to the records (list of dict) of its benchmarks, oldest first. most: by which fraction
    (float) a release may be worse.
    """
    found = {"gates": {}, "without": []}
    for item in planned:
        model, before = item["model"]["name"], item["predecessor"]
        record = reference(records.get(model) or [], before["id"]) if before else None
        why = _without(item, record)
        if why:
            found["without"].append(f"{model} is not measured: {why}")
        else:
            found["gates"][model] = {"reference": record, "load": _benchmark.load(record["measured"]), "most": most}
    return found


def _without(item, record):
    """Why a planned release is not measured (str), or None."""
    before = item["predecessor"]
    if not before:
        return "nothing served before it."
    # By figures of a shared GPU nobody can be judged who was measured alone.
    if item["swap"]["strategy"] == "side_by_side":
        return f"it shares its GPU with {before['container']} until then. With nim_strategy=in_place it would be."
    if not record:
        return f"the ledger has no benchmark of {before['container']} to go by. playbooks/benchmark.yml takes one."
    return None


def reference(records, release):
    """The newest record (dict, None without one) of a release (its id) by which another can be measured."""
    mine = (one for one in reversed(records) if one["release"].get("id") == release)
    return next((one for one in mine if _benchmark.load(one.get("measured"))), None)


def staged(planned, address, api):
    """What is to be measured (a dict as of _benchmark.wanted()) of a release that is ready on its own port.

    planned: of _release.staged(). address: under which the control node reaches the host. api: completions or chat.
    """
    release = planned["release"]
    return {
        "container": release["container"],
        "model": planned["model"]["name"],
        "release": release["id"],
        "base_url": f"http://{address}:{release['port']}/v1",
        "served_name": release["labels"][LABEL + "served_name"],
        "api": api,
        "snapshot": release["volumes"][0].rsplit(":", 2)[0],
    }
