# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""What the role watch writes, as the distribution's promtool and Prometheus take it."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from haproxy_gateway import fleet, free_port, until
from prometheus_server import Prometheus

from ansible_collections.llmops.nim.plugins.module_utils import _metrics

ROOT = Path(__file__).resolve().parents[2]
ALERTS = ROOT / "tests/watch/alerts.yml"
CHECKED = {
    "problems": [{"code": "gpus_lost", "model": "capitals"}, {"code": "gpus_lost", "model": "capitals"}],
    "warnings_found": [{"code": "disk_full_soon", "model": None}],
    "disks": {'/srv/a "b"\\c': 12345678901},
    "certificates": {"/etc/haproxy/nim.pem": 1767225600.0},
    "checked_at": 1767000000.25,
}
RELEASE = {"id": "1a2b3c4d", "container": "nim-capitals-1a2b3c4d", "weights": "lab/capitals", "commit": "c0ffee"}
RELEASES = {
    "releases": [{"container": "nim-capitals-1a2b3c4d", "health": "ready"}],
    "ledgers": {
        "capitals": {"current": dict(RELEASE, at="2026-01-01T00:00:00Z", nim_version="1.8.4")},
        "empty": {"current": None},
    },
    "drift": [{"model": "capitals", "kind": "image"}],
}


def write(folder, variables=None, hosts=None):
    """Has playbooks/watch.yml write into folder (Path) for these hosts (dict of the inventory)."""
    model = {"name": "capitals", "image": "i", "weights": {"repo": "a/b"}, "port": 8000, "gateway_port": 9000}
    own = dict(model, name="own", gateway_port=None)
    usual = {
        "gpu_servers": {
            "hosts": {"gpu1": {"ansible_host": "192.0.2.11", "nim_models": [own, dict(model, address="a")]}}
        },
        "nim_gateways": {"hosts": {"gate1": {"ansible_host": "192.0.2.9", "gateway_exporter_port": 8405}}},
    }
    watchers = {"hosts": {"localhost": {"ansible_connection": "local"}}}
    inventory = {"all": {"children": dict(hosts or usual, nim_watchers=watchers)}}
    (folder / "hosts.yml").write_text(yaml.safe_dump(inventory))
    keys = [{"name": 'The NGC key of "the lab"', "expires": "1970-01-15"}]
    given = {"watch_directory": str(folder), "watch_key_expiries": keys, "ansible_become": False, **(variables or {})}
    given["ansible_python_interpreter"] = sys.executable
    command = [str(Path(sys.executable).with_name("ansible-playbook")), "playbooks/watch.yml"]
    command += ["-i", str(folder / "hosts.yml"), "-e", json.dumps(given)]
    environment = dict(os.environ, ANSIBLE_CONFIG=str(ROOT / "ansible.cfg"), ANSIBLE_NOCOLOR="1")
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp("nim")
    done = write(folder)
    assert done.returncode == 0, done.stdout + done.stderr
    again = write(folder)
    assert "changed=0" in again.stdout, again.stdout
    return folder


def alerts(folder):
    groups = yaml.safe_load((folder / "rules/nim.rules.yml").read_text())["groups"]
    return {rule["alert"] for group in groups for rule in group["rules"]}


def test_each_alert_fires_when_it_should(written):
    shutil.copy(ALERTS, written)
    done = subprocess.run(["promtool", "test", "rules", str(written / "alerts.yml")], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    tested = [one for test in yaml.safe_load(ALERTS.read_text())["tests"] for one in test["alert_rule_test"]]
    assert {one["alertname"] for one in tested if one.get("exp_alerts")} == alerts(written)
    page = (ROOT / "docs/watching.md").read_text()
    assert set(re.findall(r"^\| `(Nim\w+)`", page, re.MULTILINE)) == alerts(written)


def test_both_ports_of_a_model_are_asked_and_none_that_nobody_reaches(written):
    def targets(job):
        return json.loads((written / f"targets/{job}.json").read_text())

    labels = {"host": "gpu1", "model": "capitals"}
    assert targets("nim") == [{"targets": ["192.0.2.11:8000", "192.0.2.11:18000"], "labels": labels}]
    assert targets("nim_gateway") == [{"targets": ["192.0.2.9:8405"], "labels": {"host": "gate1"}}]
    assert [one["targets"] for one in targets("nim_node")] == [["192.0.2.11:9100"], ["192.0.2.9:9100"]]


def test_what_is_no_day_is_refused(tmp_path):
    done = write(tmp_path, {"watch_key_expiries": [{"name": "k", "expires": "soon"}]})
    assert done.returncode != 0
    assert "wants days such as" in done.stdout
    assert not (tmp_path / "rules").exists()


def test_what_hosts_leave_is_what_prometheus_reads():
    text = _metrics.exposition(CHECKED, RELEASES)
    done = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, text=True)
    assert (done.returncode, done.stderr, done.stdout) == (0, "", "")
    for line in (
        "nim_check_timestamp_seconds 1767000000.25",
        'nim_check_findings{severity="problem",code="gpus_lost",model="capitals"} 2',
        'nim_check_findings{severity="warning",code="disk_full_soon",model=""} 1',
        'nim_release_ready{model="capitals",release="1a2b3c4d"} 1',
        'nim_release_activated_timestamp_seconds{model="capitals",release="1a2b3c4d"} 1767225600.0',
        'nim_release_drift{model="capitals",kind="image"} 1',
    ):
        assert line in text.splitlines()
    assert {line.split()[2] for line in text.splitlines() if line.startswith("# HELP")} == set(_metrics.HELP)
    # A gateway has no releases, and a host without Docker tells nothing of them.
    for nothing in (None, {"failed": True, "msg": "no docker"}, {"skipped": True}):
        assert "nim_release" not in _metrics.exposition(CHECKED, nothing)


def asked(folder):
    """The metrics (set of str) of HAProxy and of check.yml that rules and dashboard ask for."""
    groups = yaml.safe_load((folder / "rules/nim.rules.yml").read_text())["groups"]
    panels = json.loads((folder / "grafana/nim.json").read_text())["panels"]
    queries = [rule["expr"] for group in groups for rule in group["rules"]]
    queries += [target["expr"] for panel in panels for target in panel["targets"]]
    return {name for query in queries for name in re.findall(r"\b(?:haproxy|nim)_\w+(?=[{\s\[)]|$)", query)}


@pytest.fixture
def node(tmp_path):
    """The port of the distribution's node_exporter, which reads what check.yml has left in a folder."""
    (tmp_path / "nim.prom").write_text(_metrics.exposition(CHECKED, RELEASES))
    port = free_port()
    command = ["prometheus-node-exporter", f"--web.listen-address=127.0.0.1:{port}", "--collector.disable-defaults"]
    command += ["--collector.textfile", f"--collector.textfile.directory={tmp_path}"]
    with (tmp_path / "log").open("w") as log:
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
    yield port
    process.terminate()
    process.wait(30)


def test_a_prometheus_sees_gateway_endpoint_and_ledger(tmp_path_factory, node):
    folder, ours, port = tmp_path_factory.mktemp("fleet"), {"ansible_host": "127.0.0.1"}, free_port()
    with fleet(folder) as (gateway, nims):
        gateway.write(gateway_exporter_port=port)
        gateway.run()
        model = {"name": "capitals", "image": "i", "weights": {"repo": "a/b"}, "address": "a", "gateway_port": 1}
        model.update(port=nims["one_a"].port, second_port=free_port())
        hosts = {
            "gpu_servers": {"hosts": {"gpu1": dict(ours, nim_models=[model], nim_node_port=node)}},
            "nim_gateways": {"hosts": {"gate1": dict(ours, gateway_exporter_port=port, nim_node_port=node)}},
        }
        done = write(folder, hosts=hosts)
        assert done.returncode == 0, done.stdout
        prometheus = Prometheus(folder)
        try:
            seen = until(lambda: prometheus.ask('ALERTS{alertname="NimDrift",alertstate="firing",host="gpu1"}'))
            assert seen[0]["metric"]["model"] == "capitals"
            up = until(lambda: [one for one in prometheus.ask('up{job="nim"}') if one["value"][1] == "1"])
            assert [one["metric"]["host"] for one in up] == ["gpu1"]
            (active,) = until(lambda: prometheus.ask('haproxy_backend_active_servers{proxy="nim_capitals"}'))
            assert active["value"][1] == "2"
            for name in asked(folder):
                assert prometheus.ask(name), f"{name} is asked for, and there is none"
        finally:
            prometheus.stop()


def test_the_dashboard_is_one(written):
    dashboard = json.loads((written / "grafana/nim.json").read_text())
    assert len(dashboard["panels"]) == 9
    assert len({panel["id"] for panel in dashboard["panels"]}) == 9
    assert dashboard["panels"][0]["targets"][0]["legendFormat"] == "{{model}} {{host}} "
