# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""nim_weights_info against a hub on 127.0.0.1."""

from __future__ import annotations

import json

import pytest
from ansible.module_utils import basic
from hub_server import READER, Hub

from ansible_collections.llmops.nim.plugins.modules import nim_weights_info


@pytest.fixture
def hub(tmp_path):
    with Hub(tmp_path) as server:
        yield server


@pytest.fixture
def run(hub, monkeypatch, capsys):
    """Run the module; its result (dict)."""

    def call(weights, **params):
        arguments = json.dumps({"ANSIBLE_MODULE_ARGS": {"weights": weights, "endpoint": hub.url, **params}})
        monkeypatch.setattr(basic, "_ANSIBLE_ARGS", arguments.encode())
        monkeypatch.setattr(basic, "_ANSIBLE_PROFILE", "legacy", raising=False)
        with pytest.raises(SystemExit):
            nim_weights_info.main()
        return json.loads(capsys.readouterr().out)

    return call


def test_commits_by_repository_and_revision(hub, run):
    first = hub.commit("lab/a", {"f": b"1"}, tags=["v1"])
    second = hub.commit("lab/a", {"f": b"2"})
    hub.commit("lab/b", {"f": b"3"})
    hub.gated.add("lab/b")
    wanted = [
        {"repo": "lab/a"},
        {"repo": "lab/a", "revision": "v1"},
        {"repo": "lab/a"},
        {"repo": "lab/b", "revision": "1" * 40},
    ]
    result = run(wanted, token=READER)
    assert result["changed"] is False
    assert result["commits"] == {"lab/a@main": second, "lab/a@v1": first, "lab/b@" + "1" * 40: "1" * 40}
    assert len([path for _port, _method, path, *_rest in hub.requests if path == "/lab/a/info/refs"]) == 2


def test_all_that_is_unknown_at_once(hub, run):
    hub.commit("lab/a", {"f": b"1"})
    result = run([{"repo": "lab/a", "revision": "v9"}, {"repo": "lab/none"}, {"repo": "lab/a"}], token=READER)
    assert [problem["code"] for problem in result["problems"]] == ["revision_unknown", "repo_unknown"]
    assert result["problem"] == result["problems"][0]
    assert "1. lab/a has no revision 'v9'" in result["msg"]
    assert READER not in json.dumps(result)
