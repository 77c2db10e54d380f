"""One slice view as the effect needs it: positions on the screen to the world and back, and a renderer to draw on.

The effect gets a `qMRMLSliceWidget` from the application; tests have an offscreen view. Both are wrapped in a
`SliceView`, so that the code that follows the mouse is the same in both.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import vtk


@dataclass
class SliceView:
    """A slice view: `node` is its vtkMRMLSliceNode, `renderer` draws over it, `request_render` asks for a new picture.

    `device_to_xyz` converts device pixels in a light box (several slices in one view); `pixel_ratio` is the number of
    device pixels for one pixel of the user interface (2 on many laptops). `is_shown` is False for a view that the
    layout in use does not show.
    """

    node: object
    renderer: object
    request_render: Callable[[], None]
    device_to_xyz: Callable[[tuple[int, int]], tuple[float, float, float]] | None = None
    pixel_ratio: float = 1.0
    is_shown: Callable[[], bool] = lambda: True

    def xy_to_ras(self, x: float, y: float) -> tuple[float, float, float]:
        """World position (mm, RAS) of the display position (x, y) in device pixels, origin at the lower left."""
        z = 0.0
        if self.device_to_xyz is not None and self._is_light_box():
            x, y, z = self.device_to_xyz((int(x), int(y)))
        ras = [0.0, 0.0, 0.0, 1.0]
        self.node.GetXYToRAS().MultiplyPoint((float(x), float(y), float(z), 1.0), ras)
        return ras[0], ras[1], ras[2]

    def ras_to_xyz(self, points: np.ndarray) -> np.ndarray:
        """Display positions [N,3] of world positions [N,3]; the third value is the distance to the slice, in slices."""
        points = np.asarray(points, dtype=float).reshape(-1, 3)
        matrix = np.linalg.inv(matrix_to_array(self.node.GetXYToRAS()))
        return points @ matrix[:3, :3].T + matrix[:3, 3]

    def normal(self) -> np.ndarray:
        """Unit vector [3] (RAS) at right angles to the slice."""
        column = matrix_to_array(self.node.GetSliceToRAS())[:3, 2]
        return column / max(float(np.linalg.norm(column)), 1e-12)

    def size(self) -> tuple[int, int]:
        """Width and height of the view in device pixels."""
        dimensions = self.node.GetDimensions()
        return int(dimensions[0]), int(dimensions[1])

    def go_to(self, ras) -> None:
        """Show the slice that holds the world position, without moving the picture sideways."""
        self.node.JumpSliceByOffsetting(float(ras[0]), float(ras[1]), float(ras[2]))

    def _is_light_box(self) -> bool:
        return self.node.GetLayoutGridRows() * self.node.GetLayoutGridColumns() > 1


def matrix_to_array(matrix: vtk.vtkMatrix4x4) -> np.ndarray:
    """A vtkMatrix4x4 as an array [4,4]."""
    return np.array([[matrix.GetElement(row, column) for column in range(4)] for row in range(4)])


def widget_named(view_name: str):
    """The qMRMLSliceWidget of a view; None when it is gone (scene closed, end of the application)."""
    import slicer

    layout_manager = slicer.app.layoutManager()
    return layout_manager.sliceWidget(view_name) if layout_manager is not None else None


def schedule_render(view_name: str) -> None:
    """Ask a view of the application for a new picture; a view that is gone needs none."""
    widget = widget_named(view_name)
    if widget is not None:
        widget.sliceView().scheduleRender()


def shown_in_layout(view_name: str) -> bool:
    """The application keeps the views of all layouts that were ever used; only some of them can be seen."""
    widget = widget_named(view_name)
    return widget is not None and bool(widget.visible)


def slice_view_of_widget(widget) -> SliceView | None:
    """The `SliceView` of a qMRMLSliceWidget; None while the application closes."""
    view = widget.sliceView()
    node = widget.mrmlSliceNode()
    if view is None or node is None:
        return None
    renderer = view.renderWindow().GetRenderers().GetItemAsObject(0)
    if renderer is None:
        return None
    # qMRMLSliceNode's dimensions are device pixels, the widget's width is not: their quotient needs no further API.
    ratio = node.GetDimensions()[0] / max(1, view.width)
    return SliceView(
        node=node,
        renderer=renderer,
        request_render=lambda: schedule_render(node.GetLayoutName()),
        device_to_xyz=lambda xy: tuple(view.convertDeviceToXYZ(xy)),
        pixel_ratio=max(1.0, float(ratio)),
        is_shown=lambda: shown_in_layout(node.GetLayoutName()),
    )
