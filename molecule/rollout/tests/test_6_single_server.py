"""A single server that is its own gateway: side by side, nobody notices there either."""

from __future__ import annotations

import pytest
from load import Load

import lab

INVENTORIES = (lab.INVENTORY, "molecule/rollout/inventory/single.yml")
GATEWAY = "http://10.83.0.11:9000/v1"


def deploy(revision):
    one = lab.model(weights__revision=revision, gateway_port=9000, memory_share=0.45)
    models = "{{ single_models if inventory_hostname == 'gpu1' else [] }}"
    done = lab.playbook(
        "deploy",
        limit="gpu1",
        inventories=INVENTORIES,
        nim_models=models,
        single_models=[one],
        nim_allow_downtime=False,
    )
    assert done.returncode == 0, done.stdout


@pytest.fixture(scope="module", autouse=True)
def v1():
    deploy("v1")
    yield
    lab.run("gpu1", (lab.ROOT / "molecule" / "shared" / "bare_gateway.sh").read_text())


def test_new_weights_without_a_pause():
    with Load(GATEWAY) as load:
        assert set(load.next()) == {"v1"}
        deploy("v2")
        assert set(load.next()) == {"v2"}
    assert not load.lost, load.lost[:5]
