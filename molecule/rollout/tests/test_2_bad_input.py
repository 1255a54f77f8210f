"""Bad input: a clear error, and nothing changed on any server."""

from __future__ import annotations

import subprocess

import fleet
import pytest

from lab import changed, fingerprint, model, playbook, stopped

HOME = "/var/lib/nim/capitals"
# A ledger that knows one release alone, as after the first deployment.
FORGET = f"""
cp -a {HOME} /root/kept-ledgers && cd {HOME}
tail -n 1 ledger.jsonl > shorter && mv shorter ledger.jsonl
sed -i 's/"previous": {{.*}}/"previous": null/' releases.json
"""
REMEMBER = f"cp -a /root/kept-ledgers/ledger.jsonl /root/kept-ledgers/releases.json {HOME}/ && rm -r /root/kept-ledgers"


@pytest.fixture(scope="module", autouse=True)
def releases():
    """The fleet as the case before left it: on releases that have one before them."""
    assert all(one.previous for one in fleet.look_at_all().values())
    return fleet.current()


@pytest.fixture(autouse=True)
def nothing_changes(releases):
    before = {host: fingerprint(host) for host in fleet.HOSTS}
    yield
    assert {host: fingerprint(host) for host in fleet.HOSTS} == before


def refused(done, *words):
    assert done.returncode != 0, done.stdout
    flat = " ".join(done.stdout.split())
    assert all(word in flat for word in words), done.stdout
    assert "Traceback" not in done.stdout


def rollback(**wishes):
    return fleet.playbook("rollback", limit="gpu1", **wishes)


def test_back_to_where_nobody_was():
    with changed("gpu1", FORGET, REMEMBER):
        refused(rollback(), "has no release to go back to", "do: Deploy")


def test_back_to_what_is_not_there():
    refused(rollback(nim_release="0" * 8), f"Release {'0' * 8} of model capitals is not on this host", "kept here: ")


def test_back_to_weights_that_are_gone():
    weights = "/var/lib/nim/weights/lab--Llama-3.2-1B-capitals"
    there, away = f"{weights}/{fleet.look('gpu1').previous_commit}", f"{weights}/away"
    with changed("gpu1", f"mv {there} {away}", f"mv {away} {there}"):
        refused(rollback(), "could not start", f"gone from the host: {there}")


def test_prune_what_runs(releases):
    done = fleet.playbook("prune", limit="gpu1", nim_release=releases["gpu1"])
    refused(done, "A release that is in use cannot be pruned", "it runs")


def test_a_gateway_that_is_down():
    with stopped("nim-lab-gateway"):
        done = fleet.deploy("v2", environment={"ANSIBLE_TIMEOUT": "3"})
        refused(done, "No host is touched", "a gateway does not answer: gateway", "do: Start it")
    fleet.await_gateway()


def test_a_certificate_of_another_key(tmp_path):
    for name in ("one", "other"):
        files = ["-keyout", f"{name}.key", "-out", f"{name}.crt"]
        make = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=gateway", *files]
        subprocess.run(make, cwd=tmp_path, check=True, capture_output=True)
    pem = tmp_path / "both.pem"
    pem.write_text((tmp_path / "one.crt").read_text() + (tmp_path / "other.key").read_text())
    refused(fleet.deploy("v2", gateway_tls_pem=str(pem)), "key", str(pem))


def test_a_pause_that_nobody_has_allowed():
    """Without the gateway, one release must end before the next one begins."""
    done = playbook("deploy", limit="gpu2", nim_allow_downtime=False, nim_models=[model(weights__revision="v2")])
    refused(done, "interrupts its service", "nim_allow_downtime=true")
