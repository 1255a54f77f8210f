# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""Which files of a repository belong to its snapshot."""

from __future__ import annotations

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.llmops.nim.plugins.doc_fragments import selection
from ansible_collections.llmops.nim.plugins.module_utils import _selection
from ansible_collections.llmops.nim.plugins.module_utils._problem import Problem
from ansible_collections.llmops.nim.plugins.module_utils._selection import Selection

READ = {
    "config.json", "generation_config.json", "tokenizer.json", "tokenizer.model", "tokenizer_config.json", "vocab.json",
    "merges.txt", "special_tokens_map.json", "chat_template.jinja", "hf_quant_config.json", "modeling_own.py",
    "model.safetensors.index.json", "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors",
    "trtllm_ckpt/config.json", "trtllm_ckpt/rank0.safetensors",
}  # fmt: skip
NOT_READ = {
    ".gitattributes", "README.md", "LICENSE", "figure.png", "pytorch_model.bin", "training_args.bin", "model.gguf",
    "original/consolidated.00.pth", "original/params.json", "consolidated.safetensors", "onnx/model.onnx",
    "checkpoint-500/model-00001-of-00002.safetensors", "checkpoint-500/optimizer.pt", "flax_model.msgpack",
}  # fmt: skip


def test_by_default_what_a_nim_reads():
    assert Selection().take(READ | NOT_READ) == READ


def test_pickles_where_there_are_no_other_weights():
    files = {"config.json", "pytorch_model.bin", "training_args.bin", "optimizer.pt", "README.md"}
    assert Selection().take(files) == {"config.json", "pytorch_model.bin"}
    assert Selection(exclude=["*.bin"]).take(files) == {"config.json"}
    assert Selection(include=["*.json"]).take(files) == {"config.json"}


@pytest.mark.parametrize(
    ("pattern", "taken", "left"),
    [
        ("*.json", ["a.json", "-a b,c.json"], ["d/a.json", "a.jsonl", "xjson"]),
        ("**/*.json", ["a.json", "d/e/a.json"], ["a.txt"]),
        ("**", ["a", "d/e", ".x"], []),
        ("d/", ["d/a", "d/e/f"], ["d", "e/d/a"]),
        ("d/**/a", ["d/a", "d/e/f/a"], ["d/ea"]),
        ("a?.txt", ["ab.txt"], ["a.txt", "a/.txt"]),
        ("a[b].txt", ["a[b].txt"], ["ab.txt"]),
    ],
)
def test_patterns(pattern, taken, left):
    assert Selection(include=[pattern]).take([*taken, *left]) == set(taken)
    assert Selection(include=["**"], exclude=[pattern]).take([*taken, *left]) == set(left)


@pytest.mark.parametrize("pattern", ["", "/etc/passwd", "../x", "a/../b", ".", "a\nb"])
def test_what_is_no_pattern_is_refused(pattern):
    with pytest.raises(Problem) as caught:
        Selection(exclude=[pattern])
    assert caught.value.code == "pattern_invalid"


@given(st.text(st.characters(blacklist_categories=("Cs", "Cc"), blacklist_characters="*?"), min_size=1))
def test_a_pattern_without_signs_is_the_path_itself(path):
    if path.startswith("/") or path.endswith("/") or {".", ".."} & set(path.split("/")):
        return
    assert Selection(include=[path]).take([path, path + "x", "x" + path, "x/" + path]) == {path}


def test_the_suffix_tells_selections_apart():
    assert Selection().suffix == ""
    others = [Selection(["a"]), Selection(["b"]), Selection(["a"], ["b"]), Selection([], ["b"])]
    assert len({one.suffix for one in others}) == 4
    assert all(len(one.suffix) == 9 for one in others)
    assert Selection(["a"]).suffix == Selection(["a"]).suffix


def test_the_documentation_names_the_defaults():
    options = yaml.safe_load(selection.ModuleDocFragment.DOCUMENTATION)["options"]
    text = " ".join(options["include"]["description"])
    for pattern in (*_selection.INCLUDE, *_selection.EXCLUDE):
        assert f"C({pattern})" in text
    for name, option in options.items():
        told = {key: value for key, value in option.items() if key != "description"}
        assert told == _selection.ARGUMENT_SPEC[name]
