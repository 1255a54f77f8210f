# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""nim_check of this machine, without Docker and GPUs; servers are checked by the scenario faults."""

from __future__ import annotations

import json
import time

import pytest
from ansible.module_utils import basic

from ansible_collections.llmops.nim.plugins.modules import nim_check

MODEL = {"name": "wren", "image": "nvcr.io/nim/acme/wren:1.8.4", "weights": {"repo": "acme/wren"}, "port": 1}


@pytest.fixture
def run(monkeypatch, capsys, tmp_path):
    """Run the module; its result (dict)."""

    def call(**params):
        nothing = {name: str(tmp_path / "none") for name in ("docker", "nvidia_smi")}
        places = {"home": str(tmp_path), "weights_dir": str(tmp_path)}
        arguments = {**nothing, **places, "ask": False, **params}
        monkeypatch.setattr(basic, "_ANSIBLE_ARGS", json.dumps({"ANSIBLE_MODULE_ARGS": arguments}).encode())
        monkeypatch.setattr(basic, "_ANSIBLE_PROFILE", "legacy", raising=False)
        with pytest.raises(SystemExit):
            nim_check.main()
        return json.loads(capsys.readouterr().out)

    return call


def codes(found):
    return [one["code"] for one in found]


def test_nothing_is_wrong(run):
    result = run(controller_time=time.time())
    assert (result["problems"], result["warnings_found"]) == ([], [])
    assert result["report"] == "nothing is wrong"
    assert result["disks"]
    assert result["checked_at"] == pytest.approx(time.time(), abs=60)


def test_a_server_of_models_without_docker_and_driver(run):
    result = run(models=[MODEL])
    assert codes(result["problems"]) == ["driver_missing", "docker_missing"]
    assert "There is no NVIDIA driver" in result["report"]


def test_a_clock_that_is_off(run):
    assert codes(run(controller_time=time.time() - 3600)["problems"]) == ["clock_off"]
    assert codes(run(controller_time=time.time() - 3600, clock_tolerance=7200)["problems"]) == []


def test_a_disk_that_fills_up(run):
    first = run()
    then = {"checked_at": first["checked_at"] - 3600, "disks": {}}
    assert codes(run(previous=then)["warnings_found"]) == []
    then["disks"] = {mount: 2 * free + 10**9 for mount, free in first["disks"].items()}
    # It took in an hour what is left: one a disk, however many lie on it.
    assert set(codes(run(previous=then)["problems"])) == {"disk_full_soon"}


def test_a_certificate_that_is_none_and_one_that_is_not_there(run, tmp_path):
    (tmp_path / "x.pem").write_text("nonsense")
    found = run(certificates=[str(tmp_path / "x.pem"), str(tmp_path / "none.pem")])
    assert codes(found["problems"]) in (["certificate_invalid"], ["openssl_missing"])


def test_a_registry_and_hub_that_cannot_be_asked_are_no_alarm_yet(run):
    model = dict(MODEL, image="127.0.0.1:1/acme/wren:1")
    result = run(models=[model], ask=True, endpoint="http://127.0.0.1:1")
    assert set(codes(result["warnings_found"])) == {"registry_unreachable", "hub_unreachable"}
