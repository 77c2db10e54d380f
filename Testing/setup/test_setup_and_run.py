"""How the program that sets everything up ends."""

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

PROGRAM = Path(__file__).resolve().parents[2] / "setup_and_run.py"


@pytest.fixture
def program() -> ModuleType:
    spec = importlib.util.spec_from_file_location("setup_and_run", PROGRAM)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("step", ["set_up", "run_demo"])
def test_ctrl_c_is_no_traceback(program: ModuleType, monkeypatch, capsys, step: str) -> None:
    def interrupted() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(program, "set_up", lambda: None)
    monkeypatch.setattr(program, step, interrupted)
    assert program.main(["demo"]) == 130
    assert capsys.readouterr().err.strip() == "Canceled; the same command goes on from here."
