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
from ansible_collections.llmops.nim.plugins.module_utils._profile_choice import choose
from ansible_collections.llmops.nim.plugins.module_utils._profile_name import read_name
from ansible_collections.llmops.nim.plugins.module_utils._profile_wishes import Gpu, Wishes
from ansible_collections.llmops.nim.plugins.module_utils._profiles import parse_listing

FIXTURES = Path(__file__).parents[2] / "fixtures" / "profiles"


def read(name):
    return parse_listing((FIXTURES / name).read_text(encoding="utf-8"))


def pick(name, **wishes):
    """The description of the profile chosen from a fixture."""
    listing = read(name)
    return choose(listing["profiles"], listing["gpus"], Wishes(**wishes))["selected"]["description"]


def profile(description, group="runnable", number=0, hint=None, **more):
    says = dict(read_name(description), reduced_memory_gb_per_gpu=None, max_model_len_hint=None)
    return dict(says, id=f"{number:064x}", description=description, group=group, **(hint or more))


def card(index=0, total=49140, used=0, own=0, capability=(8, 9), name="NVIDIA L40S"):
    return Gpu(index, f"GPU-{index:08x}", name, total, used, capability, own)


# All that is in use is the old release's.
OWN = (card(used=44000, own=43900),)


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


def refused(*named, gpus=(), gpus_of_host=(), **wishes):
    choice = choose(profiles_of(*named), list(gpus), Wishes(gpus=gpus_of_host, **wishes))
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


HINTED = profile(
    "vllm-bf16-tp1-pp1",
    "low_memory",
    7,
    memory_gb_per_gpu=33.0,
    reduced_memory_gb_per_gpu=22.0,
    max_model_len_hint=20000,
)
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
        # quantised weights
        ("vllm-fp8-tp1", "tensorrt_llm-trtllm_buildable-fp8-tp1", {"quantization": "fp8"}),
        ("sglang", "tensorrt_llm", {"quantization": "awq"}),
        ("tensorrt_llm-trtllm_buildable-fp8-tp1", "vllm-fp8-tp1", {"quantization": "modelopt_fp8"}),
        (PREBUILT, f"compilable {FT}", {}),
        # weights
        (f"compilable {FT}", PREBUILT, {"fine_tuned": True}),
        (VLLM, "tensorrt_llm-h100-bf16-tp1-latency", {"fine_tuned": True}),
        (VLLM, f"{PREBUILT}-pytorch", {"fine_tuned": True}),
        (PREBUILT, "tensorrt_llm-h100-bf16-tp1-pp1-latency-pytorch-26b9", {"fine_tuned": True}),
        ("tensorrt_llm-h100-bf16-tp1-pp1-latency-pytorch-26b9", f"compilable {FT}", {}),
        # memory
        ("low_memory tensorrt_llm-h100-bf16-tp1-latency", VLLM, {"gpus": OWN}),
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
    assert pick("nim_2_low_memory.txt", precision="bf16", gpus=OWN) == "vllm-bf16-tp1-pp1-33.0"
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
    assert best(*named, engine_name="heron-0a1b2c", gpus=OWN) == "heron-0a1b2c"
    assert refused(*named, engine_name="heron-0a1b2c").code == "profile_none_memory"


def test_cached_engine_that_fits_with_a_shorter_length_only():
    engine = dict(HINTED, description="heron-0a1b2c")
    choice = choose([engine], [], Wishes(engine_name="heron-0a1b2c", gpus=(card(total=24000),)))
    assert choice["selected"]["max_model_len"] == 20000


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


def test_pin_for_another_objective_is_said():
    selected = choose(profiles_of(PREBUILT), [], Wishes(profile=PREBUILT, objective="latency"))["selected"]
    assert "objective throughput as it is pinned, though latency is wished for" in selected["reasons"]


def test_pin_on_a_gpu_that_is_too_old_is_said():
    wishes = Wishes(profile="vllm-fp8-tp1", gpus=(card(capability=(8, 0)),))
    selected = choose(profiles_of("vllm-fp8-tp1"), [], wishes)["selected"]
    assert any("fp8 needs compute capability 8.9, and GPU 0" in reason for reason in selected["reasons"])


@pytest.mark.parametrize(
    ("wishes", "length", "said"),
    [
        ({}, 20000, "who holds it is not known; taken because it is pinned, with NIM_MAX_MODEL_LEN=20000"),
        ({"max_model_len": 8192}, None, "with the 8192 tokens that are set (NIM advises 20000)"),
        ({"gpus": (card(used=40000, own=10000),)}, 20000, "30000 MiB of GPU 0; taken because it is pinned"),
        ({"gpus": OWN}, None, "it fits the 49140 MiB of GPU 0"),
        ({"gpus": (card(total=24000),)}, 20000, "it fits the 24000 MiB of GPU 0 with NIM_MAX_MODEL_LEN=20000"),
        ({"gpus": (card(total=20000),)}, 20000, "more than the 20000 MiB of GPU 0; taken because it is pinned"),
    ],
)
def test_length_of_a_pin_that_is_low_on_memory(wishes, length, said):
    selected = choose([HINTED], [], Wishes(profile=HINTED["id"], **wishes))["selected"]
    assert selected["max_model_len"] == length
    assert any(said in reason for reason in selected["reasons"])


def test_length_of_a_pin_that_is_runnable():
    assert choose([dict(HINTED, group="runnable")], [], Wishes(profile=VLLM))["selected"]["max_model_len"] is None


# -- memory -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("gpus", "more", "length"),
    [
        # held by the old release, or by nobody
        ([card(used=44000, own=44000)], {}, None),
        ([card(used=44000, own=42000)], {}, None),
        ([card()], {}, None),
        # a GB is a GiB, and the smallest GPU counts
        ([card(total=33 * 1024)], {}, None),
        ([card(total=33 * 1024), card(1, total=33 * 1024 - 1)], {}, 20000),
        # what NIM 1.x says nothing of
        ([card(total=4000, used=3000, own=3000)], {"memory_gb_per_gpu": None}, None),
        # the shorter length
        ([card(total=22 * 1024)], {}, 20000),
    ],
)
def test_low_memory_is_usable(gpus, more, length):
    choice = choose([dict(HINTED, **more)], [], Wishes(gpus=tuple(gpus)))
    assert choice["selected"]["max_model_len"] == length
    assert choice["selected"]["reasons"][0].startswith("low memory: ")


@pytest.mark.parametrize(
    ("gpus", "more", "code", "said"),
    [
        ([], {}, "memory", "who holds it is not known"),
        ([card(used=44000, own=40000)], {}, "memory", "hold 4000 MiB of GPU 0"),
        ([card(), card(1, used=9000)], {}, "memory", "hold 9000 MiB of GPU 1"),
        ([card(total=None)], {}, "memory", "how much memory GPU 0 has is not known"),
        ([card(used=None)], {}, "memory", "how much memory GPU 0 has is not known"),
        ([card(total=22 * 1024 - 1)], {}, "memory_total", "more than the 22527 MiB of GPU 0"),
        ([card(total=22 * 1024)], {"max_model_len_hint": None}, "memory_total", "more than the 22528 MiB"),
        ([card(total=22 * 1024)], {"reduced_memory_gb_per_gpu": None}, "memory_total", "more than the 22528 MiB"),
    ],
)
def test_low_memory_is_refused(gpus, more, code, said):
    choice = choose([dict(HINTED, **more)], [], Wishes(gpus=tuple(gpus)))
    assert choice["refusal"].code == f"profile_none_{code}"
    assert said in choice["refusal"].evidence
    assert said in choice["rejected"][0]["reason"]


@pytest.mark.parametrize(
    ("share", "more", "usable"),
    [
        (None, {}, False),
        (0.4, {}, True),
        # more than others leave: the share, then the requirement
        (0.6, {}, False),
        (0.4, {"memory_gb_per_gpu": 29.0, "reduced_memory_gb_per_gpu": None}, False),
        (0.4, {"memory_gb_per_gpu": None}, False),
    ],
)
def test_memory_that_others_hold_can_be_left_to_them(share, more, usable):
    gpus = (card(total=50000, used=22000, own=0),)
    few = dict({"memory_gb_per_gpu": 20.0, "max_model_len_hint": None}, **more)
    choice = choose([dict(HINTED, **few)], [], Wishes(gpus=gpus, memory_share=share))
    assert bool(choice["selected"]) == usable


def test_length_that_is_set_decides_whether_the_shorter_one_helps():
    gpus = (card(total=22 * 1024),)
    selected = choose([HINTED], [], Wishes(gpus=gpus, max_model_len=20000))["selected"]
    assert selected["max_model_len"] is None
    refusal = choose([HINTED], [], Wishes(gpus=gpus, max_model_len=20001))["refusal"]
    assert "with the 20001 tokens that are set" in refusal.evidence
    assert refusal.remedy.startswith("Set NIM_MAX_MODEL_LEN to 20000 or less, or ")


def test_what_fits_with_any_length_comes_first():
    gpus = (card(total=22 * 1024),)
    throughput = profile("vllm-bf16-tp1-pp1-throughput", "low_memory", 8, memory_gb_per_gpu=20.0)
    latency = dict(HINTED, description="vllm-bf16-tp1-pp1-latency", objective="latency")
    choice = choose([latency, throughput], [], Wishes(gpus=gpus))
    assert choice["selected"]["id"] == throughput["id"]
    assert choice["rejected"][0]["reason"].startswith("fits with 20000 tokens only; ")


def test_more_gpus_are_proposed_where_a_profile_for_them_fits():
    two = profile("vllm-bf16-tp2-pp1-17.0", "incompatible", 8)
    remedy = choose([HINTED, two], [], Wishes(gpus=(card(total=20 * 1024),)))["refusal"].remedy
    assert "Give the model 2 GPUs of this kind (for vllm-bf16-tp2-pp1-17.0)" in remedy
    assert "take GPUs with 33 GiB or more" in remedy


# -- precision and GPUs -------------------------------------------------------------------------------------------

A100 = (card(capability=(8, 0), name="NVIDIA A100-PCIE-40GB"),)
T4 = (card(capability=(7, 5), name="Tesla T4"),)


def contradicts(**wishes):
    with pytest.raises(Problem) as caught:
        choose(profiles_of(VLLM), [], Wishes(**wishes))
    assert caught.value.code == "profile_contradiction"
    return caught.value


def test_contradictions_name_the_keys():
    fp8 = contradicts(precision="fp8", gpus=A100)
    assert "fp8 needs compute capability 8.9, and GPU 0 (NVIDIA A100-PCIE-40GB) has 8.0" in fp8.what
    assert fp8.evidence == "precision: fp8"
    assert contradicts(quantization="fp8", gpus=A100).evidence == "quantization: fp8"
    assert "fp16" in contradicts(precision="bf16", gpus=T4).remedy
    assert "nvfp4 needs compute capability 10.0" in contradicts(precision="NVFP4", gpus=OWN).what
    both = contradicts(precision="bf16", quantization="fp8")
    assert both.evidence == "precision: bf16, quantization: fp8"
    count = contradicts(gpu_count=2, gpus=OWN)
    assert count.evidence == "gpu_count: 2, gpu_facts: GPU 0"
    objective = contradicts(profile="latency", objective="throughput")
    assert objective.evidence == "profile: latency, objective: throughput"
    tp2 = pin_problem("nim_1.0.txt", "vllm-fp16-tp2", gpu_count=1, handed=("0",))
    assert tp2.evidence == "profile: vllm-fp16-tp2, gpu_count: 1, gpus: [0]"


def test_quantised_weights_want_their_precision():
    assert best(VLLM, "vllm-fp8-tp1", quantization="fp8", gpus=OWN) == "vllm-fp8-tp1"
    assert best("vllm-fp8-tp1", "vllm-nvfp4-tp1", quantization="modelopt_nvfp4") == "vllm-nvfp4-tp1"
    assert refused(VLLM, quantization="fp8").code == "profile_none_precision"
    # A method that is no precision of profiles.
    assert best("vllm-fp8-tp1", VLLM, quantization="awq") == VLLM
    assert best("vllm-int4_awq-tp1", quantization="awq") == "vllm-int4_awq-tp1"
    assert "quantised by awq" in refused("vllm-fp8-tp1", quantization="awq").what


def test_weights_are_not_quantised_unasked():
    assert best("tensorrt_llm-trtllm_buildable-fp8-tp1", VLLM, precision="bf16") == VLLM
    assert best("vllm-fp8-tp1-latency", VLLM, fine_tuned=True) == VLLM
    assert best("vllm-fp8-tp1-latency", VLLM, fine_tuned=True, precision="fp8") == "vllm-fp8-tp1-latency"
    assert best("vllm-fp8-tp1-latency", VLLM) == "vllm-fp8-tp1-latency"
    refusal = refused("vllm-fp8-tp1", fine_tuned=True)
    assert "the weights are not quantised" in refusal.what
    assert "precision: fp8" in refusal.remedy


def test_gpus_that_are_too_old_for_a_profile():
    assert best("vllm-fp8-tp1-latency", "vllm-bf16-tp1", gpus=A100) == "vllm-bf16-tp1"
    refusal = refused("vllm-fp8-tp1", "vllm-nvfp4-tp1", gpus_of_host=A100)
    assert refusal.code == "profile_none_capability"
    assert "GPU 0 (NVIDIA A100-PCIE-40GB) has 8.0" in refusal.evidence
    assert refusal.source
    # One GPU that is too old is enough, and one that is not known is none.
    gpus = (card(), card(1, capability=(8, 0)), card(2, capability=None))
    assert "GPU 1" in refused("vllm-fp8-tp1", gpus_of_host=gpus).evidence
    assert refused("vllm-fp8-tp1", gpus_of_host=gpus, precision="fp8").code == "profile_none_capability"


def test_a_mix_is_told_as_such_though_one_of_the_gpus_is_too_old():
    gpus_of_host = (card(name="NVIDIA L40"), card(1, capability=(7, 5), total=4096, name="NVIDIA T600"))
    refusal = refused(f"incompatible {VLLM}", gpus=[L40, A2], gpus_of_host=gpus_of_host, precision="bf16", gpu_count=2)
    assert refusal.code == "profile_none_gpu_mix"
    assert "e.g. gpus: [0]" in refusal.remedy


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


def test_mix_of_gpus_is_told_from_what_the_host_knows():
    small, big = card(2, total=4096, name="NVIDIA T600"), card(5, total=49140, name="NVIDIA L40")

    def remedy(*handed):
        return refused(f"incompatible {VLLM}", gpus=[A2, L40], gpus_of_host=(small, big), handed=handed).remedy

    assert "e.g. gpus: [5]. There are: NVIDIA L40 (gpus: [5]) or NVIDIA T600 (gpus: [2])" in remedy("2", "5")
    assert "e.g. gpus: [GPU-00000005]" in remedy("GPU-00000002", "GPU-00000005")


def test_memory_not_free():
    listing = read("nim_2_low_memory.txt")
    refusal = choose(listing["profiles"], listing["gpus"], Wishes())["refusal"]
    assert refusal.code == "profile_none_memory"
    assert "memory in use: 10 %" in refusal.evidence
    assert "(needs 33 GB a GPU, 27 GB with --max-model-len=81152)" in refusal.evidence
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


def test_too_few_gpus_for_those_made_for_this_gpu():
    named = (
        "incompatible tensorrt_llm-l40s-bf16-tp8-pp1-latency",
        "incompatible tensorrt_llm-h100-bf16-tp1-pp1-latency",
    )
    refusal = refused(*named, gpus=[gpu(0)])
    assert refusal.code == "profile_none_gpu_count"
    assert "need 8 or more, and 1 were handed over" in refusal.what


def test_too_old_gpus_and_a_length_that_is_set_are_said():
    refusal = refused(f"incompatible {VLLM}", gpus=[gpu(0)], gpus_of_host=T4, max_model_len=400000)
    assert "bf16 needs compute capability 8.0, and GPU 0 (Tesla T4) has 7.5" in refusal.evidence
    assert "NIM_MAX_MODEL_LEN: 400000" in refusal.evidence
    assert "leave out NIM_MAX_MODEL_LEN" in refusal.remedy


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
hints = st.sampled_from([(None, None, None), (33.0, None, None), (33.0, 19.0, 8192), (60.0, 40.0, 8192)])
KEYS = ("memory_gb_per_gpu", "reduced_memory_gb_per_gpu", "max_model_len_hint")
lists_of_profiles = st.lists(st.tuples(descriptions, groups, hints), max_size=12).map(
    lambda made: [
        profile(text, group, number, dict(zip(KEYS, hint))) for number, (text, group, hint) in enumerate(made)
    ]
)
some_wishes = st.builds(
    Wishes,
    profile=st.sampled_from(["auto", "latency", "throughput"]),
    precision=st.sampled_from([None, "bf16", "fp8"]),
    lora=st.booleans(),
    engine_name=st.sampled_from([None, "heron-1"]),
    fine_tuned=st.booleans(),
    max_model_len=st.sampled_from([None, 4096, 10**6]),
    gpus=st.sampled_from(
        [(), OWN, (card(used=9000),), (card(total=20000),), (card(total=None),), (card(), card(1)), (OWN[0], card(1))]
    ),
).flatmap(
    lambda wishes: st.sampled_from([None, len(wishes.gpus)] if wishes.gpus else [None, 1, 2, 4]).map(
        lambda count: replace(wishes, gpu_count=count)
    )
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
    assert selected["group"] != "low_memory" or wishes.gpus
    assert selected["max_model_len"] is None or selected["max_model_len"] == selected["max_model_len_hint"]
    assert selected["max_model_len"] is None or wishes.max_model_len is None
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


@given(lists_of_profiles, st.lists(descriptions, max_size=4), some_wishes, st.data())
def test_incompatible_profiles_do_not_change_the_choice(profiles, more, wishes, data):
    selected = choose(profiles, [], wishes)["selected"]
    for number, description in enumerate(more, 100):
        place = data.draw(st.integers(0, len(profiles)))
        profiles = [*profiles[:place], profile(description, "incompatible", number), *profiles[place:]]
    again = choose(profiles, [], wishes)["selected"]
    assert selected == again


@given(lists_of_profiles, some_wishes)
def test_the_choice_is_the_same_while_the_old_release_serves(profiles, wishes):
    gone = replace(wishes, gpu_count=1, gpus=(card(total=200_000),))
    serving = replace(gone, gpus=(card(total=200_000, used=180_000, own=180_000),))
    after = choose(profiles, [], gone)["selected"]
    held = [dict(one, group="low_memory") if one["group"] == "runnable" else one for one in profiles]
    before = choose(held, [], serving)["selected"]
    assert (before and before["id"]) == (after and after["id"])


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
