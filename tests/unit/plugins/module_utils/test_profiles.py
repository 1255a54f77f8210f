# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""The parser over one listing a dialect, over what breaks listings, and over published ones where they are at hand."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

import pytest

from ansible_collections.llmops.nim.plugins.module_utils._problem import Problem
from ansible_collections.llmops.nim.plugins.module_utils._profile_choice import choose
from ansible_collections.llmops.nim.plugins.module_utils._profile_wishes import Wishes
from ansible_collections.llmops.nim.plugins.module_utils._profiles import parse_listing

FIXTURES = Path(__file__).parents[2] / "fixtures" / "profiles"
REPOSITORY = Path(__file__).parents[4]
PUBLISHED = Path(os.environ.get("NIM_PUBLISHED_PROFILES") or REPOSITORY.parent / "shared" / "nim" / "profiles")

ID = "ab" * 32
OTHER_ID = "cd" * 32


def read(name):
    return parse_listing((FIXTURES / name).read_bytes().decode("utf-8"))


def counts(listing):
    """e.g. C({"runnable": 4, "runnable lora": 2})."""
    return dict(Counter(p["group"] + " lora" * p["lora"] for p in listing["profiles"]))


def problem_of(text):
    with pytest.raises(Problem) as caught:
        parse_listing(text)
    problem = caught.value
    assert problem.what
    assert problem.remedy
    return problem


# name, version, GPUs as (index, free, % in use), profiles by group
DIALECTS = [
    (
        "nim_1.0.txt",
        "1.0.3",
        [(0, True, 1), (1, True, 0), (2, False, 41)],
        {"runnable": 4, "runnable lora": 2, "incompatible": 1, "incompatible lora": 1},
    ),
    (
        "nim_1.0_low_memory.txt",
        None,
        [(0, False, 62)],
        {"low_memory": 1, "low_memory lora": 1, "incompatible": 2},
    ),
    ("nim_1.0_vlm.txt", None, [(0, True, 0)], {"runnable": 1, "incompatible": 1}),
    ("nim_1.2_json_log.txt", "1.2.1", [(0, True, 0)], {"runnable": 1, "runnable lora": 1, "incompatible": 1}),
    (
        "nim_1.3_buildable.txt",
        "1.3.2",
        [(0, True, 0), (1, True, 0)],
        {"runnable": 1, "compilable": 1, "compilable lora": 1, "incompatible": 2},
    ),
    ("nim_1.3_cached_engine_markdown.txt", "1.3.3", [(0, True, 0), (1, True, 0)], {"runnable": 2, "compilable": 1}),
    ("nim_1.8_gpu_mix.txt", "1.8.6", [(0, True, 0), (1, True, 0)], {"incompatible": 9, "incompatible lora": 9}),
    (
        "nim_1.8_h100.txt",
        "1.8.6",
        [(0, True, 0)],
        {"runnable": 4, "runnable lora": 1, "compilable": 1, "compilable lora": 1, "incompatible": 2},
    ),
    ("nim_1.12_hash_tails.txt", None, [], {"runnable": 2, "runnable lora": 2, "incompatible": 3}),
    ("nim_1.12_multi_llm.txt", "1.12.0", [(0, True, 0)], {"runnable": 3}),
    ("nim_1.13_compose.txt", "1.13.1", [(0, True, 0)], {"runnable": 3, "incompatible": 1}),
    ("nim_1.15_pytorch.txt", "1.15.1", [(0, True, 3), (1, True, 3)], {"runnable": 3, "incompatible": 1}),
    ("nim_2_runnable.txt", "2.0.6", [(0, True, None)], {"runnable": 2, "runnable lora": 1, "incompatible": 1}),
    ("nim_2_low_memory.txt", "2.0.12", [(0, False, 10)], {"low_memory": 3, "low_memory lora": 1}),
    ("nim_2_model_free.txt", "2.0.2", [(0, True, 0)], {"runnable": 1, "runnable lora": 1, "incompatible": 1}),
    (
        "nim_2_documents_no_indent.txt",
        None,
        [],
        {"runnable": 1, "runnable lora": 1, "low_memory": 1, "incompatible": 1},
    ),
]


@pytest.mark.parametrize(("name", "version", "gpus", "groups"), DIALECTS, ids=[row[0] for row in DIALECTS])
def test_dialect(name, version, gpus, groups):
    listing = read(name)
    assert listing["nim"]["version"] == version
    assert [(gpu["index"], gpu["free"], gpu["utilization_percent"]) for gpu in listing["gpus"]] == gpus
    assert counts(listing) == groups
    assert all(len(profile["id"]) == 64 and profile["description"] for profile in listing["profiles"])


def test_every_fixture_of_a_nim_for_llms_is_in_the_table():
    assert sorted(path.name for path in FIXTURES.glob("nim_*")) == sorted(row[0] for row in DIALECTS)


def test_gpu_with_family():
    assert read("nim_1.0.txt")["gpus"][2] == {
        "index": 2,
        "name": "NVIDIA A100-SXM4-80GB",
        "family": "A100 80GB",
        "pci_id": "20b2:10de",
        "free": False,
        "utilization_percent": 41,
    }


def test_gpu_line_without_a_blank_before_the_bracket():
    assert [gpu["name"] for gpu in read("nim_1.8_gpu_mix.txt")["gpus"]] == ["NVIDIA L40", "NVIDIA A2"]


def test_model_of_the_banner():
    assert read("nim_1.3_buildable.txt")["nim"] == {"version": "1.3.2", "model": "acme/heron-70b-instruct"}
    assert read("nim_2_runnable.txt")["nim"] == {"version": "2.0.6", "model": None}


def test_cached_engine_of_any_text_comes_first_and_says_nothing():
    engine = read("nim_1.3_cached_engine_markdown.txt")["profiles"][0]
    assert engine["description"] == "our heron (v2) [final]"
    assert engine["group"] == "runnable"
    assert engine["lora"] is False
    unsaid = ("engine", "buildable", "gpu", "precision", "tensor_parallel", "pipeline_parallel", "objective")
    assert [engine[key] for key in unsaid] == [None] * 7


def test_memory_hints():
    def hints(name):
        keys = ("memory_gb_per_gpu", "max_model_len_hint", "reduced_memory_gb_per_gpu")
        return [tuple(profile[key] for key in keys) for profile in read(name)["profiles"]]

    assert hints("nim_2_low_memory.txt") == [
        (27.0, 131072, None),
        (28.0, 128000, 27.0),
        (33.0, 81152, 27.0),
        (24.0, None, None),
    ]
    assert [memory for memory, _length, _reduced in hints("nim_2_runnable.txt")] == [27.0, 33.0, 33.5, 8.0]
    assert hints("nim_2_model_free.txt")[2] == (18.0, None, None)  # per 2 GPUs
    assert hints("nim_2_documents_no_indent.txt")[2] == (45.0, 4096, 30.0)  # the hint is folded onto two lines
    assert hints("nim_1.8_h100.txt")[0] == (None, None, None)


def test_compilable_is_buildable():
    profiles = read("nim_1.3_buildable.txt")["profiles"]
    assert [profile["buildable"] for profile in profiles] == [False, True, True, False, False]


def test_shortened_listing_is_read_and_said():
    listing = parse_listing(f"MODEL PROFILES\n- Incompatible with system:\n  - {ID} (vllm-bf16-tp2)\n  ...\n")
    assert len(listing["profiles"]) == 1
    assert listing["notes"] == [
        "The listing was shortened by whoever saved it: the group incompatible may lack some (line 4: ...)."
    ]


@pytest.mark.parametrize("line", ["- ...", "... (12 more)", "  …", "[... and so on ...]", "- … and 12 more"])
def test_every_form_of_a_shortened_listing_is_said(line):
    notes = parse_listing(f"MODEL PROFILES\n- Incompatible with system:\n  - {ID} (vllm)\n{line}\n")["notes"]
    assert len(notes) == 1
    assert "line 4" in notes[0]


def test_the_last_heading_may_say_none_without_a_colon():
    text = f"MODEL PROFILES\n- Compatible with system and runnable:\n  - {ID} (vllm)\n- Compilable to TRT-LLM <None>"
    assert len(parse_listing(text)["profiles"]) == 1


def test_cached_engine_called_like_a_profile_of_another_family():
    text = f"MODEL PROFILES\n- Compatible with system and runnable:\n- {ID} (type=mine)\n- {OTHER_ID} (vllm)\n"
    assert [profile["description"] for profile in parse_listing(text)["profiles"]] == ["type=mine", "vllm"]


def test_whole_listing_has_no_notes():
    assert read("nim_1.0.txt")["notes"] == []


def test_missing_incompatible_group_is_said():
    notes = parse_listing(f"MODEL PROFILES\n- Compatible with system and runnable:\n  - {ID} (vllm)\n")["notes"]
    assert len(notes) == 1
    assert "no group of incompatible profiles" in notes[0]


def test_ids_are_lower_case():
    text = f"MODEL PROFILES\n- Incompatible with system:\n  - {ID.upper()} (vllm)\n"
    assert parse_listing(text)["profiles"][0]["id"] == ID


def test_lines_behind_a_progress_bar():
    text = f"MODEL PROFILES\nDownloading 100%\r- Incompatible with system:\r  - {ID} (vllm)\n"
    assert len(parse_listing(text)["profiles"]) == 1


def test_entries_that_lost_their_bullets():
    text = f"MODEL PROFILES\nIncompatible with system:\n{ID} (vllm)\n"
    assert len(parse_listing(text)["profiles"]) == 1
    assert problem_of(f"{text}{OTHER_ID} vllm\n{'ef' * 32} (vllm)\n").code == "listing_malformed"


def test_the_last_system_info_counts():
    gpu = "- Free GPUs:\n  -  [26b9:10de] ({}) NVIDIA L40S [current utilization: 0%]\n"
    text = f"SYSTEM INFO\n{gpu.format(0)}SYSTEM INFO\n{gpu.format(1)}MODEL PROFILES\n- Incompatible with system:\n"
    assert [gpu["index"] for gpu in parse_listing(text)["gpus"]] == [1]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("> ", ""),
        ("nim-llm-1  | ", ""),
        ("[pod/nim-0/nim] ", ""),
        ("Nov  3 13:00:00 gpu1 docker[812]: ", ""),
        ("2026-05-22T09:03:42.752024Z ", ""),
        ("\x1b[1m", "\x1b[0m"),
        ("\t\t", "   "),
        ("\ufeff", "\r"),
    ],
)
def test_what_others_put_around_the_lines(before, after):
    text = (FIXTURES / "nim_1.0.txt").read_text(encoding="utf-8")
    wrapped = "\n".join(f"{before}{line}{after}" for line in text.split("\n"))
    assert parse_listing(wrapped) == parse_listing(text)


# -- what is not a whole listing ----------------------------------------------------------------------------------

HEAD = "SYSTEM INFO\n- Free GPUs: <None>\n"
START = HEAD + "MODEL PROFILES\n- Compatible with system and runnable:\n"


@pytest.mark.parametrize("text", ["", "\n \n\t\n", "\x1b[0m\n"])
def test_empty(text):
    assert problem_of(text).code == "listing_empty"


@pytest.mark.parametrize(
    ("text", "quoted"),
    [
        (HEAD, "line 2: - Free GPUs: <None>"),
        ("NVIDIA Inference Microservice LLM NIM Version 1.8.4\nModel: acme/wren\n", "line 2: Model: acme/wren"),
        (HEAD + "MODEL PROFILES\n", "nothing follows"),
        (START, "line 4: - Compatible with system and runnable:"),
        (START + f"  - {ID[:40]}", f"line 5: - {ID[:40]}"),
        (START + f"  - {ID}", f"line 5: - {ID}"),
        (START + f"  - {ID} (vllm-fp16-t", "line 5: "),
        (START + f"  - {ID} (vllm-fp16-tp1) [requires >=33 GB/gpu, try", "line 5: "),
        (START + f"  - {ID} (vllm)\n- Compatible with sys", "line 6: - Compatible with sys"),
        (START + f"  - {ID} (vllm)\n- Incompa\nrc=0\n", "line 6: - Incompa"),
        (START + f"  - {ID} (vllm)\n  - With LoRA su", "line 6: - With LoRA su"),
        (START + f"  - {ID} (vllm)\n  -", "line 6: -"),
        (START + f"  - {ID} (vllm)\n- Compilable to TRT-LLM using just-in", "line 6: - Compilable"),
    ],
)
def test_cut(text, quoted):
    problem = problem_of(text)
    assert problem.code == "listing_cut"
    assert quoted in problem.evidence


def test_every_cut_of_a_listing_is_an_error_or_a_shorter_list():
    """Never other profiles than those of the whole, whichever character the listing ends at."""
    for name in ("nim_1.8_h100.txt", "nim_2_low_memory.txt"):
        text = (FIXTURES / name).read_text(encoding="utf-8")
        whole = [profile["id"] for profile in parse_listing(text)["profiles"]]
        for end in range(len(text)):
            try:
                part = parse_listing(text[:end])
            except Problem:
                continue
            found = [profile["id"] for profile in part["profiles"]]
            assert found == whole[: len(found)]
            assert part["notes"] or len(found) >= len(whole) - 2  # inside the last group a cut cannot be told


@pytest.mark.parametrize("shortened", [f"{ID[:8]}...", f"{ID[:8]}…", f"{ID[:5]}..."])
def test_shortened_ids_are_malformed_lines(shortened):
    problem = problem_of(START + f"  - {shortened} (vllm-tp1-pp1-...) [requires >=18 GB/gpu]\n  - {ID} (vllm)\n")
    assert problem.code == "listing_malformed"
    assert problem.what == "1 malformed line in the listing of model profiles: ids are shortened."
    assert problem.evidence == f"line 5: - {shortened} (vllm-tp1-pp1-...) [requires >=18 GB/gpu]"


def test_all_malformed_lines_are_named():
    bad = f"  - {ID[:63]} (vllm)\n  - {ID} vllm\n  - {OTHER_ID}0 (vllm)\n"
    problem = problem_of(START + bad + f"  - {OTHER_ID} (vllm)\n")
    assert problem.code == "listing_malformed"
    assert [line.split(":")[0] for line in problem.evidence.split("\n")] == ["line 5", "line 6", "line 7"]


def test_entry_before_any_group():
    problem = problem_of(f"MODEL PROFILES\n  - {ID} (vllm)\n- Incompatible with system:\n")
    assert problem.code == "listing_malformed"
    assert f"line 2: - {ID} (vllm)" in problem.evidence


@pytest.mark.parametrize(
    ("text", "quoted"),
    [
        ("hello\nworld\n", "line 1: hello"),
        (START + "  - a profile of tomorrow\n" + f"  - {ID} (vllm)\n", "line 5: - a profile of tomorrow"),
        (START + f"  - {ID} (vllm)\n- Runnable after dinner: <None>\n", "line 6: - Runnable after dinner: <None>"),
        ("SYSTEM INFO\n- Sleeping GPUs:\nMODEL PROFILES\n", "line 2: - Sleeping GPUs:"),
        ("SYSTEM INFO\n- Free GPUs:\n  - GPU 0: A100\nMODEL PROFILES\n", "line 3: - GPU 0: A100"),
    ],
)
def test_unknown_dialect_quotes_the_line(text, quoted):
    problem = problem_of(text)
    assert problem.code == "listing_unknown_dialect"
    assert quoted in problem.evidence


def test_log_of_a_failed_start_is_told_from_a_listing():
    log = "ERROR utils.py:21] Could not find a profile that is currently runnable with the detected hardware.\n" + HEAD
    problem = problem_of(log)
    assert "log of a NIM that did not start" in problem.what


@pytest.mark.parametrize(
    ("name", "family"),
    [
        ("other_riva_pipes.txt", "speech NIM"),
        ("other_riva_dict.txt", "speech NIM"),
        ("other_embedding.txt", "Triton NIM (embedding"),
        ("other_genmol.txt", "GenMol"),
        ("other_visual.txt", "another kind of NIM"),
    ],
)
def test_other_families_are_refused_by_name(name, family):
    problem = problem_of((FIXTURES / name).read_text(encoding="utf-8"))
    assert problem.code == "listing_other_family"
    assert family in problem.what
    assert problem.evidence.startswith("line ")


def test_duplicate_id_quotes_both_lines():
    problem = problem_of(START + f"  - {ID} (vllm)\n- Incompatible with system:\n  - {ID.upper()} (vllm-bf16-tp2)\n")
    assert problem.code == "listing_duplicate_id"
    assert "line 5: " in problem.evidence
    assert "line 7: " in problem.evidence


def test_two_listings():
    assert problem_of(START + f"  - {ID} (vllm)\n" + START).code == "listing_several"


def test_listing_that_goes_on_after_the_fence():
    text = f"```\n{START}  - {ID} (vllm)\n```\n  - {OTHER_ID} (sglang)\n"
    problem = problem_of(text)
    assert problem.code == "listing_malformed"
    assert f"line 8: - {OTHER_ID} (sglang)" in problem.evidence


TRACE = 'Traceback (most recent call last):\n  File "/opt/x.py", line 1, in <module>\nRuntimeError: no manifest\n'


@pytest.mark.parametrize("text", [TRACE, HEAD + TRACE, START + f"  - {ID} (vllm)\n" + TRACE])
def test_traceback(text):
    problem = problem_of(text)
    assert problem.code == "listing_traceback"
    assert "RuntimeError: no manifest" in problem.evidence


def test_traceback_in_a_json_log_line():
    text = '{"level": "ERROR", "message": "", "exc_info": "Traceback (most recent call last):\\nValueError: x"}\n'
    problem = problem_of(text)
    assert problem.code == "listing_traceback"
    assert "ValueError: x" in problem.evidence


def test_traceback_before_a_whole_listing_is_noise():
    text = TRACE + START + f"  - {ID} (vllm)\n- Incompatible with system:\n"
    assert len(parse_listing(text)["profiles"]) == 1


def test_long_lines_are_quoted_in_part():
    problem = problem_of(START + f"  - {'x' * 5000}\n")
    assert len(problem.evidence) < 300


def test_hostile_lines_take_no_time():
    for line in ("- " + "(" * 100_000, "- " + ID + " (" + "a" * 100_000, "- [26b9:10de] (0) a" + " " * 100_000 + "b"):
        assert parse_listing(f"{START}  - {ID} (vllm)\n{line}\n- Incompatible with system:\n")["profiles"]


# -- published listings, where they are at hand -------------------------------------------------------------------

# What the files are by their notes: other families, ids shortened by the publisher, ended before the profiles.
REFUSED = {
    "15": "listing_other_family",
    "26": "listing_other_family",
    "23": "listing_malformed",
    "24": "listing_cut",
}


def published():
    return sorted(PUBLISHED.glob("*.txt")) if PUBLISHED.is_dir() else []


@pytest.mark.parametrize("path", published(), ids=lambda path: path.name)
def test_published(path):
    text = path.read_text(encoding="utf-8")
    expected = REFUSED.get(path.name[:2])
    if expected:
        assert problem_of(text).code == expected
        return
    try:
        listing = parse_listing(text)
    except Problem as problem:
        # Files that came later may be of other families as well; anything else has to be read.
        if problem.code != "listing_other_family":
            raise
        return
    # Every line that looks like an entry after the heading became one, and no other.
    after = text.split("MODEL PROFILES", 1)[1]
    assert len(listing["profiles"]) == sum(1 for line in after.split("\n") if len(line) > 66 and "(" in line)
    # All names but those of cached engines are understood.
    unsaid = [profile["description"] for profile in listing["profiles"] if not profile["engine"] and not profile["gpu"]]
    assert unsaid in ([], ["70b-trt-engine"])
    # And all of them are chosen or have a reason, for each kind of wish.
    for wishes in (Wishes(), Wishes(fine_tuned=True, precision="bf16", gpu_count=1), Wishes(lora=True)):
        choice = choose(listing["profiles"], listing["gpus"], wishes)
        assert bool(choice["selected"]) + len(choice["rejected"]) == len(listing["profiles"])
        assert bool(choice["selected"]) != bool(choice["refusal"])
        assert all(one["reason"] for one in choice["rejected"])


def test_published_mix_of_gpus():
    for path in PUBLISHED.glob("05_*"):
        listing = parse_listing(path.read_text(encoding="utf-8"))
        refusal = choose(listing["profiles"], listing["gpus"], Wishes(gpu_count=2, handed=("0", "1")))["refusal"]
        assert refusal.code == "profile_none_gpu_mix"
        assert "e.g. gpus: [0]" in refusal.remedy
