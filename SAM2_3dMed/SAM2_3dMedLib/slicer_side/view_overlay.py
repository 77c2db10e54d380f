"""Lines and colored rectangles drawn over a slice view: rubber band, strokes, boxes, mask prompts, the review strip.

Everything is 2D, in device pixels, and belongs to the view, not to the scene: it is gone when the effect is left, it is
never saved, and no node of the user's is touched.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import vtk
from vtk.util.numpy_support import numpy_to_vtk, numpy_to_vtkIdTypeArray

POSITIVE_COLOR = (0.20, 0.85, 0.35)
NEGATIVE_COLOR = (0.95, 0.25, 0.20)
PENDING_COLOR = (1.0, 0.85, 0.20)


@dataclass(frozen=True)
class Line:
    """A line through display positions [N,2] (device pixels); `segments`: every two points are a piece of their own."""

    points: np.ndarray
    color: tuple[float, float, float]
    closed: bool = False
    segments: bool = False


class Overlay:
    """What is drawn over one slice view."""

    def __init__(self, view) -> None:
        self._view = view
        self._shown = (np.zeros((0, 4)), np.zeros((0, 3), dtype=np.uint8))
        self._halo, self._halo_data = _actor(3.5 * view.pixel_ratio, layer=3)
        self._lines, self._lines_data = _actor(1.75 * view.pixel_ratio, layer=4)
        self._strip, self._strip_data = _actor(1.0, layer=5)
        for actor in (self._halo, self._lines, self._strip):
            view.renderer.AddViewProp(actor)

    def set_lines(self, lines: list[Line]) -> None:
        """Draw these lines, and nothing else that was drawn before; a dark rim keeps them visible on bright tissue."""
        _fill_lines(self._lines_data, lines)
        _fill_lines(self._halo_data, [Line(line.points, (0.0, 0.0, 0.0), line.closed, line.segments) for line in lines])
        self._view.request_render()

    def set_rectangles(self, boxes: np.ndarray, colors: np.ndarray) -> None:
        """Draw filled rectangles: boxes [N,4] (x0, y0, x1, y1) in device pixels, colors [N,3] uint8; later on top."""
        boxes, colors = np.asarray(boxes, dtype=float).reshape(-1, 4), np.asarray(colors, dtype=np.uint8).reshape(-1, 3)
        if np.array_equal(boxes, self._shown[0]) and np.array_equal(colors, self._shown[1]):
            return  # most views, at most times: drawing one again costs 6 ms
        self._shown = (boxes, colors)
        _fill_rectangles(self._strip_data, boxes, colors)
        self._view.request_render()

    def remove(self) -> None:
        """Take everything out of the view."""
        for actor in (self._halo, self._lines, self._strip):
            self._view.renderer.RemoveViewProp(actor)
        self._view.request_render()


def _actor(width: float, layer: int) -> tuple[vtk.vtkActor2D, vtk.vtkPolyData]:
    data = vtk.vtkPolyData()
    mapper = vtk.vtkPolyDataMapper2D()
    mapper.SetInputData(data)
    mapper.SetScalarModeToUseCellData()
    mapper.ScalarVisibilityOn()
    actor = vtk.vtkActor2D()
    actor.SetMapper(mapper)
    actor.GetProperty().SetLineWidth(width)
    actor.SetLayerNumber(layer)
    actor.PickableOff()
    return actor, data


def _fill_lines(data: vtk.vtkPolyData, lines: list[Line]) -> None:
    points, cells, colors, begin = [], [], [], 0
    for line in lines:
        positions = np.asarray(line.points, dtype=float).reshape(-1, 2)
        count = len(positions)
        if count < 2:
            continue
        points.append(positions)
        ids = np.arange(begin, begin + count)
        if line.segments:
            pairs = ids.reshape(-1, 2)
            cells.append(np.column_stack([np.full(len(pairs), 2), pairs]).ravel())
            colors.extend([line.color] * len(pairs))
        else:
            ids = np.append(ids, begin) if line.closed else ids
            cells.append(np.concatenate([[len(ids)], ids]))
            colors.append(line.color)
        begin += count
    _set_geometry(data, points)
    data.SetLines(_cells(cells, len(colors)))
    data.SetPolys(vtk.vtkCellArray())
    data.GetCellData().SetScalars(_colors(np.asarray(colors).reshape(-1, 3) * 255))
    data.Modified()


def _fill_rectangles(data: vtk.vtkPolyData, boxes: np.ndarray, colors: np.ndarray) -> None:
    corners = boxes[:, [0, 1, 2, 1, 2, 3, 0, 3]].reshape(-1, 2)
    ids = np.arange(len(corners)).reshape(-1, 4)
    _set_geometry(data, [corners])
    data.SetPolys(_cells([np.column_stack([np.full(len(ids), 4), ids]).ravel()], len(ids)))
    data.GetCellData().SetScalars(_colors(colors.reshape(-1, 3)))
    data.Modified()


def _set_geometry(data: vtk.vtkPolyData, parts: list[np.ndarray]) -> None:
    flat = np.concatenate(parts) if parts else np.zeros((0, 2))
    points = vtk.vtkPoints()
    points.SetData(numpy_to_vtk(np.column_stack([flat, np.zeros(len(flat))]), deep=1))
    data.SetPoints(points)


def _cells(parts: list[np.ndarray], count: int) -> vtk.vtkCellArray:
    cells = vtk.vtkCellArray()
    if count:
        cells.ImportLegacyFormat(numpy_to_vtkIdTypeArray(np.concatenate(parts).astype(np.int64), deep=1))
    return cells


def _colors(values: np.ndarray) -> vtk.vtkUnsignedCharArray:
    return numpy_to_vtk(np.ascontiguousarray(values, dtype=np.uint8), deep=1, array_type=vtk.VTK_UNSIGNED_CHAR)
