# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""The role's configuration, in a real HAProxy."""

from __future__ import annotations

import json
import subprocess

import pytest
import yaml
from haproxy_gateway import HAPROXY, MODEL, ROLE, Client, Load, fleet, free_port, until

from ansible_collections.llmops.nim.plugins.module_utils import _aside, _haproxy_processes
from ansible_collections.llmops.nim.plugins.modules import nim_gateway


@pytest.fixture
def peers(tmp_path):
    with fleet(tmp_path) as made:
        yield made


@pytest.fixture
def gateway(peers):
    return peers[0]


@pytest.fixture
def nims(peers):
    return peers[1]


@pytest.fixture
def started(gateway):
    gateway.run()
    assert [one.up for one in gateway.servers().values()] == [True, False, True, False]
    return gateway


def test_the_template_is_what_haproxy_takes_without_a_warning(gateway, tmp_path):
    (tmp_path / "nim.state").write_text("")
    checked = subprocess.run([HAPROXY, "-c", "-f", str(gateway.config)], capture_output=True, text=True)
    warnings = [line for line in checked.stderr.splitlines() if "state file" not in line and "WARNING" in line]
    assert (checked.returncode, warnings) == (0, [])


def test_its_own_figures_are_told_where_they_are_wanted_and_nothing_else(gateway):
    assert "prometheus-exporter" not in gateway.config.read_text()
    port = free_port()
    gateway.write(gateway_exporter_port=port)
    gateway.run()
    status, told = Client(port).get("/metrics")
    assert status == 200
    assert f'haproxy_backend_active_servers{{proxy="nim_{MODEL}"}} 2' in told
    assert Client(port).get("/")[0] == 404
    assert Client(gateway.port).get("/metrics")[1] != told


def test_tokens_pass_as_they_come(started, nims):
    answer = Client(started.port).start("slow")
    first = answer.readline()
    assert first.strip().decode() in ("one_a", "two_a")
    nims["one_a"].go.set()
    nims["two_a"].go.set()
    assert answer.read().split() == [first.strip(), b"[DONE]"]


def test_the_server_with_fewest_requests_is_next(started, nims):
    answers = [Client(started.port).start("slow") for _number in range(6)]
    for answer in answers:
        answer.readline()
    assert (len(nims["one_a"].prompts), len(nims["two_a"].prompts)) == (3, 3)


@pytest.mark.parametrize("prompt", ["silent", "slow"])
def test_a_client_that_leaves_ends_the_request(started, nims, prompt):
    client = Client(started.port)
    client.connection.request("POST", "/v1/completions", json.dumps({"prompt": prompt}))
    until(lambda: nims["one_a"].prompts or nims["two_a"].prompts)
    assert sum(one.sessions for one in started.servers().values()) == 1
    client.connection.close()
    until(lambda: not sum(one.sessions for one in started.servers().values()))


def test_each_request_has_a_connection_of_its_own(started, nims):
    """A connection that was left open could be closed by NIM while the next request is on its way."""
    client = Client(started.port)
    assert [client.ask()[0] for _number in range(6)] == [200] * 6
    assert sum(len(nim.connections) for nim in nims.values()) == 6


def test_no_request_reaches_a_server_before_a_check_has_passed(gateway, nims):
    for name in ("one_a", "one_b", "two_b"):
        nims[name].ready = False
    gateway.save()
    gateway.start()
    with Load(gateway.port) as load:
        load.lost.clear()
        until(lambda: nims["two_a"].checks >= 1)
    assert set(load.served) <= {"two_a"}
    assert not any(nims[name].prompts for name in ("one_a", "one_b", "two_b"))


def test_a_server_that_is_down_costs_no_request(started, nims):
    nims["one_a"].close()
    with Load(started.port) as load:
        load.more(50)
    assert (load.lost, set(load.served)) == ([], {"two_a"})


def test_health_of_the_gateway_is_that_of_its_servers(started, nims):
    started.write(gateway_api_keys=["k"])
    started.reload()
    client = Client(started.port)
    assert client.get("/v1/health/ready")[0] == 200
    nims["one_a"].ready = nims["two_a"].ready = False
    until(lambda: client.get("/v1/health/ready")[0] == 503)
    status, text = Client(started.port, "k").ask()
    assert (status, json.loads(text)["error"]["code"]) == (503, "service_unavailable")


ODD_KEYS = ["good", "#odd", 'quo"te', "back\\slash", "'single'", "a,b;c", "$HOME%20"]


def test_only_who_has_a_key_comes_in(started, nims):
    started.write(gateway_api_keys=ODD_KEYS)
    started.reload()
    for key in (None, "wrong", "goo", "goodd", "GOOD", "good,good", ""):
        status, text = Client(started.port, key).ask("x" * 200000)
        error = json.loads(text)["error"]
        assert (status, error["code"], error["type"]) == (401, "invalid_api_key", "invalid_request_error")
    assert not any(nim.prompts for nim in nims.values())
    for key in ODD_KEYS:
        assert Client(started.port, key).ask()[0] == 200
    assert set(nims["one_a"].authorizations + nims["two_a"].authorizations) == {None}


@pytest.fixture
def pem(tmp_path):
    crt, key = tmp_path / "crt", tmp_path / "key"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-nodes", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-days", "2"]
        + ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1", "-out", str(crt), "-keyout", str(key)],
        check=True,
        capture_output=True,
    )
    both = tmp_path / "both.pem"
    both.write_text(crt.read_text() + key.read_text())
    return str(both)


def test_tls(started, nims, pem):
    started.write(gateway_tls_pem=pem, gateway_api_keys=["k"])
    started.reload()
    assert Client(started.port, "k", ca=pem).ask()[0] == 200
    assert Client(started.port, ca=pem).ask()[0] == 401


@pytest.mark.parametrize("save", [True, False], ids=["by the role", "by somebody else"])
def test_a_reload_under_load_loses_nothing(started, nims, save):
    waiting = Client(started.port)
    answer = waiting.start("slow")
    first = answer.readline().strip().decode()
    with Load(started.port, clients=6) as load:
        for _number in range(3):
            started.reload(save)
            load.more(30)
    assert load.lost == []
    nims["one_a"].go.set()
    nims["two_a"].go.set()
    assert answer.read().decode().split() == [first, "[DONE]"]


def test_states_outlive_reload_and_restart_and_another_model(started, nims):
    nim_gateway.Gateway(started.options(host="one", drain_timeout=5), _aside.Aside(None)).drain(
        [started.servers()["one_a"]]
    )
    for again in ("reload", "restart"):
        more = [{"name": "added", "port": 1, "servers": []}, {"name": MODEL, "port": started.port}]
        more[1]["servers"] = started.hosts
        if again == "reload":
            started.write(gateway_models=more[1:])
            started.reload()
        else:
            started.stop()
            started.start()
        with Load(started.port) as load:
            load.more(20)
        assert (load.lost, set(load.served)) == ([], {"two_a"})
        assert started.servers()["one_a"].state == "maint"


def test_the_times_that_the_module_relies_on():
    config = (ROLE / "templates/haproxy.cfg.j2").read_text()
    for name in ("http-request", "http-keep-alive"):
        assert f"timeout {name} {_haproxy_processes.SETTLE_SECONDS - 1}s\n" in config
    assert "option http-server-close\n" in config


def test_the_paths_that_the_module_relies_on():
    spec = nim_gateway.ARGUMENT_SPEC
    values = yaml.safe_load((ROLE / "vars/main.yml").read_text())
    defaults = yaml.safe_load((ROLE / "defaults/main.yml").read_text())
    assert spec["socket"]["default"] == defaults["gateway_stats_socket"]
    assert spec["state_file"]["default"] == values["__gateway_state_file"]
    assert spec["config"]["default"] == values["__gateway_config_file"]
    assert spec["drain_timeout"]["default"] == defaults["gateway_drain_timeout"]
