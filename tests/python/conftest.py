"""The fixtures of these tests; `harness.py` holds them, for other folders too."""

import pytest

from harness import *  # noqa: F403

# Faults that are known and not mended yet: each test says what ought to hold. Mend the fault, then take its line away.
KNOWN_FAULTS = {
}


def pytest_collection_modifyitems(items):
    for item in items:
        reason = KNOWN_FAULTS.get(item.name) or KNOWN_FAULTS.get(getattr(item, "originalname", None))
        if reason:
            item.add_marker(pytest.mark.xfail(reason=reason, strict=False))
