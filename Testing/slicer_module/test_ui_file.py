"""The .ui file: every widget the code uses is there, bindings name parameters that exist, and it can be shown."""

import ast
import os
import re
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from shipped_files import MODULE

UI_FILE = MODULE / "Resources" / "UI" / "SAM2_3dMed.ui"
SLICER_SIDE = MODULE / "SAM2_3dMedLib" / "slicer_side"


@pytest.fixture(scope="module")
def widgets():
    """Class of each named widget or layout."""
    root = ElementTree.parse(UI_FILE).getroot()
    return {w.get("name"): w.get("class") for tag in ("widget", "layout") for w in root.iter(tag)}


def test_every_widget_used_in_code_exists(widgets):
    used = set()
    for path in (MODULE / "SAM2_3dMed.py", SLICER_SIDE / "panel_install.py", SLICER_SIDE / "panel_model.py"):
        used |= set(re.findall(r"\bui\.([A-Za-z]\w*)", path.read_text(encoding="utf-8")))
    assert used - {"SAM2_3dMed"} <= set(widgets), used - set(widgets)


def test_bindings_are_the_fields_of_the_parameter_node():
    tree = ast.parse((SLICER_SIDE / "parameter_node.py").read_text(encoding="utf-8"))
    wrapped = next(n for n in tree.body if isinstance(n, ast.ClassDef))
    fields = {n.target.id for n in wrapped.body if isinstance(n, ast.AnnAssign)}
    root = ElementTree.parse(UI_FILE).getroot()
    bound = {
        p.find("string").text: w.get("class")
        for w in root.iter("widget")
        for p in w.findall("property")
        if p.get("name") == "SlicerParameterName"
    }
    assert set(bound) == fields
    assert set(bound.values()) == {"QComboBox"}  # what Slicer binds to a string with a Choice


def test_texts_have_no_leftovers():
    text = UI_FILE.read_text(encoding="utf-8")
    assert not re.search(r"TextLabel|PushButton</string>|TODO|Lorem", text)


def test_it_is_shown_with_all_its_texts(widgets, tmp_path):
    os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
    pytest.importorskip("PySide6.QtUiTools", reason="needs PySide6 to show the .ui file")
    from PySide6 import QtCore, QtUiTools, QtWidgets

    application = QtWidgets.QApplication.instance() or QtWidgets.QApplication([])

    class Loader(QtUiTools.QUiLoader):
        """Slicer's own widget classes are shown as plain widgets: there is no real one outside the application."""

        def createWidget(self, class_name, parent=None, name=""):  # noqa: N802
            known = class_name if class_name in self.availableWidgets() else "QWidget"
            return super().createWidget(known, parent, name)

    file = QtCore.QFile(str(UI_FILE))
    assert file.open(QtCore.QFile.ReadOnly)
    shown = Loader().load(file)
    shown.resize(420, 520)
    shown.show()
    application.processEvents()
    picture = shown.grab().toImage()
    assert picture.width() == 420
    pixels = {picture.pixel(x, y) for x in range(0, picture.width(), 3) for y in range(0, picture.height(), 3)}
    assert len(pixels) > 10  # something is drawn
    for name in ("installButton", "downloadButton", "sampleCTButton", "engineLabel", "deviceSelector"):
        assert shown.findChild(QtCore.QObject, name) is not None, name
