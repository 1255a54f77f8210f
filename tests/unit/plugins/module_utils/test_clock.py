# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

from datetime import datetime, timezone

import pytest

from ansible_collections.llmops.nim.plugins.module_utils import _clock


@pytest.mark.parametrize(
    ("seconds", "text"), [(None, "-"), (0, "0s"), (59, "59s"), (60, "1m 0s"), (3725, "1h 2m"), (93784, "1d 2h")]
)
def test_an_age_has_two_units(seconds, text):
    assert _clock.age(seconds) == text


def test_seconds_since():
    noon = datetime(2026, 1, 31, 12, tzinfo=timezone.utc)
    assert _clock.seconds_since("2026-01-31T11:58:30Z", noon) == 90
    assert _clock.seconds_since("2026-01-31T11:58:30.116257505Z", noon) == 90
    assert _clock.seconds_since("2026-01-31T12:00:01Z", noon) == 0
    assert _clock.seconds_since("0001-01-01T00:00:00Z", noon) > 10**10
    assert _clock.seconds_since(None, noon) is None
    assert _clock.seconds_since("yesterday", noon) is None


def test_now_is_written_as_it_is_read():
    assert _clock.seconds_since(_clock.now(), datetime.now(timezone.utc)) < 60
