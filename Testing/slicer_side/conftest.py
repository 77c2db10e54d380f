"""Real MRML scenes from slicer-core; the tests are skipped in an environment without it."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture
def scene():
    import mrml

    kept = mrml.new_scene()
    yield kept[0]
    kept[0].Clear(True)
