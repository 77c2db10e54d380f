"""Keys of the effect. All are free in the Segment Editor and in the slice views, and they work only while it is active.

Taken by the editor: digits, Shift and digits, Esc, Space, Z, Y, Q, W, I, / * , . < >; by the views: B, F, G, R, T, V,
brackets, arrows.
"""

from __future__ import annotations

from collections.abc import Callable

import qt
import slicer

KEYS = {
    "sign": "X",
    "propagate": "P",
    "next_doubtful": "N",
    "checked": "C",
    "refine": "E",
    "delete_last": "D",
}


class EffectShortcuts:
    """Installed on the main window while the effect is active."""

    def __init__(self, actions: dict[str, Callable[[], None]]) -> None:
        self._actions = actions
        self._installed: list = []

    def install(self) -> None:
        """Begin to listen to the keys."""
        window = slicer.util.mainWindow()
        if self._installed or window is None:
            return
        for name, key in KEYS.items():
            shortcut = qt.QShortcut(window)
            shortcut.setKey(qt.QKeySequence(key))
            shortcut.connect("activated()", self._actions[name])
            self._installed.append((shortcut, self._actions[name]))

    def uninstall(self) -> None:
        """Give the keys back."""
        for shortcut, action in self._installed:
            shortcut.disconnect("activated()", action)
            shortcut.setParent(None)
            shortcut.deleteLater()
        self._installed.clear()
