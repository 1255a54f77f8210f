# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""The memory a checkpoint needs, and whether its GPUs have it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.llmops.nim.plugins.module_utils import _checkpoint, _contract, _memory, _safetensors

LAB = Path(__file__).resolve().parents[4] / "lab" / "weights"
LLAMA_8B = {
    "precision": "bf16",
    "quantization": None,
    "parameters": 8_030_261_248,
    "weight_bytes": 16_060_556_672,
    "kv_heads": 8,
    "kv_bytes_per_token": 131_072,
    "max_position_embeddings": 131_072,
}
OVERHEAD = _contract.CONTRACTS["model_free"].overhead


def gpus(*totals, name="NVIDIA L40S"):
    return [{"index": index, "name": name, "memory_total_mib": total} for index, total in enumerate(totals)]


def need(facts, gpu_count, *more, **keys):
    return _memory.need(facts, gpu_count, OVERHEAD, *more, **keys)


def largest_length(facts, gpu_count, budget):
    return _memory.largest_length(facts, gpu_count, OVERHEAD, budget)


def judge(facts=LLAMA_8B, totals=(49140,), share=0.9, max_model_len=None, strict=True):
    """The Problem or None, and whether it stands in the way."""
    problems, warnings = _memory.judge("model", facts, gpus(*totals), share, OVERHEAD, max_model_len, strict)
    assert len(problems + warnings) <= 1
    for one in problems + warnings:
        assert all((one.what, one.evidence, one.remedy))
    return next(iter(problems + warnings), None), bool(problems)


def too_big():
    """The facts of the lab's checkpoint whose config.json is that of a 70B model, and whose files are tiny."""
    folder = LAB / "too-big"
    sizes = {path.name: path.stat().st_size for path in folder.iterdir()}
    texts = {name: (folder / name).read_bytes() for name in _checkpoint.TEXTS if name in sizes}
    headers = {name: _safetensors.read(str(folder / name), name) for name in sizes if name.endswith(".safetensors")}
    problems, warnings, facts = _checkpoint.inspect(sizes, texts, headers=headers)
    assert problems == []
    assert "config_and_weights_differ" in [warning.code for warning in warnings]
    return facts


def test_what_a_nim_says_of_the_same_model():
    # A NIM 2.0.12 lists Llama 3.1 8B in bf16 with 33 GB, and with 27 GB at 81152 tokens.
    assert round(need(LLAMA_8B, 1)["total_mib"] / 1024) == 33
    assert round(need(LLAMA_8B, 1, 81_152)["total_mib"] / 1024) == 27


def test_the_need():
    assert need(LLAMA_8B, 2, 4096, sequences=3) == {
        "weights_mib": 7659,
        "kv_mib": 768,
        "overhead_mib": 2048,
        "total_mib": 7659 + 768 + 2048,
        "max_model_len": 4096,
        "known": True,
    }


@pytest.mark.parametrize("missing", ["kv_bytes_per_token", "max_position_embeddings"])
def test_a_need_that_is_not_known(missing):
    found = need({**LLAMA_8B, missing: None}, 1)
    assert found["known"] is False
    assert found["kv_mib"] == 0
    assert need({**LLAMA_8B, "weight_bytes": 0, "parameters": None}, 1)["known"] is False


@pytest.mark.parametrize(
    ("precision", "quantization", "parameters", "weights", "expected"),
    [
        ("bf16", None, 100, 200, 200),
        ("bf16", None, 100, 2, 200),  # the settings describe more than there is
        ("bf16", None, None, 300, 300),
        ("fp8", "fp8", 100, 50, 100),
        (None, "awq", 100, 55, 55),
        (None, "awq", 100, 2, 25),
        (None, None, 100, 400, 400),  # float32
    ],
)
def test_the_bytes_of_weights(precision, quantization, parameters, weights, expected):
    facts = {"precision": precision, "quantization": quantization, "parameters": parameters, "weight_bytes": weights}
    assert _memory.weight_bytes(facts) == expected


@pytest.mark.parametrize(
    ("heads", "count", "expected"), [(8, 1, 800), (8, 2, 400), (8, 16, 100), (6, 4, 200), (2, 3, 100)]
)
def test_heads_are_not_divided(heads, count, expected):
    facts = {"kv_heads": heads, "kv_bytes_per_token": heads * 100}
    assert _memory.kv_bytes_per_token(facts, count) == expected


models = st.fixed_dictionaries(
    {
        "precision": st.sampled_from(["bf16", "fp8", None]),
        "quantization": st.none(),
        "parameters": st.integers(1, 10**12),
        "weight_bytes": st.integers(1, 10**12),
        "kv_heads": st.integers(1, 64),
        "kv_bytes_per_token": st.integers(1, 10**4).map(lambda size: size * 64 * 63 * 61 * 59),
        "max_position_embeddings": st.none() | st.integers(1, 10**6),
    }
).map(
    lambda facts: {**facts, "kv_bytes_per_token": facts["kv_bytes_per_token"] // facts["kv_heads"] * facts["kv_heads"]}
)
counts, lengths = st.integers(1, 64), st.integers(1, 10**6)


@given(models, counts, lengths, lengths, counts)
def test_more_is_never_less(facts, count, length, longer, more):
    total = need(facts, count, length)["total_mib"]
    assert need(facts, count, length + longer)["total_mib"] >= total
    assert need(facts, count, length, sequences=more)["total_mib"] >= total
    assert need(facts, count + more, length)["total_mib"] <= total
    larger = {**facts, "parameters": facts["parameters"] + longer}
    assert need(larger, count, length)["total_mib"] >= total


@given(models, counts, st.integers(0, 10**6), counts)
def test_the_largest_length_fits_and_the_next_does_not(facts, count, budget, more):
    length, limit = largest_length(facts, count, budget), facts["max_position_embeddings"]
    assert length % _memory.STEP == 0
    if length:
        assert need(facts, count, length)["total_mib"] <= budget
        assert length <= (limit or length)
    following = length + _memory.STEP
    assert (limit and following > limit) or need(facts, count, following)["total_mib"] > budget
    assert largest_length(facts, count, budget + more) >= length
    assert largest_length(facts, count + more, budget) >= length


@given(models, st.lists(st.integers(1000, 10**6), min_size=1, max_size=8), st.none() | lengths, st.booleans())
def test_what_is_refused_does_not_fit_and_what_is_not_does(facts, totals, length, strict):
    found, refused = judge(facts, totals, max_model_len=length, strict=strict)
    budget = int(min(totals) * 0.9)
    wanted = need(facts, len(totals), length)
    if found is None:
        assert wanted["total_mib"] <= budget
    elif found.code != "memory_unknown":
        assert wanted["total_mib"] > budget
        assert f"= {budget} MiB" in found.evidence
    if refused and not strict:
        assert wanted["total_mib"] - wanted["kv_mib"] > budget


def test_70_billion_parameters_on_one_gpu_of_48_gb():
    found, refused = judge(too_big(), strict=False)
    assert refused
    assert found.code == "memory_too_small"
    assert found.evidence.splitlines() == [
        "parameters: 70.55 billion, bf16",
        "weights: 141107412992 bytes = 134571 MiB",
        "KV cache: 327680 bytes a token x 131072 tokens = 40960 MiB",
        "overhead: 2048 MiB (estimate)",
        "needed: 177579 MiB",
        "there: 49140 MiB x 0.9 (the engine's share) = 44226 MiB",
    ]
    assert "4 GPUs like this instead of 1, with NIM_MAX_MODEL_LEN=109056 or less" in found.remedy
    assert "quantised to 4 bits" in found.remedy
    assert "a GPU with 149 GiB or more" in found.remedy
    assert "memory_share" not in found.remedy


def test_what_is_proposed_works():
    facts = too_big()
    assert judge(facts, [49140] * 4, max_model_len=109_056) == (None, False)
    assert judge(facts, [149 * 1024], max_model_len=256)[0] is None
    assert judge(facts, [49140] * 2)[0].code == "memory_too_small"


def test_a_context_that_does_not_fit():
    for strict in (True, False):
        found, refused = judge(totals=[23034], strict=strict)
        assert (found.code, refused) == ("context_too_long", strict)
        assert "NIM_MAX_MODEL_LEN=26880 (the longest that fits)" in found.remedy
        assert "2 GPUs like this instead of 1" in found.remedy
    assert judge(totals=[23034], max_model_len=26_880) == (None, False)
    assert judge(totals=[23034] * 2) == (None, False)


def test_a_larger_share_where_that_is_enough():
    found, _refused = judge(totals=[48_000], share=0.5)
    assert "memory_share: 0.71 instead of 0.5" in found.remedy
    assert judge(totals=[48_000], share=0.71)[0] is None


def test_the_smallest_gpu_counts_and_copies_of_heads_are_told():
    found, _refused = judge({**LLAMA_8B, "kv_heads": 6, "kv_bytes_per_token": 6 * 30_000}, [20_000] * 4 + [9_000])
    assert "9000 MiB x 0.9" in found.evidence
    assert "6 KV heads do not divide by 5" in found.evidence
    assert "5 x NVIDIA L40S (GPU 0, 1, 2, 3, 4)" in found.what


def test_what_is_not_known_is_said_and_refuses_nothing():
    found, refused = judge({**LLAMA_8B, "kv_bytes_per_token": None})
    assert (found.code, refused) == ("memory_unknown", False)
    found, refused = judge({**LLAMA_8B, "kv_bytes_per_token": None}, [8000])
    assert (found.code, refused) == ("memory_too_small", True)
    assert judge(dict.fromkeys(LLAMA_8B))[0].code == "memory_unknown"
    assert _memory.judge("model", LLAMA_8B, [], 0.9, OVERHEAD) == ([], [])
    assert largest_length({**LLAMA_8B, "kv_bytes_per_token": None}, 1, 10**6) is None


def test_beside_a_release_that_runs():
    assert _memory.beside(10_000, [10_000, 12_000], [40_000, 25_001]) == (True, 0.4)
    assert _memory.beside(10_000, [9_999, 12_000], [40_000, 24_999]) == (False, 0.41)
    assert _memory.beside(10_000, [10_000]) == (True, None)
    assert _memory.beside(10_000, []) == (False, None)


def test_facts_that_came_through_json_do_as_well():
    facts = json.loads(json.dumps(too_big()))
    assert need(facts, 4)["known"] is True
