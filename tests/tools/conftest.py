"""Settings of hypothesis: no deadline, since the machine that runs the tests may be busy."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("actloop", deadline=None)
settings.load_profile("actloop")
