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
ESCAPE = "Esc"


# A mark on shortcuts of others that wait while ours has the key. A property and no list of them: the editor deletes its
# shortcuts when its module is left, and a reference to a deleted one must not be kept.
_HELD = "SAM2_3dMedHeld"


class EffectShortcuts:
    """Installed on the main window while the effect is active.

    The Segment Editor has a QShortcut for Esc on the main window that leaves the active effect. Two enabled shortcuts
    with one key are ambiguous to Qt and neither is activated, so while there is something to cancel (the engine's work,
    a gesture of the mouse) the editor's is disabled and ours cancels.
    """

    def __init__(self, actions: dict[str, Callable[[], None]], cancel: Callable[[], None]) -> None:
        self._actions = actions
        self._cancel = cancel
        self._installed: list = []
        self._escape = None

    def install(self) -> None:
        """Begin to listen to the keys."""
        window = slicer.util.mainWindow()
        if self._installed or window is None:
            return
        for name, key in KEYS.items():
            self._installed.append((_make(window, key, self._actions[name]), self._actions[name]))

    def uninstall(self) -> None:
        """Give the keys back."""
        self.take_escape(False)
        for shortcut, action in self._installed:
            _drop(shortcut, action)
        self._installed.clear()

    def take_escape(self, wanted: bool) -> None:
        """With something to cancel, Esc cancels it and nothing else; else it leaves the effect, as everywhere."""
        if not self._installed or wanted == (self._escape is not None):
            return
        window = slicer.util.mainWindow()  # 2 ms: Slicer looks through all its windows
        if window is None:
            return
        if wanted:
            for shortcut in window.findChildren(qt.QShortcut):
                if shortcut.enabled and shortcut.key.toString() == ESCAPE:
                    shortcut.enabled = False
                    shortcut.setProperty(_HELD, True)
            self._escape = _make(window, ESCAPE, self._cancel)
        else:
            _drop(self._escape, self._cancel)
            self._escape = None
            for shortcut in window.findChildren(qt.QShortcut):
                if shortcut.property(_HELD):
                    shortcut.setProperty(_HELD, False)
                    shortcut.enabled = True


def _make(window, key: str, action: Callable[[], None]):
    shortcut = qt.QShortcut(window)
    shortcut.setKey(qt.QKeySequence(key))
    shortcut.connect("activated()", action)
    return shortcut


def _drop(shortcut, action: Callable[[], None]) -> None:
    shortcut.disconnect("activated()", action)
    shortcut.enabled = False  # it may be the one that has just been activated: it is deleted when Qt is done with it
    shortcut.setParent(None)
    shortcut.deleteLater()
