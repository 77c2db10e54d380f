"""Real MRML scenes from slicer-core; the tests are skipped in an environment without it."""

from __future__ import annotations

import sys
import types
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(scope="session")
def mrml_application():
    """One scene for all tests: MRML's logics are made for one a process (a second set crashes slicer-core 5.12.4)."""
    import mrml

    return mrml.new_scene()


@pytest.fixture
def scene(mrml_application):
    """An empty scene."""
    import slicer

    scene, _application, logics = mrml_application
    # Tests of the whole tool have scenes of their own; whichever ran before, this is the one again.
    slicer.mrmlScene = scene
    slicer.modules = types.SimpleNamespace(segmentations=types.SimpleNamespace(logic=lambda: logics[1]))
    mrml_application[0].Clear(False)
    yield mrml_application[0]
    mrml_application[0].Clear(False)
