# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""Which snapshots a fleet wants, and who hands each on to whom: pure, on the control node.

Private to the collection: breaking changes at any time.
"""

from __future__ import annotations

from ansible_collections.llmops.nim.plugins.module_utils import _patience

# What another host may not run into: its own way to the hub, its own disk, its own packages.
_OWN = {*_patience.PASSING, "hub_tls", "disk_too_small", "disk_full", "locked", "git_missing", "git_lfs_missing"}
_OWN |= {"file_system_unfit", "libtorrent_missing", "cannot_listen", "killed", "part_gone", "seed_gone"}
# What the tasks of a turn leave in a host's variables.
_RESULTS = ("__weights_started", "__weights_fetched", "__weights_received", "__weights_imported")
# How many turns may count for nobody, so that an end comes whatever is told.
_VOID = 10
_LOST = "The hosts that have the weights, or were to have them, were lost. Run again: what has come is kept."


def wanted(models, commits):
    """The snapshots (list of dict: repo, commit, hosts) that the models want, each once, in the order of the hosts.

    models: host -> its nim_models. commits: C(repo@revision) -> commit.
    """
    found = {}
    for host, own in models.items():
        for model in own:
            repo, revision = model["weights"]["repo"], model["weights"].get("revision", "main")
            hosts = found.setdefault((repo, commits.get(f"{repo}@{revision}", revision)), [])
            if host not in hosts:
                hosts.append(host)
    return [{"repo": repo, "commit": commit, "hosts": hosts} for (repo, commit), hosts in found.items()]


def turn(hosts, tried=()):
    """The next turn in the carrying of a snapshot (dict): parts(), and what follows from them for each host.

    hosts: the variables of each host (dict of name to mapping), in which modules of this turn and the last have left
    their results, and C(__weights_address). tried: the seeds of earlier turns; None for a turn that says nothing about
    its seed, since another run had some of the hosts.

    fetches: whether the seed has to have it from the hub. addresses: of all that take part, the seed's first. tried:
    with the seed of this turn. said: for people (str).
    """
    there = {host: variables.get("__weights_there") or {} for host, variables in hosts.items()}
    results = [variables.get(key) or {} for key in _RESULTS for variables in hosts.values()]
    if tried and list(tried).count(None) < _VOID and _another_was_in_the_way(there, results):
        there = {host: {key: value for key, value in seen.items() if key != "problem"} for host, seen in there.items()}
        tried, results = [*tried[:-1], None], []
    found = parts(there, tried, results)
    seed, receivers = found["seed"], found["receivers"]
    taking = [seed, *receivers] if seed else []
    fetches = bool(seed) and not there[seed]["published"]
    takers = ", ".join(receivers) or "nobody"
    return dict(
        found,
        fetches=fetches,
        taking=taking,
        addresses=[hosts[host]["__weights_address"] for host in taking],
        tried=[*tried, *taking[:1]],
        said=f"{seed} {'fetches' if fetches else 'has'} it and hands it on to {takers}." if seed else "",
    )


def _another_was_in_the_way(there, results):
    """Whether another run had some of the hosts, of what they tell of it and what came of the last turn."""
    codes = [seen["problem"]["code"] for seen in (*there.values(), *results) if "problem" in seen]
    return "gave_way" in codes or any(seen.get("waited") for seen in there.values())


def parts(there, tried=(), results=()):
    """Who hands on a snapshot (seed, or None), who takes it (receivers, list); whom nobody helps (left), and why (str).

    there: host -> what C(weights_swarm) said when it was stopped last, or nothing of use from a host that was lost.
    tried: the seeds of earlier rounds. results: what came of the last round, as modules return it.

    The seed is the first host that has the snapshot, else the one that has most of it, else the first. A host that is
    to fetch it gets one chance, one that has it two; where others could not do better, nobody gets another.
    """
    lacking = [host for host, seen in there.items() if not seen.get("published")]
    reached = [host for host, seen in there.items() if "bytes_there" in seen]
    holders = [host for host in reached if host not in lacking]
    chances = 2 if holders else 1
    able = [host for host in holders or reached if list(tried).count(host) < chances]
    failed = [result for result in (*there.values(), *results) if "problem" in result] if tried else []
    codes = {result["problem"]["code"] for result in failed}
    if "cannot_listen" in codes:  # whoever could not listen did not answer the others
        codes.discard("seed_unreachable")
    curable = codes <= _OWN
    seed = max(able, key=lambda host: there[host]["bytes_there"]) if able and lacking and curable else None
    receivers = [host for host in lacking if host in reached and host != seed]
    if seed is None or seed in holders and not receivers:
        why = "\n".join(dict.fromkeys(result.get("ended") or result["msg"] for result in failed))
        return {"seed": None, "receivers": [], "left": lacking, "why": why or _LOST}
    return {"seed": seed, "receivers": receivers, "left": [], "why": ""}
