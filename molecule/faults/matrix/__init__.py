"""The fault matrix: how the lab is broken, what must be said of it, how it is mended. In the order of the way."""

from __future__ import annotations

from .activate import ACTIVATE
from .observe import OBSERVE
from .resolve import RESOLVE
from .serve import SERVE
from .stage import STAGE

STEPS = (RESOLVE, OBSERVE, SERVE, STAGE, ACTIVATE)
