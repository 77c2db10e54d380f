"""What the effect shares between editors: the controller, the mouse, and what is drawn over the slice views.

The application makes one effect object for each editor widget (Segment Editor, our module), and all of them follow the
same editor node. Only the one whose editor is on the screen takes part; the others stay quiet.
"""

from __future__ import annotations

import numpy as np

from .controller_state import Change
from .effect_mouse import MouseTool
from .prompt_markups import box_outline
from .prompt_outlines import Outlines, prompt_lines
from .review_strip import ReviewStrip
from .slice_view import SliceView
from .stroke_mask import brush_mask, lasso_mask, slice_shape
from .view_overlay import Line, Overlay
from .volume_source import VolumeSourceError

DEFAULT_BRUSH_RADIUS_MM = 4.0


class EffectSession:
    """Between the events of the views and the controller. `views` gives the slice views on the screen (`SliceView`)."""

    def __init__(self, controller, views) -> None:
        self.controller = controller
        self.mouse = MouseTool(self)
        self.brush_radius = DEFAULT_BRUSH_RADIUS_MM
        self._views = views
        self._overlays: dict[str, tuple[SliceView, Overlay]] = {}
        self._gesture_lines: dict[str, list[Line]] = {}
        self._outlines = Outlines()
        self._last_view: SliceView | None = None
        self._remove_listener = None

    # ---- life ----------------------------------------------------------------------------------------------------
    @property
    def active(self) -> bool:
        return self._remove_listener is not None

    def activate(self) -> None:
        """Begin to draw over the slice views."""
        if not self.active:
            self._remove_listener = self.controller.listeners.add(self._on_change)
        self.refresh_views()

    def deactivate(self) -> None:
        """Take everything out of the views."""
        if self._remove_listener is not None:
            self._remove_listener()
            self._remove_listener = None
        self.mouse.reset()
        for _view, overlay in self._overlays.values():
            overlay.remove()
        self._overlays.clear()
        self._gesture_lines.clear()
        self._last_view = None

    def refresh_views(self) -> None:
        """The layout changed: draw over the views that are there now."""
        views = {view.node.GetID(): view for view in self._views()}
        for node_id in tuple(self._overlays):
            if node_id not in views or views[node_id].renderer is not self._overlays[node_id][0].renderer:
                self._overlays.pop(node_id)[1].remove()
        for node_id, view in views.items():
            if node_id not in self._overlays:
                self._overlays[node_id] = (view, Overlay(view))
            self.redraw(view)

    def handle_event(self, view: SliceView, interactor, event_id: int) -> bool:
        """An event of a slice view; True when it is consumed."""
        if not self.active:
            return False
        self._last_view = view
        return self.mouse.handle(view, interactor, event_id)

    # ---- MouseTarget ---------------------------------------------------------------------------------------------
    def add_point(self, view, xy, positive) -> None:
        self.controller.add_point(view.node, view.xy_to_ras(*xy), positive)

    def add_box(self, view, corners_xy) -> None:
        self.controller.add_box(view.node, np.array([view.xy_to_ras(x, y) for x, y in corners_xy]))

    def add_stroke(self, view, path_xy, closed, positive) -> None:
        """A brush stroke, or a lasso (closed), as a mask prompt on the slice it was drawn on; a negative one takes what
        it covers away from the segment.
        """
        source = self._source
        if source is None:
            self.controller.add_mask(0, 0, np.zeros((1, 1), dtype=bool))  # says what is missing
            return
        world = np.array([view.xy_to_ras(x, y) for x, y in path_xy])
        ijk = np.asarray(source.world_to_ijk(world))
        axis, _angle = source.view_axis(view.node)
        index = int(np.rint(np.median(ijk[:, axis])))
        shape = slice_shape(source.array.shape, axis)
        if not 0 <= index < source.array.shape[2 - axis]:
            mask = np.zeros(shape, dtype=bool)
        elif closed:
            mask = lasso_mask(ijk, axis, shape)
        else:
            mask = brush_mask(ijk, axis, shape, source.geometry.spacing, self.brush_radius)
        if positive or not mask.any():
            self.controller.add_mask(axis, index, mask)
        else:
            self.controller.subtract_mask(axis, index, mask)

    def handle_positions(self, view) -> np.ndarray:
        """Display positions [N,2] of the control points that are shown on this view's slice."""
        xyz, _ids = self._point_positions(view)
        return xyz[:, :2]

    def strip_slice(self, view, xy) -> int | None:
        review = self.controller.review
        if not review.slices or not self._shows_strip(view, review.axis):
            return None
        return ReviewStrip(view.size(), view.pixel_ratio).slice_at(*xy, review)

    def go_to_slice(self, index: int) -> None:
        """Show a slice of the current segment's axis in the views that look along it."""
        position = self.controller.slice_position(index)
        if position is None:
            return
        axis = self.controller.review.axis
        shown = [view for view, _overlay in self._overlays.values() if self._shows_strip(view, axis)]
        for view in shown:
            view.go_to(position)

    def go_to_next_doubtful(self) -> bool:
        """Show the next doubtful slice; False when there is none left."""
        index = self.controller.review.next_doubtful(self.current_index())
        if index is None:
            return False
        self.go_to_slice(index)
        return True

    def brush_radius_pixels(self, view) -> float:
        a, b = np.array(view.xy_to_ras(0, 0)), np.array(view.xy_to_ras(1, 0))
        return self.brush_radius / max(float(np.linalg.norm(b - a)), 1e-9)

    def scale_brush(self, factor: float) -> None:
        self.brush_radius = float(np.clip(self.brush_radius * factor, 0.2, 100.0))
        self.controller.listeners.tell(Change.STATUS)

    def draw(self, view, lines: list[Line]) -> None:
        """Show the lines of the gesture in progress."""
        self._gesture_lines[view.node.GetID()] = lines
        self._draw_lines(view)

    def delete_prompt_near(self, view, xy) -> bool:
        """Delete the prompt under the mouse; False when there is none."""
        xyz, ids = self._point_positions(view)
        if len(ids):
            distance = np.linalg.norm(xyz[:, :2] - np.array(xy, dtype=float), axis=1)
            if distance.min() <= 12 * view.pixel_ratio:
                self.controller.delete_prompt(ids[int(distance.argmin())])
                return True
        return False

    def cancel(self) -> bool:
        """Stop what runs; False when nothing does."""
        if not self.controller.status.running:
            return False
        self.controller.cancel()
        return True

    @property
    def _source(self):
        """The source volume, None when its positions in the world are not known (deleted, warped)."""
        source = self.controller.source
        try:
            return source if source is not None and source.ijk_to_world_matrix() is not None else None
        except VolumeSourceError:
            return None

    # ---- views ---------------------------------------------------------------------------------------------------
    def current_view(self) -> SliceView | None:
        """The slice view the mouse was in last, or the first one that can be seen."""
        return next(iter(self._views_in_use()), None)

    def _views_in_use(self) -> list[SliceView]:
        """The views, the one the mouse was in last first; those that the layout does not show come last."""
        views = [view for view, _overlay in self._overlays.values()]
        last = self._last_view.node if self._last_view is not None else None
        return sorted(views, key=lambda view: (not view.is_shown(), view.node is not last))

    def current_slice(self, view: SliceView | None = None) -> tuple[int, int] | None:
        """(axis, index) of the slice in the middle of a view; None when the view shows nothing of the volume."""
        view = view or self.current_view()
        source = self._source
        if view is None or source is None:
            return None
        width, height = view.size()
        center = np.array(view.xy_to_ras(width / 2, height / 2))
        axis, _angle = source.view_axis(view.node)
        index = int(np.rint(np.asarray(source.world_to_ijk(center[None]))[0, axis]))
        return (axis, index) if 0 <= index < source.array.shape[2 - axis] else None

    def current_index(self) -> int | None:
        """The slice of the review's axis that is on the screen."""
        axis = self.controller.review.axis
        for view in self._views_in_use():
            if self._shows_strip(view, axis):
                current = self.current_slice(view)
                if current is not None:
                    return current[1]
        return None

    def redraw(self, view: SliceView) -> None:
        """Draw everything over one view again (its slice, its size or what is shown changed)."""
        if view.node.GetID() not in self._overlays:
            return
        self._draw_lines(view)
        self._draw_strip(view)

    def redraw_node(self, view_node) -> None:
        """The slice node of a view changed."""
        entry = self._overlays.get(view_node.GetID())
        if entry is not None:
            self.redraw(entry[0])

    def _on_change(self, change: Change) -> None:
        if change is Change.STATUS:
            return
        if change is Change.PROMPTS:
            self._outlines.keep({stored.prompt_id for stored in self.controller.prompts})
        for view, _overlay in tuple(self._overlays.values()):
            if change is Change.REVIEW:
                self._draw_strip(view)
            else:
                self.redraw(view)

    def _draw_strip(self, view: SliceView) -> None:
        review = self.controller.review
        shown = self._shows_strip(view, review.axis)
        current = self.current_slice(view) if shown else None
        strip = ReviewStrip(view.size(), view.pixel_ratio)
        boxes, colors = np.zeros((0, 4)), np.zeros((0, 3))
        if shown:
            boxes, colors = strip.rectangles(review, current[1] if current else None)
        self._overlays[view.node.GetID()][1].set_rectangles(boxes, colors)

    def _shows_strip(self, view: SliceView, axis: int | None) -> bool:
        source = self._source
        if source is None or axis is None:
            return False
        return source.view_axis(view.node)[0] == axis

    def _draw_lines(self, view: SliceView) -> None:
        entry = self._overlays.get(view.node.GetID())
        if entry is None:
            return
        lines = list(self._gesture_lines.get(view.node.GetID(), []))
        source = self._source
        if source is not None:
            for stored in self.controller.shown_prompts:
                edges = self._outlines.edges(stored)
                if edges is not None:
                    lines.extend(prompt_lines(source, view, stored.prompt, edges))
        entry[1].set_lines(lines)

    def _point_positions(self, view: SliceView) -> tuple[np.ndarray, list[str]]:
        """Display positions [N,3] and prompt IDs of what can be picked on this view's slice."""
        source = self._source
        points, ids = [], []
        for stored in self.controller.shown_prompts if source is not None else ():
            prompt = stored.prompt
            if hasattr(prompt, "position"):
                ijk = [prompt.position]
            elif hasattr(prompt, "corner_a"):
                ijk = box_outline(prompt)
            else:
                continue
            points.extend(ijk)
            ids.extend([stored.prompt_id] * len(ijk))
        if not points:
            return np.zeros((0, 3)), []
        xyz = view.ras_to_xyz(source.ijk_to_world(np.asarray(points, dtype=float)))
        near = np.abs(xyz[:, 2]) <= 0.75
        return xyz[near], [prompt_id for prompt_id, keep in zip(ids, near, strict=True) if keep]
