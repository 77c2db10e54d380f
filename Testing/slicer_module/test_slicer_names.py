"""Every name that the module, the effect and the panels use on the application's objects really exists there.

`slicer-api.txt` lists what was read off a running application; Qt's own classes are looked up in PySide6 (the same Qt
classes in another binding). PythonQt's rule is checked too: a property is an attribute, not a call.
"""

import ast
import re
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from shipped_files import MODULE, REPOSITORY

API_FILE = REPOSITORY.parent / "shared" / "design" / "slicer-api.txt"
EFFECT = REPOSITORY / "SegmentEditorSAM2_3dMed"
SLICER_SIDE = MODULE / "SAM2_3dMedLib" / "slicer_side"
FILES = [
    MODULE / "SAM2_3dMed.py",
    EFFECT / "SegmentEditorSAM2_3dMed.py",
    EFFECT / "SegmentEditorSAM2_3dMedLib" / "SegmentEditorEffect.py",
    *sorted(SLICER_SIDE.glob("*.py")),
    *sorted((REPOSITORY / "Testing" / "Python").glob("*.py")),
]
# Expressions whose type does not show in the file that uses them.
KNOWN = {
    "slicer.util": "slicer.util",
    "slicer.app": "slicer.app (qSlicerApplication)",
    "slicer.app.layoutManager()": "slicer.app.layoutManager()",
    "layoutManager": "slicer.app.layoutManager()",
    "layout_manager": "slicer.app.layoutManager()",
    "slicer.packaging": "slicer.packaging",
    "scriptedEffect": "effect.scriptedEffect (qSlicerSegmentEditorScriptedEffect)",
    "self.scriptedEffect": "effect.scriptedEffect (qSlicerSegmentEditorScriptedEffect)",
    "self._effect": "effect.scriptedEffect (qSlicerSegmentEditorScriptedEffect)",
    "owner.scriptedEffect": "effect.scriptedEffect (qSlicerSegmentEditorScriptedEffect)",
    "self.editorPanel.editor": "slicer.qMRMLSegmentEditorWidget",
    "self.editor": "slicer.qMRMLSegmentEditorWidget",
}
KNOWN_IN_FILE = {
    "slice_view.py": {
        "widget": "slicer.qMRMLSliceWidget",
        "widget.sliceView()": "layoutManager().sliceWidget('Red').sliceView()",
        "view": "layoutManager().sliceWidget('Red').sliceView()",
    },
    "application.py": {"widget": "slicer.qMRMLSliceWidget"},
    "panel_editor.py": {"widget": "slicer.qMRMLSliceWidget"},
    "SegmentEditorEffect.py": {"viewWidget": "slicer.qMRMLSliceWidget"},
}
MADE_BY = {"self._toolButton": "QToolButton", "self._row": "QWidget", "self._exclusive": "QButtonGroup"}
UI_CLASSES = re.compile(r'<widget class="(Q\w+)" name="(\w+)"')
PYTHONQT_EXTRAS = {
    "connect",
    "disconnect",
    "className",
    "deleteLater",
    "children",
    "name",
    "objectName",
    "self",
    "parent",
}


@pytest.fixture(scope="module")
def api():
    if not API_FILE.is_file():
        pytest.skip("slicer-api.txt is not beside this checkout")
    sections, names = {}, None
    for line in API_FILE.read_text(encoding="utf-8").splitlines():
        if line.startswith("## "):
            names = sections.setdefault(line[3:], {})
        elif names is not None and line.startswith("  "):
            found = re.match(r"  (property |signal |)(\w+)", line)
            names.setdefault(found.group(2), found.group(1).strip() or "method")
    return sections


@pytest.fixture(scope="module")
def qt_members():
    pytest.importorskip("PySide6.QtWidgets", reason="needs PySide6 to know Qt's own classes")
    from PySide6 import QtCore, QtGui, QtWidgets

    def members(name):
        cls = next(getattr(m, name) for m in (QtWidgets, QtGui, QtCore) if hasattr(m, name))
        found = {member: "method" for member in dir(cls)}
        meta = getattr(cls, "staticMetaObject", None)
        for index in range(meta.propertyCount() if meta is not None else 0):
            found[meta.property(index).name()] = "property"
        return found

    return members


def types_in(tree, file_name):
    """Expression -> section of the API file, or the name of a Qt class."""
    types = {**KNOWN, **KNOWN_IN_FILE.get(file_name, {})}
    if file_name == "effect_panel.py":  # its base class makes the widgets
        controls = ast.parse((SLICER_SIDE / "effect_controls.py").read_text(encoding="utf-8"))
        types.update(types_in(controls, "effect_controls.py"))
    ambiguous = set()
    for node in ast.walk(tree):
        if not (isinstance(node, ast.Assign) and isinstance(node.value, ast.Call)):
            continue
        made = ast.unparse(node.value.func)
        if made.startswith("qt.Q"):
            kind = made[3:]
        elif made.startswith("ctk.") or made.startswith("slicer.qMRML"):
            kind = made
        elif made in MADE_BY:
            kind = MADE_BY[made]
        else:
            ambiguous.update(ast.unparse(target) for target in node.targets)
            continue
        for target in node.targets:
            types[ast.unparse(target)] = kind
    known_by_hand = {**KNOWN, **KNOWN_IN_FILE.get(file_name, {})}
    return {expression: kind for expression, kind in types.items() if expression not in ambiguous - set(known_by_hand)}


def uses(path, types):
    """(expression, member, called, line) for each member taken of a typed expression."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    called = {id(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            expression = ast.unparse(node.value)
            if expression in types:
                yield expression, node.attr, id(node) in called, node.lineno


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_every_name_exists(path, api, qt_members):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    types = types_in(tree, path.name)
    if path.name in ("SAM2_3dMed.py", "panel_install.py", "panel_model.py"):
        ui = (MODULE / "Resources" / "UI" / "SAM2_3dMed.ui").read_text(encoding="utf-8")
        for kind, name in UI_CLASSES.findall(ui):
            types[f"self.ui.{name}"] = types[f"ui.{name}"] = kind
    problems = []
    for expression, member, called, line in uses(path, types):
        kind = types[expression]
        known = dict(api[kind]) if kind in api else qt_members(kind)
        if kind in api and (kind.startswith(("ctk.", "slicer.q")) or "sliceView" in kind):
            known = {**qt_members("QWidget"), **known}
        if member in PYTHONQT_EXTRAS:
            continue
        if member not in known:
            problems.append(f"line {line}: {expression}.{member} does not exist in {kind}")
        elif called and known[member] == "property":
            problems.append(f"line {line}: {expression}.{member} is a property: without ()")
        elif not called and known[member] == "method" and not is_value(expression, member, known):
            problems.append(f"line {line}: {expression}.{member} is a method: with ()")
    assert not problems, "\n".join(problems)


def is_value(expression, member, known):
    """Methods that are handed over as a callback, and values of enumerations."""
    return member in ("scheduleRender",) or member[:1].isupper()


def test_signals_exist(api, qt_members):
    """The signal in `connect("name(types)", ...)` belongs to the widget's class."""
    problems = []
    for path in FILES:
        tree = ast.parse(path.read_text(encoding="utf-8"))
        types = types_in(tree, path.name)
        for node in ast.walk(tree):
            pair = connected(node)
            if pair and pair[0] in types:
                kind, signal = types[pair[0]], pair[1].split("(")[0]
                known = api[kind] if kind in api else qt_members(kind)
                if signal not in known:
                    problems.append(f"{path.name}:{node.lineno}: {kind} has no signal {signal}")
    assert not problems, "\n".join(problems)


def connected(node):
    """(expression, signal) of `x.connect("signal()", f)` and of rows `(x, "signal()", f)` in a table of connections."""
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
        owner, first = node.func.value, node.args[0] if node.args else None
        found = node.func.attr in ("connect", "disconnect")
    elif isinstance(node, ast.Tuple) and len(node.elts) == 3:
        owner, first = node.elts[:2]
        found = True
    else:
        return None
    if found and isinstance(first, ast.Constant) and isinstance(first.value, str) and "(" in first.value:
        return ast.unparse(owner), first.value
    return None


def test_effect_methods_are_those_the_application_calls():
    """An override with a wrong name would never be called."""
    called_by_application = {
        "clone", "icon", "helpText", "activate", "deactivate", "setupOptionsFrame", "createCursor",
        "processInteractionEvents", "processViewNodeEvents", "setMRMLDefaults", "referenceGeometryChanged",
        "sourceVolumeNodeChanged", "layoutChanged", "interactionNodeModified", "updateGUIFromMRML", "updateMRMLFromGUI",
        "cleanup",
    }  # fmt: skip
    tree = ast.parse((EFFECT / "SegmentEditorSAM2_3dMedLib" / "SegmentEditorEffect.py").read_text(encoding="utf-8"))
    effect = next(n for n in tree.body if isinstance(n, ast.ClassDef) and n.name == "SegmentEditorEffect")
    methods = {n.name for n in effect.body if isinstance(n, ast.FunctionDef)}
    ours = {"__init__", "_application", "on_screen", "became_owner", "lost_ownership"}
    assert methods - ours <= called_by_application


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_imports_at_the_top_are_light(path):
    """Slicer loads these files at start: only the standard library, Slicer's own and numpy."""
    allowed = {"slicer", "vtk", "qt", "ctk", "numpy", "SimpleITK", "scipy", "SegmentEditorEffects", "SAM2_3dMedLib"}
    allowed.add("SAM2_3dMedTestTools")
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in tree.body:
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            names = [node.module]
        for name in names:
            top = name.split(".")[0]
            assert top in allowed or top in sys.stdlib_module_names, f"{path.name}: {name}"


def test_library_loaded_by_slicer_does_not_pull_in_torch():
    import subprocess

    code = (
        "import sys; import SAM2_3dMedLib.slicer_side.engine_settings, SAM2_3dMedLib.slicer_side.sample_data,"
        " SAM2_3dMedLib.slicer_side.stroke_mask, SAM2_3dMedLib.propagation.prompts, SAM2_3dMedLib.worker.messages,"
        " SAM2_3dMedLib.weights;"
        "print([m for m in ('torch', 'sam2', 'monai', 'typer') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env={"PYTHONPATH": str(MODULE)}
    )
    assert done.stdout.strip() == "[]", done.stdout
