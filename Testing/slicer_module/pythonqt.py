"""A stand-in for PythonQt's modules `qt` and `ctk` and for Slicer's own widgets, on real Qt widgets of PySide6.

There is no PythonQt outside the application, so this gives PySide6's classes PythonQt's manners: properties are
attributes, `connect("signal(types)", f)` and `disconnect`. ctk's and Slicer's widgets are plain widgets with the
properties, methods and signals that slicer-api.txt lists for them, and nothing else: a name that is not listed raises
AttributeError.
"""

from __future__ import annotations

import re
import types

from PySide6 import QtCore, QtGui, QtWidgets

_KEPT: list = []  # PySide6 deletes what Python forgets; PythonQt does not


def _properties(cls) -> set[str]:
    meta = cls.staticMetaObject
    return {meta.property(index).name() for index in range(meta.propertyCount())}


def _getter(cls, name):
    """The function that reads a property: `text`, `isChecked`."""
    return getattr(cls, f"is{name[0].upper()}{name[1:]}", None) or getattr(cls, name)


def _pythonqt(cls):
    """The PySide6 class with PythonQt's manners."""
    properties = _properties(cls) if hasattr(cls, "staticMetaObject") else set()

    def get(self, name):
        if name in ("connect", "disconnect"):  # PySide6 has functions of these names, with other arguments
            return types.MethodType({"connect": connect, "disconnect": disconnect}[name], self)
        if name == "findChildren":  # takes the class as `qt` offers it
            return lambda kind: cls.findChildren(self, getattr(kind, "_cls", kind))
        if name in properties:
            return _getter(cls, name)(self)
        return cls.__getattribute__(self, name)

    def put(self, name, value):
        if name in properties:
            getattr(cls, f"set{name[0].upper()}{name[1:]}")(self, value)
        else:
            cls.__setattr__(self, name, value)

    def connect(self, signal, slot):
        bound = cls.__getattribute__(self, signal.split("(")[0])
        handler = (lambda *_arguments: slot()) if signal.endswith("()") else slot
        self.__dict__.setdefault("_handlers", {})[(signal, slot)] = handler
        bound.connect(handler)

    def disconnect(self, signal, slot):
        cls.__getattribute__(self, signal.split("(")[0]).disconnect(self.__dict__["_handlers"].pop((signal, slot)))

    def init(self, *arguments):
        cls.__init__(self, *arguments)
        _KEPT.append(self)

    return type(cls.__name__, (cls,), {"__getattribute__": get, "__setattr__": put, "__init__": init})


class _Listed(QtWidgets.QWidget):
    """A ctk or Slicer widget: what the API file lists."""

    members: dict[str, str] = {}  # noqa: RUF012 - filled for each class
    defaults: dict = {}  # noqa: RUF012

    def __init__(self, *arguments):
        super().__init__(*[a for a in arguments if isinstance(a, QtWidgets.QWidget)])
        super().__setattr__("values", dict(self.defaults))
        super().__setattr__("slots", {})
        super().__setattr__("calls", [])
        _KEPT.append(self)

    def __getattribute__(self, name):
        if name in ("connect", "disconnect"):  # PySide6 has functions of these names, with other arguments
            return types.MethodType({"connect": _Listed._connect, "disconnect": _Listed._disconnect}[name], self)
        return super().__getattribute__(name)

    def __getattr__(self, name):
        if name in ("visible", "enabled"):
            return {"visible": self.isVisible, "enabled": self.isEnabled}[name]()
        kind = type(self).members.get(name)
        if kind == "property":
            return self.values.get(name)
        if kind == "method":
            return lambda *arguments: self.calls.append((name, arguments))
        raise AttributeError(f"{type(self).__name__} has no {name}")

    def __setattr__(self, name, value):
        if name in ("visible", "enabled"):
            {"visible": self.setVisible, "enabled": self.setEnabled}[name](value)
        elif type(self).members.get(name) == "property":
            changed = self.values.get(name) != value
            self.values[name] = value
            if changed and name == "value":
                self.emit("valueChanged", value)
        else:
            raise AttributeError(f"{type(self).__name__} has no property {name}")

    def _connect(self, signal, slot):
        if type(self).members.get(signal.split("(")[0]) != "signal":
            raise AttributeError(f"{type(self).__name__} has no signal {signal}")
        self.slots.setdefault(signal.split("(")[0], []).append(slot)

    def _disconnect(self, signal, slot):
        self.slots[signal.split("(")[0]].remove(slot)

    def emit(self, signal, *arguments):
        for slot in tuple(self.slots.get(signal, ())):
            slot(*arguments)


class _Range(_Listed):
    """ctkRangeWidget: two values."""

    def setRange(self, low, high):  # noqa: N802
        self.values.update(minimum=low, maximum=high)

    def setValues(self, low, high):  # noqa: N802
        if (self.values.get("minimumValue"), self.values.get("maximumValue")) != (low, high):
            self.values.update(minimumValue=low, maximumValue=high)
            self.emit("valuesChanged", low, high)


def read_api(path) -> dict[str, dict[str, str]]:
    """Section -> member -> "property", "signal" or "method"."""
    sections, names = {}, None
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.startswith("## "):
            names = sections.setdefault(line[3:], {})
        elif names is not None and line.startswith("  "):
            found = re.match(r"  (property |signal |)(\w+)", line)
            names.setdefault(found.group(2), found.group(1).strip() or "method")
    return sections


def modules(api_path) -> tuple[types.ModuleType, types.ModuleType]:
    """Modules to put into sys.modules as `qt` and `ctk`."""
    api = read_api(api_path)
    qt, ctk = types.ModuleType("qt"), types.ModuleType("ctk")
    for source in (QtCore, QtGui, QtWidgets):
        for name in dir(source):
            value = getattr(source, name)
            if not name.startswith("Q"):
                continue
            is_object = isinstance(value, type) and issubclass(value, QtCore.QObject)
            if is_object and name not in ("QApplication", "QTimer", "QObject"):
                setattr(qt, name, None)
                qt.__dict__[name] = _Lazy(value)
            else:
                setattr(qt, name, value)
    qt.Qt = QtCore.Qt
    for section, members in api.items():
        if section.startswith("ctk."):
            base = _Range if section == "ctk.ctkRangeWidget" else _Listed
            setattr(ctk, section[4:], type(section[4:], (base,), {"members": members}))
    return qt, ctk


class _Lazy:
    """Makes the class with PythonQt's manners when it is first used."""

    def __init__(self, cls) -> None:
        self._cls = cls
        self._made = None

    def __call__(self, *arguments):
        self._made = self._made or _pythonqt(self._cls)
        return self._made(*arguments)

    def __getattr__(self, name):
        return getattr(self._cls, name)
