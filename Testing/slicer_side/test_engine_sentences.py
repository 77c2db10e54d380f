"""Whatever the engine and the library can say to Slicer's user is translated, with the values that were in it.

The sentences are read from the source, so that one that is added there and not here is found. No Slicer is needed.
"""

import ast
import re
from pathlib import Path

import pytest
from SAM2_3dMedLib.slicer_side import engine_sentences

LIBRARY = Path(engine_sentences.__file__).resolve().parents[1]
# Where sentences come from that can reach a panel of Slicer, and the place of the sentence in the error's arguments.
SOURCES = (
    *("worker/engine.py", "worker/server.py", "worker/devices.py", "propagation/session.py", "propagation/history.py"),
    *("propagation/checks.py", "propagation/prompting.py", "propagation/predictor.py", "propagation/views.py"),
    *("network/checkpoint.py", "weights/verify.py", "weights/manifest.py", "weights/download.py"),
)
NAMES = ("sentence", "text", "NOTHING_TO_SHOW", "ENDED_HERE")  # what a sentence is called before it is sent
ERRORS = {"EngineError": 1, "PromptError": 0, "CheckpointError": 0, "WeightsError": 0, "DeviceMemoryError": 0}
# Said only to those who call the library themselves: Slicer's own code makes neither such prompts nor such files.
NOT_SAID = (
    *("The slice axis must be", "must be three numbers", "A slice range is its first", "A mask must"),
    *("is not finite in the stored precision", "SAM2's layout", "SAM2.1's sizes", "no PyTorch checkpoint"),
    *("is a folder; give",),
)


def sentence_of(node: ast.expr) -> str:
    """What an expression says, with `7 x` for each value; empty when it is no text of its own."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return "".join(sentence_of(part) or "7 x" for part in node.values)
    return ""


def said_in(name: str) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse((LIBRARY / name).read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call):
            made = getattr(node.func, "id", getattr(node.func, "attr", ""))
            if made in ERRORS and len(node.args) > ERRORS[made]:
                found.add(sentence_of(node.args[ERRORS[made]]))
            elif made in ("DeviceChoice", "Failed"):
                found.update(sentence_of(argument) for argument in node.args[1:])
        elif isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") in NAMES:
            found.add(sentence_of(node.value))
        elif isinstance(node, ast.Return) and node.value is not None and name.endswith("devices.py"):
            found.add(f"CPU, 8 threads: {sentence_of(node.value)}." if sentence_of(node.value) else "")
    return {text for text in map(filled, found) if " " in text and not any(part in text for part in NOT_SAID)}


def filled(text: str) -> str:
    """The sentence with values that are sentences or words of their own."""
    text = re.sub(r"^7 x(: 7 x.$|: | \()", lambda m: "" if m[1] == ": 7 x." else f"CPU, 8 threads{m[1]}", text)
    return text.replace("The 7 x 7 x", "The point 7 x").replace("): 7 x.", "): install the extension again.")


@pytest.fixture
def marked(monkeypatch):
    monkeypatch.setattr(engine_sentences, "translated", lambda text: f"<{text}>")


@pytest.mark.parametrize("name", SOURCES)
def test_every_sentence_is_translated(marked, name):
    said = said_in(name)
    assert said, "no sentence found: does this file still speak?"
    foreign = sorted(text for text in said if not engine_sentences.in_slicer(text).startswith("<"))
    assert not foreign, "add to slicer_side/engine_sentences.py:\n" + "\n".join(foreign)


def test_values_stand_in_the_translation(monkeypatch):
    german = {"The box from {first} to {last} has no area; draw it around the object.": "Kein Kasten: {last}, {first}."}
    monkeypatch.setattr(engine_sentences, "translated", lambda text: german.get(text, text))
    sentence = "The box from (1, 2, 3) to (4, 5, 6) has no area; draw it around the object."
    assert engine_sentences.in_slicer(sentence) == "Kein Kasten: (4, 5, 6), (1, 2, 3)."


def test_the_sentence_that_names_a_command_names_the_button_here():
    sentence = "The weights 'big' are not on this computer; fetch them (156 MB) with: sam2-3dmed models download big"
    said = engine_sentences.in_slicer(sentence)
    assert "'big'" in said
    assert "press Download (156 MB)" in said
    assert "sam2-3dmed" not in said


def test_what_fits_no_template_is_shown_as_it_came():
    assert engine_sentences.in_slicer("Something new {with} braces.") == "Something new {with} braces."
