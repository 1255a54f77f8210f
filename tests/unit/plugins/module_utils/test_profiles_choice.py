# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""Which profile is chosen, and what is said about it."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.llmops.nim.plugins.module_utils._problem import Problem
from ansible_collections.llmops.nim.plugins.module_utils._profile_choice import Wishes, choose
from ansible_collections.llmops.nim.plugins.module_utils._profile_name import read_name
from ansible_collections.llmops.nim.plugins.module_utils._profiles import parse_listing

FIXTURES = Path(__file__).parents[2] / "fixtures" / "profiles"


def read(name):
    return parse_listing((FIXTURES / name).read_text(encoding="utf-8"))


def pick(name, **wishes):
    """The description of the profile chosen from a fixture."""
    listing = read(name)
    return choose(listing["profiles"], listing["gpus"], Wishes(**wishes))["selected"]["description"]


def profile(description, group="runnable", number=0, **more):
    says = dict(read_name(description), reduced_memory_gb_per_gpu=None, max_model_len_hint=None)
    return dict(says, id=f"{number:064x}", description=description, group=group, **more)


def profiles_of(*named):
    """Profiles of texts C(description) or C(group description)."""
    made = []
    for number, text in enumerate(named):
        group, _blank, description = text.rpartition(" ")
        made.append(profile(description, group or "runnable", number))
    return made


def best(*named, **wishes):
    selected = choose(profiles_of(*named), [], Wishes(**wishes))["selected"]
    return selected and selected["description"]


def refused(*named, gpus=(), **wishes):
    choice = choose(profiles_of(*named), list(gpus), Wishes(**wishes))
    assert choice["selected"] is None
    assert len(choice["rejected"]) == len(named)
    assert all(one["reason"] for one in choice["rejected"])
    return choice["refusal"]


def gpu(index, name="NVIDIA L40S", pci_id="26b9:10de", free=True, used=0):
    return {
        "index": index,
        "name": name,
        "family": None,
        "pci_id": pci_id,
        "free": free,
        "utilization_percent": used,
    }


L40, A2 = gpu(0, "NVIDIA L40", "26b5:10de"), gpu(1, "NVIDIA A2", "25b6:10de")

FT, VLLM, LORA = "tensorrt_llm-trtllm_buildable-bf16-tp1-pp1", "vllm-bf16-tp1-pp1", "vllm-bf16-tp1-pp1-lora"
PREBUILT = "tensorrt_llm-h100-bf16-tp1-pp1-throughput"


# -- the order ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("better", "worse", "wishes"),
    [
        # objective
        ("tensorrt_llm-h100-bf16-tp1-latency", "tensorrt_llm-h100-bf16-tp1-throughput", {}),
        ("tensorrt_llm-h100-bf16-tp1-throughput", "tensorrt_llm-h100-bf16-tp1", {}),
        ("tensorrt_llm-h100-bf16-tp1-latency", "tensorrt_llm-h100-bf16-tp1-throughput", {"objective": "latency"}),
        ("tensorrt_llm-h100-bf16-tp1-throughput", "tensorrt_llm-h100-bf16-tp1-latency", {"objective": "throughput"}),
        ("tensorrt_llm-h100-bf16-tp1-throughput", "tensorrt_llm-h100-bf16-tp1-latency", {"profile": "throughput"}),
        ("tensorrt_llm-h100-bf16-tp1-latency", "tensorrt_llm-h100-bf16-tp1", {"objective": "throughput"}),
        ("vllm-h100-bf16-tp1-latency", "tensorrt_llm-h100-bf16-tp1-throughput", {}),
        # engine
        ("tensorrt_llm-h100-bf16-tp1", "vllm-h100-bf16-tp1", {}),
        ("vllm-h100-bf16-tp1", FT, {}),
        (f"compilable {FT}", VLLM, {}),
        (f"compilable {FT}", "sglang-bf16-tp1-pp1", {}),
        ("tensorrt_llm", "vllm", {}),
        (PREBUILT, f"compilable {FT}", {}),
        # weights
        (f"compilable {FT}", PREBUILT, {"fine_tuned": True}),
        (VLLM, "tensorrt_llm-h100-bf16-tp1-latency", {"fine_tuned": True}),
        # memory
        (VLLM, "low_memory tensorrt_llm-h100-bf16-tp1-latency", {"own_memory": True}),
        # what the name tells
        (VLLM, "tensorrt_llm", {}),
        (VLLM, "vllm-tp1-pp1", {"precision": "bf16"}),
    ],
)
def test_order(better, worse, wishes):
    expected = better.rpartition(" ")[2]
    assert best(better, worse, **wishes) == expected
    assert best(worse, better, **wishes) == expected


def test_ties_go_by_the_order_printed():
    assert best("vllm-bf16-tp1", "sglang-bf16-tp1") == "vllm-bf16-tp1"
    assert best("sglang-bf16-tp1", "vllm-bf16-tp1") == "sglang-bf16-tp1"


def test_fixtures():
    assert pick("nim_1.0.txt", gpu_count=2) == "tensorrt_llm-A100-fp16-tp2-latency"
    assert pick("nim_1.0.txt", gpu_count=1) == "tensorrt_llm-a100-fp16-tp1-throughput"
    assert pick("nim_1.0.txt", gpu_count=1, lora=True) == "tensorrt_llm-a100-fp16-tp1-throughput-lora"
    assert pick("nim_1.3_buildable.txt", gpu_count=2) == "tensorrt_llm-trtllm_buildable-bf16-tp2"
    assert pick("nim_1.8_h100.txt", precision="bf16") == "tensorrt_llm-h100-bf16-tp1-pp1-latency"
    assert pick("nim_1.8_h100.txt", fine_tuned=True) == "tensorrt_llm-trtllm_buildable-bf16-tp1-pp1"
    assert pick("nim_1.8_h100.txt", precision="FP8") == "tensorrt_llm-h100-fp8-tp1-pp1-throughput"
    assert pick("nim_1.12_multi_llm.txt", fine_tuned=True, gpu_count=1, precision="bf16") == "tensorrt_llm"
    assert pick("nim_2_runnable.txt", precision="bf16") == "vllm-bf16-tp1-pp1-33.0"
    assert pick("nim_2_low_memory.txt", precision="bf16", own_memory=True) == "vllm-bf16-tp1-pp1-33.0"
    assert pick("nim_2_model_free.txt", precision="bf16", gpu_count=1).startswith("vllm-tp1-pp1-")


# -- cached engines -----------------------------------------------------------------------------------------------


def test_cached_engine_of_exactly_this_name_comes_first():
    name = "our heron (v2) [final]"
    assert pick("nim_1.3_cached_engine_markdown.txt", engine_name=name, gpu_count=2) == name


def test_cached_engine_of_another_name_is_never_chosen():
    assert best("heron-0a1b2c", VLLM) == VLLM
    assert best("heron-0a1b2c", VLLM, engine_name="heron-0a1b2d") == VLLM
    refusal = refused("heron-0a1b2c", f"incompatible {VLLM}", engine_name="heron-0a1b2d")
    assert refusal.code == "profile_none_cached_only"
    assert "heron-0a1b2c" in refusal.evidence


def test_cached_engine_for_another_gpu_is_not_chosen():
    assert best("incompatible heron-0a1b2c", VLLM, engine_name="heron-0a1b2c") == VLLM


def test_cached_engine_whose_memory_the_old_release_holds():
    named = ("low_memory heron-0a1b2c", f"low_memory {VLLM}")
    assert best(*named, engine_name="heron-0a1b2c", own_memory=True) == "heron-0a1b2c"
    assert refused(*named, engine_name="heron-0a1b2c").code == "profile_none_memory"


def test_a_pin_goes_before_the_cached_engine():
    assert best("heron-0a1b2c", VLLM, engine_name="heron-0a1b2c", profile=VLLM) == VLLM


# -- pins ---------------------------------------------------------------------------------------------------------


def pin_problem(name, pin, **wishes):
    listing = read(name)
    with pytest.raises(Problem) as caught:
        choose(listing["profiles"], listing["gpus"], Wishes(profile=pin, **wishes))
    return caught.value


def test_pins_by_id_and_description():
    listing = read("nim_1.8_h100.txt")
    vllm = listing["profiles"][3]
    for pin in (vllm["id"], vllm["id"].upper(), f" {vllm['id']} ", "vllm-bf16-tp1-pp1", "VLLM-BF16-TP1-PP1"):
        assert pick("nim_1.8_h100.txt", profile=pin) == "vllm-bf16-tp1-pp1"
    assert pick("nim_2_runnable.txt", profile="vllm-bf16-tp1-pp1") == "vllm-bf16-tp1-pp1-33.0"


def test_pin_pasted_as_listed_is_refused_with_the_bare_id():
    key = read("nim_1.8_h100.txt")["profiles"][3]["id"]
    for pasted in (f"{key} (vllm-bf16-tp1-pp1)", f"- {key} (vllm-bf16-tp1-pp1)", f"{key}(x) [requires >=33 GB/gpu]"):
        problem = pin_problem("nim_1.8_h100.txt", pasted)
        assert problem.code == "profile_pasted"
        assert problem.remedy == f"Give the id alone: {key}"


def test_unknown_pin_lists_what_there_is():
    problem = pin_problem("nim_1.8_h100.txt", "0" * 64)
    assert problem.code == "profile_unknown"
    assert "(vllm-bf16-tp1-pp1), runnable" in problem.remedy
    assert "tp2" not in problem.remedy  # incompatible
    assert "near to it: vllm-bf16-tp1-pp1" in pin_problem("nim_1.8_h100.txt", "vlm-bf16-tp1-pp1").evidence
    assert pin_problem("nim_1.8_h100.txt", "abc123").code == "profile_unknown"
    assert pin_problem("nim_1.8_h100.txt", "default").code == "profile_unknown"


def test_incompatible_pin_is_refused():
    problem = pin_problem("nim_1.8_h100.txt", "tensorrt_llm-h100-bf16-tp2-pp1-latency")
    assert problem.code == "profile_incompatible"
    problem = pin_problem("nim_1.8_gpu_mix.txt", "vllm-bf16-tp1-pp1")
    assert "None of this listing can be used." in problem.remedy


def test_low_memory_pin_is_taken_with_its_hint_said():
    listing = read("nim_2_low_memory.txt")
    selected = choose(listing["profiles"], listing["gpus"], Wishes(profile="vllm-bf16-tp1-pp1-33.0"))["selected"]
    assert any("27 GB with --max-model-len=81152" in reason for reason in selected["reasons"])


def test_pin_for_another_number_of_gpus_contradicts():
    problem = pin_problem("nim_1.0.txt", "vllm-fp16-tp2", gpu_count=1)
    assert problem.code == "profile_contradiction"
    assert problem.what.endswith("the pinned profile is for 2 GPUs, not 1.")


def test_latency_and_throughput_contradict():
    assert pin_problem("nim_1.0.txt", "latency", objective="throughput").code == "profile_contradiction"


def test_pin_by_an_ambiguous_description():
    named = profiles_of("vllm-bf16-tp1", "low_memory vllm-bf16-tp1", "incompatible vllm-bf16-tp2")
    with pytest.raises(Problem) as caught:
        choose(named, [], Wishes(profile="vllm-bf16-tp1"))
    assert caught.value.code == "profile_ambiguous"
    assert named[1]["id"] in caught.value.evidence
    # One of the same name that cannot be used anyway does not make it ambiguous.
    named = profiles_of("incompatible vllm-bf16-tp1", "vllm-bf16-tp1")
    assert choose(named, [], Wishes(profile="vllm-bf16-tp1"))["selected"]["id"] == named[1]["id"]


def test_pin_against_other_wishes_is_said():
    selected = choose(profiles_of(LORA), [], Wishes(profile=LORA, precision="fp8"))["selected"]
    assert any("precision bf16 as it is pinned" in reason for reason in selected["reasons"])
    assert any("LoRA" in reason for reason in selected["reasons"])
    selected = choose(profiles_of(PREBUILT), [], Wishes(profile=PREBUILT, fine_tuned=True))["selected"]
    assert any("not verified" in reason for reason in selected["reasons"])


# -- refusals -----------------------------------------------------------------------------------------------------


def test_mix_of_gpus():
    listing = read("nim_1.8_gpu_mix.txt")
    refusal = choose(listing["profiles"], listing["gpus"], Wishes(gpu_count=2))["refusal"]
    assert refusal.code == "profile_none_gpu_mix"
    assert "NVIDIA A2" in refusal.evidence
    assert "e.g. gpus: [0]" in refusal.remedy


def test_mix_of_gpus_is_counted_as_the_host_counts():
    def remedy(*handed):
        return refused(f"incompatible {VLLM}", gpus=[L40, A2], handed=handed).remedy

    assert "e.g. gpus: [3]" in remedy("5", "3")
    assert "gpus: [5]" in remedy("5", "3")
    assert "e.g. gpus: [0]" in remedy("all")
    assert "gpus:" not in remedy("GPU-aa", "GPU-bb")  # nobody says which is which
    assert "NVIDIA L40 or NVIDIA A2" in remedy("GPU-aa", "GPU-bb")


def test_memory_not_free():
    listing = read("nim_2_low_memory.txt")
    refusal = choose(listing["profiles"], listing["gpus"], Wishes())["refusal"]
    assert refusal.code == "profile_none_memory"
    assert "memory in use: 10 %" in refusal.evidence
    assert "vllm-bf16-tp1-pp1-33.0: needs 33 GB a GPU, 27 GB with --max-model-len=81152" in refusal.evidence
    assert "feat_lora" not in refusal.evidence
    listing = read("nim_1.0_low_memory.txt")
    assert choose(listing["profiles"], listing["gpus"], Wishes())["refusal"].code == "profile_none_memory"


def test_unsupported_gpu():
    refusal = refused(f"incompatible {PREBUILT}", f"incompatible {VLLM}", gpus=[gpu(0)])
    assert refusal.code == "profile_none_gpu_unsupported"
    assert "made for: h100" in refusal.evidence
    assert "NVIDIA L40S" in refusal.evidence


def test_too_few_gpus_for_any():
    refusal = refused("incompatible vllm-bf16-tp4-pp2", "incompatible vllm-bf16-tp4", gpus=[gpu(0), gpu(1)])
    assert refusal.code == "profile_none_gpu_count"
    assert "need 4 or more, and 2 were handed over" in refusal.what


def test_lora_only():
    assert refused(LORA, f"incompatible {VLLM}").code == "profile_none_lora"
    assert refused(VLLM, lora=True).code == "profile_none_lora"


def test_other_count():
    refusal = refused("vllm-bf16-tp2", "vllm-bf16-tp2-pp2", LORA, gpu_count=1)
    assert refusal.code == "profile_none_gpu_count"
    assert "for 2 or 4 GPUs, and the service is to have 1" in refusal.what


def test_other_precision():
    refusal = refused("vllm-fp8-tp1", "vllm-bf16-tp2", precision="bf16", gpu_count=1)
    assert refusal.code == "profile_none_precision"
    assert "serve in fp8, and the weights are bf16" in refusal.what


def test_no_profiles_at_all():
    assert refused().code == "profile_none_listed"


# -- properties ---------------------------------------------------------------------------------------------------

descriptions = st.builds(
    "{}{}-{}-tp{}{}{}".format,
    st.sampled_from(["tensorrt_llm", "vllm", "sglang"]),
    st.sampled_from(["", "-h100"]),
    st.sampled_from(["bf16", "fp8"]),
    st.sampled_from([1, 2]),
    st.sampled_from(["", "-pp1", "-pp2"]),
    st.sampled_from(["", "-latency", "-throughput", "-lora", "-feat_lora-33.0"]),
) | st.sampled_from(["vllm", "tensorrt_llm", FT, "heron-1", "heron-2"])

groups = st.sampled_from(["runnable", "low_memory", "compilable", "incompatible"])
lists_of_profiles = st.lists(st.tuples(descriptions, groups), max_size=12).map(
    lambda made: [profile(text, group, number) for number, (text, group) in enumerate(made)]
)
some_wishes = st.builds(
    Wishes,
    profile=st.sampled_from(["auto", "latency", "throughput"]),
    gpu_count=st.sampled_from([None, 1, 2, 4]),
    precision=st.sampled_from([None, "bf16", "fp8"]),
    lora=st.booleans(),
    engine_name=st.sampled_from([None, "heron-1"]),
    own_memory=st.booleans(),
    fine_tuned=st.booleans(),
)
some_gpus = st.lists(st.sampled_from([L40, A2, gpu(1)]), max_size=3)


@given(lists_of_profiles, some_gpus, some_wishes)
def test_choice_keeps_its_promises(profiles, gpus, wishes):
    choice = choose(profiles, gpus, wishes)
    assert choice == choose(profiles, gpus, wishes) or choice["refusal"]  # Problems have no equality
    selected, refusal = choice["selected"], choice["refusal"]
    assert (selected is None) == (refusal is not None)
    # Each profile is selected or rejected with a reason, in the order printed.
    taken = [selected["id"]] if selected else []
    assert [one["id"] for one in choice["rejected"]] == [one["id"] for one in profiles if one["id"] not in taken]
    assert all(one["reason"] for one in choice["rejected"])
    if refusal:
        assert refusal.what
        assert refusal.remedy
        assert refusal.code.startswith("profile_none_")
        return
    assert selected["reasons"]
    assert selected["group"] != "incompatible"
    assert selected["group"] != "low_memory" or wishes.own_memory
    if selected["description"] == wishes.engine_name:
        return
    assert not re.match("heron", selected["description"])
    assert selected["lora"] == wishes.lora
    assert wishes.precision in (None, selected["precision"]) or selected["precision"] is None
    if wishes.gpu_count and selected["tensor_parallel"]:
        assert selected["tensor_parallel"] * (selected["pipeline_parallel"] or 1) == wishes.gpu_count
    assert all(wishes.engine_name != one["description"] or one["group"] != "runnable" for one in profiles)


@given(lists_of_profiles, some_wishes)
def test_what_was_put_aside_does_not_change_the_choice(profiles, wishes):
    selected = choose(profiles, [], wishes)["selected"]
    kept = [one for one in profiles if one["group"] != "incompatible"]
    again = choose(kept, [], wishes)["selected"]
    assert (selected and selected["id"]) == (again and again["id"])


@given(lists_of_profiles.filter(bool), some_wishes, st.data())
def test_a_pin_is_obeyed_or_refused(profiles, wishes, data):
    pinned = data.draw(st.sampled_from(profiles))
    try:
        selected = choose(profiles, [], replace(wishes, profile=pinned["id"]))["selected"]
    except Problem as problem:
        refused = problem.code
    else:
        refused = None
        assert selected["id"] == pinned["id"]
        assert pinned["group"] != "incompatible"
    assert refused in (None, "profile_incompatible", "profile_contradiction")
