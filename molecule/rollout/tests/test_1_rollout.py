"""New weights on the whole fleet and back again: nobody notices but for what the answers say."""

from __future__ import annotations

import json
import re
import urllib.error
import urllib.request

import fleet
import pytest
from haproxy_gateway import until
from prometheus_server import Prometheus

from lab import API_KEY, ROOT, on_terminal, playbook, recap, run

# Good beside the other for a while.
OLD_KEY = "lab-gateway-of-last-year"

# What moving no bytes and building no engine leaves as it is.
BYTES = r"""
docker images --no-trunc --quiet | sort
find /var/lib/nim/weights /var/lib/nim/capitals/cache -type f -printf '%p %s %T@\n' | sort
"""


@pytest.fixture(scope="module")
def v1():
    return fleet.bring_to("v1")


@pytest.fixture(scope="module")
def v2(v1):
    """The fleet on v2, v1 being the release before."""
    return fleet.current()


def outcomes(output):
    """The last table of a run: {host: what became of it}."""
    table = output.partition("TASK [Say who serves what]")[2].partition("TASK [")[0]
    return {words[0]: " ".join(words[3:]) for words in map(str.split, table.splitlines()) if len(words) > 3}


# Of a rollout on a server, what gateways are asked for it among them, beyond the transfers.
CALLS = 11
TRANSFERS = {"llmops.nim.lfs_snapshot", "llmops.nim.nim_image", "llmops.nim.nim_transfers"}


def test_new_weights_in_three_ways_and_with_keys_from_now_on(v1, load, tmp_path):
    assert set(load.next()) == {"v1"}
    counting = {
        "ANSIBLE_CALLBACK_PLUGINS": str(ROOT / "molecule/shared/callbacks"),
        "ANSIBLE_CALLBACKS_ENABLED": "module_calls",
        "LAB_CALLS": str(tmp_path / "calls"),
    }
    done = fleet.deploy("v2", nim_serial=[1, 10], gateway_api_keys=[API_KEY, OLD_KEY], environment=counting)
    assert done.returncode == 0, done.stdout
    assert set(load.next()) == {"v2"}
    found = outcomes(done.stdout)
    assert {host: found[host] for host in fleet.HOSTS} == {
        host: f"activated, {strategy}" for host, strategy in fleet.STRATEGIES.items()
    }
    seen = fleet.look_at_all()
    assert {host: one.previous for host, one in seen.items()} == v1
    assert_few(json.loads((tmp_path / "calls").read_text())["calls"])


def assert_few(calls):
    """Goes red when a module call more is made for every server. calls: {host: {module: int}} of one rollout."""
    # What is done once a run is done by the first.
    for host in fleet.HOSTS[1:]:
        asked = {module: times for module, times in calls[host].items() if module not in TRANSFERS}
        assert sum(asked.values()) <= CALLS, (host, asked)


def test_without_a_key_nobody_comes_in(v2):
    assert [status(key) for key in ("", API_KEY, OLD_KEY)] == [401, 200, 200]


def test_an_old_key_is_taken_away_without_a_lost_request(v2, load):
    done = fleet.playbook("gateway", gateway_api_keys=[API_KEY])
    assert done.returncode == 0, done.stdout
    assert [status(key) for key in (API_KEY, OLD_KEY)] == [200, 401]
    load.next()


def status(key):
    """What the gateway answers who has a key (str), int."""
    request = urllib.request.Request(f"{fleet.GATEWAY}/models", headers={"Authorization": f"Bearer {key}"})
    try:
        with urllib.request.urlopen(request) as answer:
            assert json.load(answer)["data"][0]["id"] == "capitals"
            return answer.status
    except urllib.error.HTTPError as refused:
        return refused.code


def test_the_ledgers_and_what_runs_agree(v2):
    found = fleet.playbook("status", nim_output="json")
    assert found.returncode == 0, found.stdout
    assert "DRIFT" not in found.stdout
    assert '"drift": []' in found.stdout
    told = fleet.playbook("history").stdout
    assert all(strategy in told for strategy in fleet.STRATEGIES.values()), told


def test_the_whole_fleet_goes_back_moving_no_bytes(v1, v2, load):
    before = {host: run(host, BYTES) for host in fleet.HOSTS}
    done = fleet.playbook("rollback", nim_serial=[1, 10], gateway_api_keys=[API_KEY])
    assert done.returncode == 0, done.stdout
    assert set(load.next()) == {"v1"}
    assert fleet.current() == v1
    assert {host: run(host, BYTES) for host in fleet.HOSTS} == before


def test_one_server_goes_to_a_release_by_its_id_and_a_terminal_shows_how_far_it_is(v1, v2, load):
    wishes = {"nim_release": v2["gpu1"], "nim_soak_seconds": 4, "gateway_api_keys": [API_KEY]}
    done = on_terminal("rollback", limit="gpu1", inventories=fleet.INVENTORIES, **wishes)
    assert done.returncode == 0, done.stdout
    assert re.search(r"gpu1 +watched .*%.* left", done.stdout), done.stdout
    assert fleet.current() == dict(v1, gpu1=v2["gpu1"])
    assert set(load.next()) == {"v1", "v2"}


def test_a_second_run_changes_nothing(v1, v2):
    done = fleet.deploy("v2", limit="gpu1", gateway_api_keys=[API_KEY])
    assert done.returncode == 0, done.stdout
    assert recap(done.stdout)["gpu1"]["changed"] == 0, done.stdout


def test_a_prometheus_sees_servers_and_gateway(v1, tmp_path):
    watched = (*fleet.INVENTORIES, "molecule/rollout/inventory/watcher.yml")
    done = playbook("watch", inventories=watched, watch_directory=str(tmp_path))
    assert done.returncode == 0, done.stdout
    prometheus = Prometheus(tmp_path)
    try:
        until(lambda: up(prometheus, "nim") == set(fleet.HOSTS))
        until(lambda: up(prometheus, "nim_gateway") == {"gateway"})
        (active,) = until(lambda: prometheus.ask('haproxy_backend_active_servers{proxy="nim_capitals"}'))
        assert active["value"][1] == "3"
    finally:
        prometheus.stop()


def up(prometheus, job):
    """The hosts (set of str) of a job that answer the Prometheus."""
    return {one["metric"]["host"] for one in prometheus.ask(f'up{{job="{job}"}} == 1')}
