# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""What a repository's files say about the model in it."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.llmops.nim.plugins.module_utils import _checkpoint

FILES = {"config.json": 10, "tokenizer.json": 10, "model.safetensors": 1000}
SHARDS = {f"model-0000{n}-of-00003.safetensors": 100 for n in (1, 2, 3)}
SHARDED = {"config.json": 10, "tokenizer.model": 10, "model.safetensors.index.json": 10, **SHARDS}


def inspect(files=FILES, untracked=(), **texts):
    """The codes of the problems, and the facts; texts by name with _ for . are dicts or bytes."""
    contents = {"config.json": b"{}"} if "config.json" in files else {}
    for name, value in texts.items():
        contents[name.replace("_json", ".json").replace("_index", ".index").replace("_safetensors", ".safetensors")] = (
            value if isinstance(value, bytes) else json.dumps(value).encode()
        )
    problems, facts = _checkpoint.inspect(files, contents, untracked)
    assert all(problem.what and problem.remedy for problem in problems)
    return [problem.code for problem in problems], facts


def index(*names):
    return {"model_safetensors_index_json": {"weight_map": {f"layer{n}": name for n, name in enumerate(names)}}}


def without(files, *names):
    return {path: size for path, size in files.items() if path not in names}


def test_a_whole_model():
    codes, facts = inspect(
        config_json={"architectures": ["LlamaForCausalLM"], "model_type": "llama", "torch_dtype": "bfloat16"},
        tokenizer_config_json={"chat_template": "{{ x }}"},
    )
    assert codes == []
    assert facts == {
        "architecture": "LlamaForCausalLM",
        "model_type": "llama",
        "dtype": "bfloat16",
        "precision": "bf16",
        "max_position_embeddings": None,
        "quantization": None,
        "has_chat_template": True,
        "adapter_only": False,
        "weight_files": 1,
        "weight_bytes": 1000,
    }


def test_a_whole_model_in_shards():
    codes, facts = inspect(SHARDED, **index(*SHARDS, *SHARDS))
    assert codes == []
    assert (facts["weight_files"], facts["weight_bytes"]) == (3, 300)


def test_settings_of_a_multimodal_model_and_newer_names():
    _codes, facts = inspect(
        config_json={
            "text_config": {"dtype": "float16", "max_position_embeddings": 4096},
            "quantization_config": {"quant_method": "fp8"},
        }
    )
    assert (facts["dtype"], facts["max_position_embeddings"], facts["quantization"]) == ("float16", 4096, "fp8")
    assert facts["precision"] is None


@pytest.mark.parametrize("name", ["chat_template.jinja", "chat_template.json"])
def test_a_chat_template_in_a_file_of_its_own(name):
    assert inspect()[1]["has_chat_template"] is False
    assert inspect(tokenizer_config_json={"chat_template": None})[1]["has_chat_template"] is False
    assert inspect({**FILES, name: 1})[1]["has_chat_template"] is True


@pytest.mark.parametrize(
    ("files", "texts", "codes"),
    [
        (without(FILES, "config.json"), {}, ["no_config"]),
        (without(FILES, "tokenizer.json"), {}, ["no_tokenizer"]),
        ({**without(FILES, "tokenizer.json"), "vocab.json": 1}, {}, ["no_tokenizer"]),
        ({**without(FILES, "tokenizer.json"), "vocab.json": 1, "merges.txt": 1}, {}, []),
        (without(FILES, "model.safetensors"), {}, ["no_weights"]),
        ({**without(FILES, "model.safetensors"), "pytorch_model.bin": 1}, {}, ["pickle_only"]),
        ({**without(FILES, "model.safetensors"), **SHARDS}, {}, ["no_index"]),
        ({**without(FILES, "model.safetensors"), "trtllm_ckpt/rank0.safetensors": 5}, {}, []),
        (without(SHARDED, min(SHARDS)), index(*SHARDS), ["shard_missing"]),
        (SHARDED, {"model_safetensors_index_json": {"metadata": {}}}, ["no_weights"]),
        (SHARDED, {"model_safetensors_index_json": b"{"}, ["invalid_json"]),
        (SHARDED, {}, []),  # an index that could not be read yet says nothing
        (FILES, {"config_json": b"[]"}, ["invalid_json"]),
        (FILES, {"config_json": b"\xff"}, ["invalid_json"]),
        (FILES, {"config_json": b"[" * 100000}, ["invalid_json"]),
        ({"adapter_config.json": 1, "adapter_model.safetensors": 1}, {}, ["adapter_only"]),
        ({}, {}, ["no_weights", "no_config", "no_tokenizer"]),
    ],
)
def test_problems(files, texts, codes):
    assert inspect(files, **texts)[0] == codes


def test_each_missing_shard_is_named():
    problems, _facts = _checkpoint.inspect(
        {"config.json": 1, "tokenizer.json": 1, "model.safetensors.index.json": 1, "a": 1},
        {"model.safetensors.index.json": b'{"weight_map": {"1": "a", "2": "b", "3": "../c"}}'},
    )
    assert [problem.evidence for problem in problems] == ["missing: ../c, b"]


def test_a_pointer_committed_as_text():
    assert inspect(untracked=["model.safetensors", "config.json", "README.md"])[0] == ["pointer_instead_of_file"] * 2


@given(st.binary(min_size=8, max_size=8), st.integers(8, 10**6))
def test_a_header_fits_or_not(head, size):
    problem = _checkpoint.header_problem("x", head, size)
    assert (problem is None) == (head != b"version " and int.from_bytes(head, "little") <= size - 8)


def test_short_files_and_pointers_are_no_safetensors():
    assert _checkpoint.header_problem("x", b"\0", 1).code == "safetensors_header"
    assert _checkpoint.header_problem("x", b"version https://git-lfs", 130).code == "pointer_instead_of_file"


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
)
keys = ["architectures", "text_config", "quantization_config", "torch_dtype", "weight_map", "chat_template"]


@settings(max_examples=50)
@given(st.fixed_dictionaries({name: st.dictionaries(st.sampled_from(keys), json_values) for name in _checkpoint.TEXTS}))
def test_no_json_makes_it_fail(documents):
    texts = {name: json.dumps(document).encode() for name, document in documents.items()}
    _problems, facts = _checkpoint.inspect({**SHARDED, "tokenizer_config.json": 1}, texts)
    assert isinstance(facts["has_chat_template"], bool)
