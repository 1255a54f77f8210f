# Copyright: the llmops.nim authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""What a signature of a failure is; the signatures themselves are data, in C(_signatures_*.py).

Private to the collection: breaking changes at any time.
"""

from __future__ import annotations

from typing import NamedTuple

# How much a match says: a cause; what may come of a cause or pass by itself; what only says that there was a cause.
CAUSE, HINT, WRAPPER = range(3)


class Signature(NamedTuple):
    """How a failure shows in a text, and what it means.

    code: a stable word for programs. phase: when it happens, C(docker), C(pull), C(weights), C(start), C(build),
    C(load), C(request).
    pattern: a regular expression, in which a blank stands for any white space, a line's end included, and the case of
    letters does not count.
    cause: one sentence. remedy: in the imperative. Both may name groups of the pattern in braces.
    source: who says so. weight: CAUSE, HINT or WRAPPER.
    ends: a service that says so will not become ready, also where it goes on running.
    given, unless: patterns; it counts only where the one is in the text as well, and the other is not.
    """

    code: str
    phase: str
    pattern: str
    cause: str
    remedy: str
    source: str
    weight: int = CAUSE
    ends: bool = False
    given: str = ""
    unless: str = ""
