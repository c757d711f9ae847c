"""What tests of sandboxes on this machine share."""

from __future__ import annotations

import pytest

from actloop.executors import guest_clock, guest_session


@pytest.fixture
def ample_grace(monkeypatch: pytest.MonkeyPatch) -> None:
    """Seconds instead of milliseconds for a program to end by itself once its time is up.

    For tests in which the session must live on: on a busy machine, an interrupt may take longer than the real grace to
    be seen. `contract/test_limits.py` ends programs with the real one, and accepts that the session lives or is lost.
    """
    for module in (guest_clock, guest_session):
        monkeypatch.setattr(module, "GRACE", 20.0)
