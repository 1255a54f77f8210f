# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

from datetime import datetime, timezone

import pytest

from ansible_collections.llmops.nim.plugins.module_utils._container import age

NOW = datetime(2026, 1, 2, 3, 4, 10, tzinfo=timezone.utc)


@pytest.mark.parametrize(
    ("started", "seconds"),
    [
        ("2026-01-02T03:04:05Z", 5),
        ("2026-01-02T03:04:05.25Z", 4.75),
        ("2026-01-02T03:04:05.123456789Z", 4.876543211),
        ("2026-01-01T03:04:10Z", 86400),
    ],
)
def test_age(started, seconds):
    assert age(started, NOW) == pytest.approx(seconds)
