# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""How long a seed goes on."""

from __future__ import annotations

import types

import pytest

from ansible_collections.llmops.nim.plugins.module_utils import _snapshot, _swarm, _swarm_seed

PATIENCE = 60
NOTHING = types.SimpleNamespace(look=dict)


@pytest.fixture
def clock(monkeypatch):
    """The time as it is to be, in seconds: now."""
    found = types.SimpleNamespace(now=1000.0)
    monkeypatch.setattr(_swarm_seed.time, "monotonic", lambda: found.now)
    return found


@pytest.fixture
def feed():
    """What is offered to hosts that ask all the time: asked is always now."""

    class Feed:
        whole, manifest = False, None
        asked = property(lambda _self: _swarm_seed.time.monotonic())

    return Feed()


@pytest.fixture
def place(tmp_path):
    return _snapshot.place(str(tmp_path), "lab/model", "5" * 40)


@pytest.fixture
def seed(place, clock, feed, tmp_path):
    """A seed of a snapshot that is not there."""
    return _swarm_seed.Seed(str(tmp_path / "parcel"), place, NOTHING, feed)


def after(seed, clock, seconds):
    """Whether the seed is over seconds later."""
    clock.now += seconds
    seed.step()
    return seed.is_over(PATIENCE)


def test_it_waits_for_a_fetch_to_begin_and_not_for_ever(seed, clock):
    assert not after(seed, clock, PATIENCE * _swarm.FIRST - 1)
    assert after(seed, clock, 2)


def test_it_goes_on_while_somebody_fetches(seed, clock, place):
    with _snapshot.locked(place.lock, 0):
        assert not after(seed, clock, PATIENCE * _swarm.FIRST + 1)
    assert not after(seed, clock, PATIENCE * _swarm.FIRST - 1)
    assert after(seed, clock, 2)


def test_it_hands_on_what_is_whole_as_long_as_it_is_asked(seed, clock, feed):
    feed.whole = True
    assert not after(seed, clock, 10 * PATIENCE * _swarm.FIRST)
