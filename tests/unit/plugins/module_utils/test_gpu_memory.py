# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.llmops.nim.plugins.module_utils import _gpu_memory

OUTER, A, B, OTHER = (letter * 64 for letter in "0abf")


def gpu(used, *processes, uuid="GPU-1"):
    """processes: (pid, MiB) each."""
    named = [{"pid": pid, "name": "python3", "used_memory_mib": mib} for pid, mib in processes]
    return {"uuid": uuid, "memory_used_mib": used, "processes": named}


def release(container, *gpus, running=True):
    return {"id": container, "running": running, "gpus": list(gpus or ["GPU-1"])}


def held(gpus, releases, **container_of_pid):
    """memory_mib of each release; container_of_pid as p7=A."""
    owners = {int(pid[1:]): container for pid, container in container_of_pid.items()}
    return [one["memory_mib"] for one in _gpu_memory.attribute(gpus, releases, owners)]


@pytest.mark.parametrize(
    ("text", "container"),
    [
        (f"9:name=systemd:/docker/{A}\n8:pids:/docker/{A}\n", A),  # v1, cgroupfs
        (f"1:name=systemd:/system.slice/docker-{A}.scope\n0::/\n", A),  # v1, systemd
        (f"0::/docker/{A}\n", A),  # v2, cgroupfs
        (f"0::/system.slice/docker-{A}.scope\n", A),  # v2, systemd
        (f"0::/../{A}\n", A),  # v2, seen from a namespace of its own
        (f"4:memory:/docker/{OUTER}/docker/{B}\n", B),  # an Engine in a container
        (f"0::/docker/{A}/docker/{OTHER}\n", A),  # a container in ours
        (f"0::/docker/{OTHER}\n", None),
        (f"0::/docker/{A}{A}\n", None),
        ("0::/user.slice/user-1000.slice/session-3.scope\n", None),
    ],
)
def test_the_container_of_a_process(tmp_path, text, container):
    (tmp_path / "7").mkdir()
    (tmp_path / "7" / "cgroup").write_text(text)
    assert _gpu_memory.containers_of({7, 8}, {A, B}, str(tmp_path)) == {7: container}


def test_what_processes_hold_is_their_release_s():
    host = [gpu(9000, (1, 5000), (2, 1000), (3, 2000), (4, 900))]
    owners = {"p1": A, "p2": A, "p3": B, "p4": None}
    assert held(host, [release(A), release(B)], **owners) == [{"GPU-1": 6000}, {"GPU-1": 2000}]


def test_a_release_that_is_not_seen_where_others_are_holds_nothing():
    assert held([gpu(5000, (1, 4900))], [release(A), release(B)], p1=A) == [{"GPU-1": 4900}, {"GPU-1": 0}]


def test_a_release_is_told_where_it_is_seen_though_not_given():
    host = [gpu(0), gpu(300, (1, 250), uuid="GPU-2")]
    assert held(host, [release(A, "GPU-1")], p1=A) == [{"GPU-1": 0, "GPU-2": 250}]


@pytest.mark.parametrize(
    ("one", "owners"),
    [
        (gpu(8000), {}),  # none is named
        (gpu(8000, (1, None)), {"p1": A}),  # N/A
        (gpu(8000, (1, 7000)), {}),  # a pid of another namespace
        (gpu(8000, (None, 7000)), {}),
        (gpu(8000, (1, 9000)), {"p1": A}),  # more than is in use
    ],
)
def test_where_holders_are_not_named_one_release_has_all_and_of_several_nobody_knows(one, owners):
    assert held([one], [release(A)], **owners) == [{"GPU-1": 8000}]
    assert held([one], [release(A), release(B)], **owners) == [{"GPU-1": None}, {"GPU-1": None}]
    # Stopped, or on another GPU: it does not count.
    others = [release(A), release(B, running=False), release(OTHER, "GPU-2")]
    assert held([one], others, **owners) == [{"GPU-1": 8000}, {}, {}]


def test_on_an_idle_gpu_nobody_holds_anything():
    assert held([gpu(0)], [release(A), release(B)]) == [{"GPU-1": 0}, {"GPU-1": 0}]


def test_what_is_named_as_another_s_is_not_the_release_s():
    assert held([gpu(8000, (1, 3000), (2, None))], [release(A)], p1=None, p2=A) == [{"GPU-1": 5000}]


def test_a_gpu_that_does_not_say_how_much_is_in_use():
    assert held([gpu(None, (1, 700))], [release(A)], p1=A) == [{"GPU-1": 700}]
    assert held([gpu(None)], [release(A)]) == [{"GPU-1": None}]
    assert held([gpu(8000, uuid=None)], [release(A)]) == [{}]


def test_the_rest_of_a_release_stays_as_it_is():
    (found,) = _gpu_memory.attribute([], [dict(release(A), model="a")], {})
    assert found == dict(release(A), model="a", memory_mib={})


def test_pids():
    assert _gpu_memory.processes([gpu(1, (7, 1), (None, 1)), gpu(1, (8, None))]) == {7, 8}


MIB = st.none() | st.integers(0, 1000)
PIDS = st.integers(1, 6)
UUIDS = ["GPU-1", "GPU-2"]
GPUS = st.tuples(
    *(
        st.builds(
            lambda used, named, uuid=uuid: gpu(used, *named, uuid=uuid),
            MIB,
            st.lists(st.tuples(st.none() | PIDS, MIB), max_size=4),
        )
        for uuid in UUIDS
    )
)
RELEASES = st.lists(
    st.builds(
        lambda container, gpus, running: dict(release(container, running=running), gpus=gpus),
        st.sampled_from([A, B, OTHER]),
        st.lists(st.sampled_from(UUIDS), unique=True),
        st.booleans(),
    ),
    unique_by=lambda one: one["id"],
)


@given(GPUS, RELEASES, st.dictionaries(PIDS, st.sampled_from([None, A, B, OTHER, OUTER])))
def test_never_more_than_is_in_use_and_no_matter_the_order(host, releases, owners):
    found = _gpu_memory.attribute(host, releases, owners)
    for one in host:
        shares = [release["memory_mib"].get(one["uuid"]) or 0 for release in found]
        assert min(shares, default=0) >= 0
        if one["memory_used_mib"] is not None:
            assert sum(shares) <= one["memory_used_mib"]
    for one in found:
        assert set(one["memory_mib"]) >= set(one["gpus"]) if one["running"] else one["memory_mib"] == {}
    backwards = _gpu_memory.attribute(host[::-1], releases[::-1], owners)
    assert backwards[::-1] == found
