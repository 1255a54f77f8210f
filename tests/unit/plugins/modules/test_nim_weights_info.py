# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""nim_weights_info against a hub on 127.0.0.1."""

from __future__ import annotations

import json

import pytest
import yaml
from ansible.module_utils import basic
from hub_server import OUTSIDER, READER, Hub, pointer
from safetensors_files import file

from ansible_collections.llmops.nim.plugins.module_utils import _checkpoint_facts
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


def test_other_patterns_are_another_snapshot(hub, run):
    commit = hub.commit("lab/a", {"config.json": b"{}", "x.bin": b"12345"})
    assert run([{"repo": "lab/a"}])["snapshots"] == [f"lab/a@{commit}"]
    result = run([{"repo": "lab/a"}], exclude=["*.bin"], allow_pickle=["lab/a"])
    assert result["snapshots"] == [f"lab/a@{commit}{result['selection']}"]
    assert result["selection"]
    assert result["checkpoints"]["lab/a@main"]["bytes"] == 2
    allowed = run([{"repo": "lab/a"}], allow_pickle=["lab/a"])["checkpoints"]["lab/a@main"]
    assert allowed["bytes"] == 7
    assert "pickle_only" not in [one["code"] for one in allowed["problems"]]
    refused = run([{"repo": "lab/a"}])["checkpoints"]["lab/a@main"]
    assert "pickle_only" in [one["code"] for one in refused["problems"]]
    assert run([{"repo": "lab/a"}], include=["../x"])["problem"]["code"] == "pattern_invalid"


def test_all_that_is_unknown_at_once(hub, run):
    hub.commit("lab/a", {"f": b"1"})
    result = run([{"repo": "lab/a", "revision": "v9"}, {"repo": "lab/none"}, {"repo": "lab/a"}], token=READER)
    assert [problem["code"] for problem in result["problems"]] == ["revision_unknown", "repo_unknown"]
    assert result["problem"] == result["problems"][0]
    assert "1. lab/a has no revision 'v9'" in result["msg"]
    assert READER not in json.dumps(result)


CONFIG = {
    "architectures": ["LlamaForCausalLM"], "model_type": "llama", "torch_dtype": "bfloat16", "vocab_size": 30,
    "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2, "hidden_size": 64,
}  # fmt: skip
SHARDS = {
    "model-00001-of-00002.safetensors": {"model.embed_tokens.weight": ("BF16", (30, 64))},
    "model-00002-of-00002.safetensors": {f"model.layers.{n}.some_longer_name": ("BF16", (10,)) for n in range(2000)},
}


def model(hub, repo="lab/model", **files):
    """Commit a model of two shards to repo, the second with a long header; its commit."""
    index = {name: shard for shard, tensors in SHARDS.items() for name in tensors}
    content = {
        "config.json": json.dumps(CONFIG).encode(),
        "tokenizer.json": b"{}",
        "tokenizer_config.json": b'{"chat_template": "x"}',
        "model.safetensors.index.json": json.dumps({"weight_map": index}).encode(),
        **{name: hub.lfs(file(tensors)) for name, tensors in SHARDS.items()},
        **files,
    }
    return hub.commit(repo, {name: data for name, data in content.items() if data is not None})


def codes(found):
    return [one["code"] for one in found["problems"]], [one["code"] for one in found["warnings"]]


def test_a_checkpoint_is_read_before_it_is_fetched(hub, run):
    commit = model(hub)
    hub.gated.add("lab/model")
    found = run([{"repo": "lab/model"}], token=READER)["checkpoints"]["lab/model@main"]
    assert (found["repo"], found["commit"], found["read"]) == ("lab/model", commit, True)
    assert codes(found) == ([], [])
    assert set(_checkpoint_facts.KEYS) < set(found)
    assert found["parameters"] == 30 * 64 + 2000 * 10
    assert found["embedding_rows"] == 30
    assert found["weight_bytes"] == sum(len(file(tensors)) for tensors in SHARDS.values())
    assert found["weight_files"] == 2
    ranges = [ranged for _oid, ranged in hub.downloads()]
    header = int.from_bytes(file(SHARDS["model-00002-of-00002.safetensors"])[:8], "little")
    assert len(ranges) == 3  # a second part of the long header
    assert f"bytes=65536-{header + 7}" in ranges
    assert READER not in [authorization for port, *_rest, authorization, _range in hub.requests if port == "storage"]


def test_a_commit_is_read_once(hub, run):
    commit = model(hub)
    result = run([{"repo": "lab/model"}, {"repo": "lab/model", "revision": commit}])
    assert result["checkpoints"]["lab/model@main"] == result["checkpoints"][f"lab/model@{commit}"]
    assert len([path for _port, _method, path, *_rest in hub.requests if path.endswith("/config.json")]) == 1


def test_what_is_wrong_with_a_checkpoint_does_not_fail_the_module(hub, run):
    absurd = (2**50).to_bytes(8, "little") + bytes(1000)
    model(hub, "lab/absurd", **{"model-00002-of-00002.safetensors": hub.lfs(absurd)})
    model(hub, "lab/broken", **{"config.json": b"{", "tokenizer_config.json": None})
    model(hub, "lab/missing", **{"model-00001-of-00002.safetensors": None})
    model(hub, "lab/pointer", **{"model-00001-of-00002.safetensors": pointer(b"gone")})
    model(hub, "lab/empty", **{"model-00001-of-00002.safetensors": b""})
    names = ("absurd", "broken", "missing", "pointer", "empty")
    result = run([{"repo": f"lab/{name}"} for name in names])
    assert "failed" not in result
    found = {name: result["checkpoints"][f"lab/{name}@main"] for name in names}
    assert all(one["read"] for one in found.values())
    assert {name: codes(one)[0] for name, one in found.items()} == {
        "absurd": ["safetensors_header"],
        "broken": ["invalid_json"],
        "missing": ["shard_missing"],
        "pointer": ["pointer_instead_of_file"],
        "empty": ["safetensors_header"],
    }
    assert "model-00002-of-00002.safetensors" in found["absurd"]["problems"][0]["what"]
    assert codes(found["broken"])[1] == ["no_chat_template"]


def test_a_hub_without_the_api_is_no_failure(hub, run):
    model(hub)
    hub.api = False
    found = run([{"repo": "lab/model"}])["checkpoints"]["lab/model@main"]
    assert (found["read"], codes(found)) == (False, ([], ["checkpoint_unread"]))
    assert found["parameters"] is None
    assert set(_checkpoint_facts.KEYS) < set(found)


def test_a_commit_needs_no_hub(hub, run):
    result = run([{"repo": "lab/model", "revision": "1" * 40}], endpoint="http://127.0.0.1:1")
    assert codes(result["checkpoints"]["lab/model@" + "1" * 40]) == ([], ["checkpoint_unread"])


def test_a_commit_that_the_token_may_not_read_is_a_problem_of_its_own(hub, run):
    commit = model(hub)
    hub.gated.add("lab/model")
    result = run([{"repo": "lab/model", "revision": commit}], token=OUTSIDER)
    assert codes(result["checkpoints"][f"lab/model@{commit}"]) == (["no_access"], [])


def test_nothing_is_read_unless_wanted(hub, run):
    model(hub)
    assert run([{"repo": "lab/model"}], checkpoints=False)["checkpoints"] == {}
    assert not [path for _port, _method, path, *_rest in hub.requests if "/api/" in path]


def test_every_fact_is_described():
    described = yaml.safe_load(nim_weights_info.RETURN)["checkpoints"]["contains"]
    own = ["repo", "commit", "read", "problems", "warnings"]
    assert sorted(described) == sorted([*own, *_checkpoint_facts.KEYS])
