# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""nim_gateway against a real HAProxy with the role's configuration."""

from __future__ import annotations

import hashlib
import json
import os
import threading

import pytest
from ansible.module_utils import basic
from haproxy_gateway import MODEL, Client, Load, fleet, until

from ansible_collections.llmops.nim.plugins.module_utils import _haproxy_processes
from ansible_collections.llmops.nim.plugins.module_utils._aside import Aside
from ansible_collections.llmops.nim.plugins.module_utils._haproxy_gateway import Gateway
from ansible_collections.llmops.nim.plugins.modules import nim_gateway


@pytest.fixture
def peers(tmp_path):
    with fleet(tmp_path) as (gateway, nims):
        gateway.run()
        yield gateway, nims


@pytest.fixture
def gateway(peers):
    return peers[0]


@pytest.fixture
def nims(peers):
    return peers[1]


@pytest.fixture
def run(gateway, monkeypatch, capsys):
    """Run the module; its result (dict)."""

    def call(**params):
        arguments = json.dumps({"ANSIBLE_MODULE_ARGS": gateway.options(**params)})
        monkeypatch.setattr(basic, "_ANSIBLE_ARGS", arguments.encode())
        monkeypatch.setattr(basic, "_ANSIBLE_PROFILE", "legacy", raising=False)
        with pytest.raises(SystemExit):
            nim_gateway.main()
        return json.loads(capsys.readouterr().out)

    return call


class Passing:
    """A pass over the servers that goes on while the test does."""

    def __init__(self, gateway, step, **options):
        wanted = {"drain_timeout": 60, "up_timeout": 60, "slot": None, **gateway.options(**options)}
        self.told = []
        aside = Aside(None)
        aside.tell = lambda *words: self.told.append(words)
        self.gateway = Gateway(wanted, aside)
        self.thread = threading.Thread(target=step, args=(self.gateway,), daemon=True)
        self.thread.start()

    def ended(self):
        self.thread.join(0)
        return not self.thread.is_alive()


def drain(gateway):
    gateway.drain(gateway.servers())


def states(result):
    return {one["name"]: one["state"] for one in result["servers"]}


def test_files_that_haproxy_has_not_read_as_they_should_be(gateway, run):
    def outdated(digest=None):
        digest = digest or hashlib.sha256(gateway.config.read_bytes()).hexdigest()
        files = {str(gateway.config): digest, str(gateway.folder / "missing"): digest}
        return [path.rpartition("/")[2] for path in run(state="read", files=files)["outdated"]]

    # HAProxy tells its age in whole seconds.
    os.utime(gateway.config, (0, 0))
    assert outdated() == ["missing"]
    assert outdated("0" * 64) == ["haproxy.cfg", "missing"]
    os.utime(gateway.config, (2**32, 2**32))  # changed, and nobody has reloaded it
    assert outdated() == ["haproxy.cfg", "missing"]


def test_drained_waits_for_the_answer_that_runs(gateway, nims):
    answers = {}
    while len(answers) < 2:
        answer = Client(gateway.port).start("slow")
        answers[answer.readline().strip().decode()] = answer
    passing = Passing(gateway, drain, host="one")
    until(lambda: gateway.servers()["one_a"].state == "drain")
    with Load(gateway.port) as load:
        load.more(50)
    assert (load.lost, set(load.served)) == ([], {"two_a"})
    assert not passing.ended()
    assert gateway.servers()["one_a"].sessions >= 1
    for nim in nims.values():
        nim.go.set()
    assert answers["one_a"].read().split() == [b"one_a", b"[DONE]"]
    until(passing.ended)
    assert (passing.gateway.cut, gateway.servers()["one_a"].state, nims["one_a"].aborted) == (0, "maint", 0)


def test_when_time_is_up_it_says_how_many_still_run(gateway, run, nims):
    answers = [Client(gateway.port).start("slow") for _number in range(2)]
    assert {answer.readline() for answer in answers} == {b"one_a\n", b"two_a\n"}
    result = run(state="drained", host="one", drain_timeout=0.3)
    assert (result["cut"], result["changed"], result["serving"]) == (1, True, 1)
    assert result["waited_seconds"] >= 0.3
    assert states(result) == {"one_a": "maint", "one_b": "maint"}


def test_the_second_time_nothing_changes(run):
    assert run(state="drained", host="one")["changed"] is True
    again = run(state="drained", host="one")
    assert (again["changed"], again["cut"]) == (False, 0)
    assert run(state="admitted", host="one", slot="a")["changed"] is True
    assert run(state="admitted", host="one", slot="a")["changed"] is False


def test_admitted_switches_under_load_without_a_loss(gateway, nims, run):
    run(state="admitted", host="one", slot="a")
    run(state="admitted", host="two", slot="a")
    with Load(gateway.port) as load:
        passing = [Passing(gateway, Gateway.admit, host=host, slot="b") for host in ("one", "two")]
        until(lambda: nims["one_b"].checks and nims["two_b"].checks)
        load.more()
        assert set(load.served) == {"one_a", "two_a"}
        until(lambda: all(one.told for one in passing))
        assert all(one.told[0] == ("waiting for a check of the gateway",) for one in passing)
        nims["one_b"].ready = nims["two_b"].ready = True
        until(lambda: all(one.ended() for one in passing))
        before = [len(nims[name].prompts) for name in ("one_a", "two_a")]
        load.more(50)
        assert [len(nims[name].prompts) for name in ("one_a", "two_a")] == before
    assert load.lost == []
    assert set(load.served) == {"one_a", "two_a", "one_b", "two_b"}
    expected = {"one_a": "maint", "one_b": "ready", "two_a": "maint", "two_b": "ready"}
    assert {name: one.state for name, one in gateway.servers().items()} == expected
    old = gateway.reload(save=False)
    until(lambda: old.poll() is not None)
    assert {name: one.state for name, one in gateway.servers().items()} == expected


def test_a_slot_that_is_not_up_in_time_is_left_out(gateway, nims, run):
    run(state="admitted", host="one", slot="a")
    result = run(state="admitted", host="one", slot="b", up_timeout=3)
    assert result["problem"]["code"] == "not_up"
    assert "L7STS" in result["problem"]["evidence"]
    assert f":{nims['one_b'].port}/v1/health/ready" in result["problem"]["evidence"]
    assert states(run(host="one")) == {"one_a": "ready", "one_b": "maint"}
    assert not nims["one_b"].prompts


def test_check_mode_says_what_would_change(run):
    asked = {"state": "admitted", "host": "one", "slot": "a"}
    before = states(run())
    assert run(**asked, _ansible_check_mode=True)["changed"] is True
    assert run(state="drained", host="one", _ansible_check_mode=True)["changed"] is True
    assert states(run()) == before
    run(**asked)
    assert run(**asked, _ansible_check_mode=True)["changed"] is False


def test_read(gateway, run, nims):
    answer = Client(gateway.port).start("slow")
    answer.readline()
    result = run(model=None)
    assert sum(one["sessions"] for one in result["servers"]) == 1
    (shown,) = [one for one in result["servers"] if one["name"] == "two_b"]
    assert shown == {
        "backend": f"nim_{MODEL}",
        "name": "two_b",
        "address": f"127.0.0.1:{nims['two_b'].port}",
        "state": "ready",
        "up": False,
        "check": shown["check"],
        "sessions": 0,
    }
    assert shown["check"].startswith("L7STS ")
    assert (run()["serving"], run(host="one")["serving"]) == (2, 2)


def test_requests_of_a_process_of_before_are_waited_for(gateway, nims, monkeypatch):
    answers = [Client(gateway.port).start("slow") for _number in range(2)]
    assert {answer.readline() for answer in answers} == {b"one_a\n", b"two_a\n"}
    old = gateway.reload()
    assert gateway.servers()["one_a"].sessions == 0
    passing = Passing(gateway, drain, host="one")
    until(lambda: gateway.servers()["one_a"].state == "drain")
    until(lambda: ("draining", 0, 1, "requests") in passing.told)
    assert old.poll() is None
    # Only the connections tell, as they do once the time has passed.
    monkeypatch.setattr(_haproxy_processes, "SETTLE_SECONDS", 0)
    _report, settled = passing.gateway._running(passing.gateway.servers())
    assert settled
    assert not passing.ended()
    for nim in nims.values():
        nim.go.set()
    for answer in answers:
        assert answer.read().endswith(b"[DONE]\n")
    until(passing.ended)
    assert passing.gateway.cut == 0


def test_the_last_request_of_a_connection_from_before_is_waited_for(gateway):
    client = Client(gateway.port)
    assert client.ask()[0] == 200
    gateway.reload()
    passing = Passing(gateway, drain, host="one")
    until(lambda: gateway.servers()["one_a"].state == "drain")
    servers = passing.gateway.servers()
    assert passing.gateway._running(servers)[1] is False
    assert client.ask()[0] == 200
    until(passing.ended)


def test_a_gateway_that_is_down(gateway, run):
    gateway.stop()
    for asked in ({}, {"state": "drained", "host": "one"}, {"state": "admitted", "host": "one", "slot": "a"}):
        problem = run(**asked)["problem"]
        assert problem["code"] == "gateway_down"
        assert gateway.socket in problem["evidence"]
    result = run(state="saved", config=str(gateway.config))
    assert (result["changed"], result["pid"]) == (False, None)


def test_what_the_gateway_does_not_know(run):
    result = run(state="drained", host="three")
    assert result["problem"]["code"] == "gateway_outdated"
    assert "one_a" in result["problem"]["evidence"]
    result = run(state="drained", model="other", host="one")
    assert result["problem"]["code"] == "gateway_outdated"
    assert f"nim_{MODEL}" in result["problem"]["evidence"]


def test_saved_without_a_configuration(run, tmp_path):
    assert run(state="saved", config=str(tmp_path / "none"))["problem"]["code"] == "gateway_config_missing"


def test_a_port_that_changed_is_taken_from_the_configuration(gateway, nims):
    gateway.hosts[0]["ports"] = gateway.hosts[0]["ports"][::-1]
    gateway.write()
    gateway.reload()
    assert [gateway.servers()[name].port for name in ("one_a", "one_b")] == [nims["one_b"].port, nims["one_a"].port]


def test_a_pass_that_a_reload_came_into_is_done_again(gateway):
    passes = []

    def step(one):
        passes.append(one.pid())
        if len(passes) == 1:
            gateway.reload()
        one.drain_host()

    Gateway({"drain_timeout": 60, "slot": None, **gateway.options(host="one")}, Aside(None)).run(step)
    assert len(set(passes)) == len(passes) == 2
    assert gateway.servers()["one_a"].state == "maint"


def test_saved_waits_for_the_process_that_takes_over(gateway, run):
    config = str(gateway.config)
    pid = run(state="saved", config=config)["pid"]
    assert run(state="saved", config=config, replaced=pid, up_timeout=0.3)["waited_seconds"] >= 0.3
    old = gateway.processes[-1]
    gateway.start("-sf", str(old.pid))
    result = run(state="saved", config=config, replaced=pid)
    assert result["pid"] not in (pid, None)
    assert result["waited_seconds"] < 20
