# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""What a repository's files say about the model in it."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors_files import file

from ansible_collections.llmops.nim.plugins.module_utils import _checkpoint, _checkpoint_facts, _safetensors
from ansible_collections.llmops.nim.plugins.module_utils._problem import Problem

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
    problems, _warnings, facts = _checkpoint.inspect(files, contents, untracked)
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
        **dict.fromkeys(_checkpoint_facts.KEYS),
        "architecture": "LlamaForCausalLM",
        "model_type": "llama",
        "dtype": "bfloat16",
        "precision": "bf16",
        "has_chat_template": True,
        "custom_code": False,
        "adapter_only": False,
        "format": "huggingface",
        "weight_files": 1,
        "weight_bytes": 1000,
        "bytes": 1020,
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
    assert facts["precision"] == "fp8"


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
        (FILES, {"config_json": b"version https://git-lfs.github.com/spec/v1\n"}, ["pointer_instead_of_file"]),
        ({**FILES, "generation_config.json": 1}, {"generation_config_json": b"{,}"}, ["invalid_json"]),
        ({"models--a--b/blobs/x": 1, "models--a--b/snapshots/c/config.json": 1}, {}, ["hub_cache"]),
        ({"refs/main": 40, "snapshots/c/config.json": 1, "snapshots/c/model.safetensors": 1}, {}, ["hub_cache"]),
        ({"adapter_config.json": 1, "adapter_model.safetensors": 1}, {}, ["adapter_only"]),
        ({}, {}, ["no_weights", "no_config", "no_tokenizer"]),
    ],
)
def test_problems(files, texts, codes):
    assert inspect(files, **texts)[0] == codes


def test_each_missing_shard_is_named():
    problems, _warnings, _facts = _checkpoint.inspect(
        {"config.json": 1, "tokenizer.json": 1, "model.safetensors.index.json": 1, "a": 1},
        {"model.safetensors.index.json": b'{"weight_map": {"1": "a", "2": "b", "3": "../c"}}'},
    )
    assert [problem.evidence for problem in problems] == ["missing: ../c, b"]


def test_a_pointer_committed_as_text():
    assert inspect(untracked=["model.safetensors", "config.json", "README.md"])[0] == ["pointer_instead_of_file"] * 2


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
)
keys = [
    "architectures", "text_config", "quantization_config", "torch_dtype", "weight_map", "chat_template", "metadata",
    "added_tokens_decoder", "eos_token_id", "auto_map", "quantization", "layer_types", "hidden_size", "vocab_size",
    "num_hidden_layers", "num_attention_heads", "model_type", "tie_word_embeddings", "sliding_window",
]  # fmt: skip


@settings(max_examples=100)
@given(st.fixed_dictionaries({name: st.dictionaries(st.sampled_from(keys), json_values) for name in _checkpoint.TEXTS}))
def test_no_json_makes_it_fail(documents):
    texts = {name: json.dumps(document).encode() for name, document in documents.items()}
    _problems, _warnings, facts = _checkpoint.inspect({**SHARDED, "tokenizer_config.json": 1}, texts)
    assert set(facts) == set(_checkpoint_facts.KEYS)
    assert isinstance(facts["has_chat_template"], bool)


def test_the_formats():
    assert inspect()[1]["format"] == "huggingface"
    assert inspect({"config.json": 1, "trtllm_ckpt/rank0.safetensors": 5})[1]["format"] == "trtllm_checkpoint"
    assert inspect({"config.json": 1, "trtllm_engine/rank0.engine": 5})[1]["format"] == "trtllm_engine"
    assert inspect({"adapter_config.json": 1})[1]["format"] == "adapter"
    assert inspect({"README.md": 1})[1]["format"] is None


@pytest.mark.parametrize(
    ("config", "quant_config", "method", "precision"),
    [
        ({"torch_dtype": "float16"}, {}, None, "fp16"),
        ({"torch_dtype": "float32"}, {}, None, None),
        ({"torch_dtype": "float16", "quantization_config": {"quant_method": "awq", "bits": 4}}, {}, "awq", None),
        ({"quantization_config": {"quant_method": "fbgemm_fp8"}}, {}, "fbgemm_fp8", "fp8"),
        ({"quantization_config": {"quant_method": "modelopt", "quant_algo": "FP8"}}, {}, "modelopt", "fp8"),
        ({"quantization_config": {"quant_method": "modelopt", "quant_algo": "NVFP4"}}, {}, "modelopt", None),
        ({"torch_dtype": "bfloat16"}, {"quantization": {"quant_algo": "FP8"}}, "fp8", "fp8"),
        ({"torch_dtype": "bfloat16"}, {"quantization": {"quant_algo": "NVFP4"}}, "nvfp4", None),
        ({"torch_dtype": "bfloat16"}, {"quantization": {"quant_algo": None}}, None, "bf16"),
    ],
)
def test_quantisation(config, quant_config, method, precision):
    facts = inspect(config_json=config, hf_quant_config_json=quant_config)[1]
    assert (facts["quantization"], facts["precision"]) == (method, precision)


@pytest.mark.parametrize(
    ("weights", "precision"), [({"num_bits": 8, "type": "float"}, "fp8"), ({"num_bits": 4, "type": "int"}, None)]
)
def test_compressed_tensors(weights, precision):
    quantization = {"quant_method": "compressed-tensors", "config_groups": {"group_0": {"weights": weights}}}
    assert inspect(config_json={"quantization_config": quantization})[1]["precision"] == precision


LLAMA = {
    "model_type": "llama", "torch_dtype": "bfloat16", "hidden_size": 64, "intermediate_size": 160, "vocab_size": 515,
    "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 1024,
    "tie_word_embeddings": True,
}  # fmt: skip


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, 2 * 2 * 2 * 16 * 2),
        ({"num_key_value_heads": None}, 2 * 2 * 4 * 16 * 2),
        ({"head_dim": 32}, 2 * 2 * 2 * 32 * 2),
        ({"num_hidden_layers": None}, None),
        ({"num_hidden_layers": "2"}, None),
        ({"kv_lora_rank": 512}, None),
        ({"sliding_window": 512}, None),
        ({"sliding_window": 512, "use_sliding_window": False}, 256),
        ({"layer_types": ["full_attention", "sliding_attention"]}, None),
        ({"layer_types": ["full_attention"] * 2, "sliding_window": 512}, 256),
    ],
)
def test_the_cache_of_a_token(settings, expected):
    assert inspect(config_json={**LLAMA, **settings})[1]["kv_bytes_per_token"] == expected


def test_the_parameters_of_known_models():
    # As published: Llama 3.1 70B, 8B and 3.2 1B, Qwen2.5 7B (whose biases are left out), Mistral 7B, Gemma 7B.
    for model_type, hidden, inner, layers, heads, kv_heads, head, vocabulary, tied, parameters in (
        ("llama", 8192, 28672, 80, 64, 8, 128, 128256, False, 70_553_706_496),
        ("llama", 4096, 14336, 32, 32, 8, None, 128256, None, 8_030_261_248),
        ("llama", 2048, 8192, 16, 32, 8, 64, 128256, True, 1_235_814_400),
        ("qwen2", 3584, 18944, 28, 28, 4, None, 152064, False, 7_615_616_512),
        ("mistral", 4096, 14336, 32, 32, 8, None, 32768, None, 7_248_023_552),
        ("gemma", 3072, 24576, 28, 16, 16, 256, 256000, None, 8_537_680_896),
    ):
        config = {
            "model_type": model_type, "hidden_size": hidden, "intermediate_size": inner, "num_hidden_layers": layers,
            "num_attention_heads": heads, "num_key_value_heads": kv_heads, "head_dim": head, "vocab_size": vocabulary,
            "tie_word_embeddings": tied,
        }  # fmt: skip
        assert inspect(config_json=config)[1]["parameters"] == pytest.approx(parameters, rel=1e-4)
    assert inspect(config_json={**config, "model_type": "mixtral"})[1]["parameters"] is None


# --- with headers ---

WEIGHTS = {
    "model.embed_tokens.weight": ("BF16", (515, 64)), "model.norm.weight": ("BF16", (64,)),
    "model.layers.0.rest": ("BF16", (60_000,)),
}  # fmt: skip


def read(tensors=WEIGHTS, files=(), **texts):
    """Problems and warnings (code -> Problem) and facts of a model in one file of these tensors."""
    data = file(tensors)
    headers = {"model.safetensors": _safetensors.tensors("model.safetensors", len(data), data)}
    contents = {"config.json": LLAMA, "tokenizer_config.json": {"chat_template": "x"}}
    contents.update({name.replace("_json", ".json"): value for name, value in texts.items()})
    sizes = {**FILES, "model.safetensors": len(data), **dict.fromkeys(files, 1)}
    texts = {name: json.dumps(value).encode() for name, value in contents.items()}
    problems, warnings, facts = _checkpoint.inspect(sizes, texts, headers=headers)
    assert all(one.what and one.evidence and one.remedy and one.code for one in problems + warnings)
    return {one.code: one for one in problems}, {one.code: one for one in warnings}, facts


def test_a_model_whose_headers_were_read():
    problems, warnings, facts = read()
    assert (problems, warnings) == ({}, {})
    assert facts["parameters"] == 515 * 64 + 64 + 60_000
    assert facts["embedding_rows"] == 515


def test_the_type_of_the_tensors_where_the_settings_are_silent():
    silent = {**LLAMA, "torch_dtype": None}
    assert read(config_json=silent)[2]["precision"] == "bf16"
    assert read(tensors={"a": ("F32", (100_000,))}, config_json=silent)[1]["float32"]


def test_fewer_rows_than_tokens():
    problems, _warnings, _facts = read(config_json={**LLAMA, "vocab_size": 520})
    assert "515, not 520" in problems["embedding_rows"].what
    assert not read(config_json={**LLAMA, "vocab_size": 500})[0]


def test_a_problem_with_a_header_is_told():
    bad = Problem("x is bad", "", "Publish it again.", "safetensors_header")
    problems, _warnings, facts = _checkpoint.inspect(FILES, {}, headers={"model.safetensors": bad})
    assert problems == [bad]
    assert facts["embedding_rows"] is None


@pytest.mark.parametrize(
    ("code", "change", "words"),
    [
        ("no_chat_template", {"tokenizer_config_json": {}}, "/v1/completions"),
        ("custom_code", {"config_json": {**LLAMA, "auto_map": {}}}, "NIM_TRUST_CUSTOM_CODE"),
        ("custom_code", {"tokenizer_config_json": {"chat_template": "x", "auto_map": {}}}, "tokenizer_config.json"),
        ("file_name_space", {"files": ["read me.md"]}, "'read me.md'"),
        (
            "tokens_without_rows",
            {"tokenizer_config_json": {"chat_template": "x", "added_tokens_decoder": {"515": {"content": "<x>"}}}},
            "515 <x>",
        ),
        ("tokens_without_rows", {"generation_config_json": {"eos_token_id": [2, 600]}}, "600 eos_token_id of gen"),
        ("float32", {"tensors": {**WEIGHTS, "more": ("F32", (100_000,))}}, "bfloat16"),
        (
            "config_and_weights_differ",
            {"config_json": {**LLAMA, "num_hidden_layers": 80}},
            "safetensors files hold 93024",
        ),
    ],
)
def test_what_is_doubtful(code, change, words):
    problems, warnings, _facts = read(**change)
    assert problems == {}
    assert list(warnings) == [code]
    assert words in str(warnings[code])


def test_the_last_token_has_a_row():
    tokens = {"514": {"content": "<x>"}, "no number": {}, "9" * 5000: 1}
    _problems, warnings, _facts = read(tokenizer_config_json={"chat_template": "x", "added_tokens_decoder": tokens})
    assert "514" not in warnings["tokens_without_rows"].evidence


def shards(total_size, **named):
    """The codes of problems and warnings of a model in two shards, by the name of its tensors a and b."""
    headers = {}
    for name in ("a", "b"):
        data = file({name: ("BF16", (5,))})
        headers[f"{name}.safetensors"] = _safetensors.tensors(name, len(data), data)
    index = {"metadata": {"total_size": total_size}, "weight_map": {"a": "a.safetensors", **named}}
    texts = {
        "model.safetensors.index.json": json.dumps(index).encode(),
        "tokenizer_config.json": b'{"chat_template": "x"}',
    }
    sizes = {**without(FILES, "model.safetensors"), "model.safetensors.index.json": 1, **dict.fromkeys(headers, 100)}
    problems, warnings, _facts = _checkpoint.inspect(sizes, texts, headers=headers)
    return [problem.code for problem in problems + warnings]


def test_the_index_and_its_shards():
    assert shards(20, b="b.safetensors") == []
    assert shards(22, b="b.safetensors") == ["total_size"]
    assert shards(20, b="a.safetensors") == ["tensor_missing", "total_size"]
    assert shards(20, b="b.safetensors", c="b.safetensors") == ["tensor_missing"]


def test_the_size_in_an_index_without_headers():
    metadata = {"metadata": {"total_size": 301}, **index(*SHARDS)["model_safetensors_index_json"]}
    for total, codes in ((300, []), (301, ["total_size"])):
        metadata["metadata"]["total_size"] = total
        texts = {
            "model.safetensors.index.json": json.dumps(metadata).encode(),
            "tokenizer_config.json": b'{"chat_template": "x"}',
        }
        assert [one.code for one in _checkpoint.inspect(SHARDED, texts)[1]] == codes


def test_weights_with_a_space_in_their_names():
    files = {"config.json": 1, "tokenizer.json": 1, "model.safetensors.index.json": 1, "my model.safetensors": 1}
    assert inspect(files, **index("my model.safetensors"))[0] == ["file_name_space"]


def test_quantised_weights_are_packed_and_no_contradiction():
    config = {**LLAMA, "quantization_config": {"quant_method": "awq"}}
    problems, warnings, facts = read(tensors={"a": ("I32", (15_000,))}, config_json=config)
    assert (problems, warnings) == ({}, {})
    assert facts["parameters"] == 119_296  # by the settings: the tensors hold eight in one
    assert "config_and_weights_differ" in read(tensors={"a": ("I32", (1_000,))}, config_json=config)[1]
