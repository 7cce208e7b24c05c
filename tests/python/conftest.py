"""The fixtures of these tests; `harness.py` holds them, for other folders too."""

from harness import *  # noqa: F403
