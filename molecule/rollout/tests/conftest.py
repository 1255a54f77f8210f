"""The load under which the cases of this scenario happen."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "shared"))

import fleet
from load import Load

from lab import API_KEY


@pytest.fixture
def load():
    """Clients that ask through the gateway all the while; nothing of theirs may get lost."""
    with Load(fleet.GATEWAY, api_key=API_KEY) as running:
        yield running
    assert not running.lost, running.lost[:5]


@pytest.fixture
def load_with_losses():
    """The same where a server or its container is killed: what it was answering is lost, and nothing more."""
    with Load(fleet.GATEWAY, api_key=API_KEY) as running:
        yield running
    assert len(running.lost) <= running.workers, running.lost[-5:]
