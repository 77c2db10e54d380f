"""Follows the mouse in the slice views and turns what it does into prompts.

Click: point (Shift or the switch: negative). Drag: box. With the brush or the lasso chosen: a stroke as mask prompt. On
a control point of a prompt the event is left to the application, which drags the point. On the review strip: go to the
slice.
"""

from __future__ import annotations

from enum import Enum, auto
from typing import Protocol

import numpy as np
import vtk

from .view_overlay import NEGATIVE_COLOR, PENDING_COLOR, POSITIVE_COLOR, Line

# A hand that clicks moves by a pixel or two; a box smaller than this is a click.
DRAG_PIXELS = 5
# Markups pick a control point within about this distance of it.
HANDLE_PIXELS = 10


class Gesture(Enum):
    """What the left button does."""

    POINT = auto()  # click: point, drag: box
    BRUSH = auto()
    LASSO = auto()


class MouseTarget(Protocol):
    """What the mouse acts on (the effect's session)."""

    def add_point(self, view, xy: tuple[int, int], positive: bool) -> None: ...
    def add_box(self, view, corners_xy: np.ndarray) -> None: ...
    def add_stroke(self, view, path_xy: np.ndarray, closed: bool, positive: bool) -> None: ...
    def handle_positions(self, view) -> np.ndarray: ...
    def strip_slice(self, view, xy: tuple[int, int]) -> int | None: ...
    def go_to_slice(self, index: int) -> None: ...
    def brush_radius_pixels(self, view) -> float: ...
    def draw(self, view, lines: list[Line]) -> None: ...
    def delete_prompt_near(self, view, xy: tuple[int, int]) -> bool: ...
    def cancel(self) -> bool: ...
    def scale_brush(self, factor: float) -> None: ...


class MouseTool:
    """State of the gesture in progress, for all views together: there is one mouse."""

    def __init__(self, target: MouseTarget) -> None:
        self._target = target
        self.gesture = Gesture.POINT
        self.negative = False
        self._view_id = ""
        self._view = None  # the one the gesture was begun in
        self._path: list[tuple[int, int]] = []
        self._shift = False

    @property
    def busy(self) -> bool:
        """True between press and release."""
        return bool(self._path)

    def reset(self) -> None:
        """Forget a gesture that was not finished."""
        self._path = []
        self._view_id = ""
        self._view = None

    def cancel(self) -> bool:
        """Take a gesture in progress back (Esc before the button is released); False when there is none."""
        view = self._view
        if not self.busy or view is None:
            return False
        self.reset()
        self._target.draw(view, [])
        return True

    def handle(self, view, interactor, event_id: int) -> bool:
        """Take one event of a slice view; True when it must not reach the application any more."""
        if event_id in (vtk.vtkCommand.LeftButtonPressEvent, vtk.vtkCommand.LeftButtonDoubleClickEvent):
            return self._press(view, interactor)
        if event_id == vtk.vtkCommand.MouseMoveEvent:
            return self._move(view, interactor)
        if event_id == vtk.vtkCommand.LeftButtonReleaseEvent:
            return self._release(view, interactor)
        if event_id == vtk.vtkCommand.KeyPressEvent:
            return self._key(view, interactor)
        if event_id in (vtk.vtkCommand.MouseWheelForwardEvent, vtk.vtkCommand.MouseWheelBackwardEvent):
            if self.gesture is Gesture.BRUSH and interactor.GetShiftKey():
                self._target.scale_brush(1.2 if event_id == vtk.vtkCommand.MouseWheelForwardEvent else 1 / 1.2)
                self._draw_brush(view, interactor.GetEventPosition())
                return True
        elif event_id == vtk.vtkCommand.LeaveEvent and not self.busy:
            self._target.draw(view, [])
        return False

    # ---- events --------------------------------------------------------------------------------------------------
    def _press(self, view, interactor) -> bool:
        if interactor.GetControlKey() or interactor.GetAltKey():
            return False  # Slicer's own: window and level, slice rotation, zoom
        xy = tuple(int(v) for v in interactor.GetEventPosition())
        index = self._target.strip_slice(view, xy)
        if index is not None:
            self._target.go_to_slice(index)
            self._view_id = "strip"
            return True
        if self._near_handle(view, xy):
            return False
        self._view_id, self._view = view.node.GetID(), view
        self._shift = bool(interactor.GetShiftKey())
        self._path = [xy]
        self._draw_gesture(view)
        return True

    def _move(self, view, interactor) -> bool:
        xy = tuple(int(v) for v in interactor.GetEventPosition())
        if not self.busy:
            if self._view_id == "strip":
                return True
            if self.gesture is Gesture.BRUSH:
                self._draw_brush(view, xy)
            return False
        if view.node.GetID() == self._view_id and xy != self._path[-1]:
            self._path.append(xy)
            self._draw_gesture(view)
        return True

    def _release(self, view, interactor) -> bool:
        if self._view_id == "strip":
            self.reset()
            return True
        if not self.busy:
            return False
        xy = tuple(int(v) for v in interactor.GetEventPosition())
        if view.node.GetID() == self._view_id and xy != self._path[-1]:
            self._path.append(xy)
        path, same_view = np.array(self._path), view.node.GetID() == self._view_id
        self.reset()
        self._target.draw(view, [])
        if not same_view:
            return True
        if self.gesture is Gesture.POINT:
            if not self._dragged(view, path):
                self._target.add_point(view, tuple(path[0]), positive=self._positive())
            elif (np.abs(path[-1] - path[0]) > DRAG_PIXELS * view.pixel_ratio / 2).all():
                self._target.add_box(view, _rectangle(path[0], path[-1]))
        else:
            self._target.add_stroke(view, path, closed=self.gesture is Gesture.LASSO, positive=self._positive())
        return True

    def _key(self, view, interactor) -> bool:
        key = interactor.GetKeySym()
        if key in ("Delete", "BackSpace"):
            return self._target.delete_prompt_near(view, interactor.GetEventPosition())
        if key == "Escape":
            return self.cancel() or self._target.cancel()
        return False

    # ---- drawing -------------------------------------------------------------------------------------------------
    def _draw_gesture(self, view) -> None:
        path = np.array(self._path, dtype=float)
        if self.gesture is Gesture.POINT:
            if self._dragged(view, path):
                self._target.draw(view, [Line(_rectangle(path[0], path[-1]), PENDING_COLOR, closed=True)])
        elif self.gesture is Gesture.LASSO:
            self._target.draw(view, [Line(path, PENDING_COLOR, closed=True)] if len(path) > 1 else [])
        else:
            lines = [self._brush_circle(view, path[-1])]
            if len(path) > 1:
                lines.append(Line(path, PENDING_COLOR))
            self._target.draw(view, lines)

    def _draw_brush(self, view, xy) -> None:
        self._target.draw(view, [self._brush_circle(view, xy)])

    def _brush_circle(self, view, xy) -> Line:
        angles = np.linspace(0, 2 * np.pi, 33)[:-1]
        radius = self._target.brush_radius_pixels(view)
        circle = np.column_stack([xy[0] + radius * np.cos(angles), xy[1] + radius * np.sin(angles)])
        positive = self._positive() if self.busy else not self.negative
        return Line(circle, POSITIVE_COLOR if positive else NEGATIVE_COLOR, closed=True)

    # ---- inner ---------------------------------------------------------------------------------------------------
    def _positive(self) -> bool:
        return self.negative == self._shift  # Shift turns the switch around

    def _dragged(self, view, path: np.ndarray) -> bool:
        return bool(np.abs(np.asarray(path) - path[0]).max() > DRAG_PIXELS * view.pixel_ratio)

    def _near_handle(self, view, xy) -> bool:
        handles = self._target.handle_positions(view)
        if not len(handles):
            return False
        distance = np.linalg.norm(handles - np.array(xy, dtype=float), axis=1).min()
        return bool(distance <= HANDLE_PIXELS * view.pixel_ratio)


def _rectangle(first, last) -> np.ndarray:
    """Corners [4,2] of the rectangle between two positions, in order around it."""
    (x0, y0), (x1, y1) = first, last
    return np.array([(x0, y0), (x1, y0), (x1, y1), (x0, y1)], dtype=float)
