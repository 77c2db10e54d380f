"""A contact sheet: slices of a volume with outlines of the segments and the prompts, as one picture (Pillow only)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from ..propagation.prompts import BoxPrompt, PointPrompt, Prompt
from ..volume.images import SegmentInfo, Volume
from ..volume.intensity import Window
from ..volume.intensity import apply as apply_window
from ..volume.planes import SliceAxis, SlicePlane

MAX_TILES = 20
TILE_COLUMNS = 5
TILE_PIXELS = 240  # longer side of a tile
CAPTION_PIXELS = 16
# Room left around the segments, as a share of their extent, and at least this many mm.
MARGIN_SHARE, MARGIN_MM = 0.35, 15.0
_BACKGROUND, _TEXT = (18, 18, 18), (230, 230, 230)


@dataclass(frozen=True)
class Sheet:
    """What a contact sheet shows.

    Attributes:
        masks: bool `[K, J, I]`, one a segment; they may overlap.
        segments: names and colors.
        prompts: drawn on the slices that show them, in the color of their segment.
    """

    volume: Volume
    window: Window
    masks: Sequence[np.ndarray]
    segments: Sequence[SegmentInfo]
    prompts: Sequence[tuple[SegmentInfo, Prompt]]
    axis: SliceAxis


def draw_contact_sheet(sheet: Sheet) -> Image.Image:
    """The sheet as an RGB picture; slices in anatomical order, turned as a radiologist expects them."""
    plane = SlicePlane.of(sheet.volume.geometry, sheet.axis)
    indices = sorted(chosen_slices(sheet), key=plane.order)
    shadow = plane.to_canonical(np.any([mask.any(axis=2 - sheet.axis) for mask in sheet.masks], axis=0))
    region = _shown_region(shadow, [prompt for _, prompt in sheet.prompts if prompt.axis == sheet.axis], plane)
    return arrange([_slice_tile(sheet, plane, index, region) for index in indices], sheet.segments)


def draw_slice(sheet: Sheet, index: int, caption: Sequence[str]) -> Image.Image:
    """One slice of a sheet as an RGB tile, cut to the segments and prompts on it, with lines of text above."""
    plane = SlicePlane.of(sheet.volume.geometry, sheet.axis)
    shadow = np.any([plane.extract(mask, index) for mask in sheet.masks], axis=0)
    region = _shown_region(shadow, [prompt for _, prompt in _prompts_on(sheet, index)], plane)
    return _captioned(_slice_picture(sheet, plane, index, region), caption)


def arrange(tiles: Sequence[Image.Image], segments: Sequence[SegmentInfo]) -> Image.Image:
    """Tiles in rows under a legend of the segments; the tiles may differ in size, and there is at least one."""
    across = min(TILE_COLUMNS, len(tiles))
    width, height = (max(tile.size[side] for tile in tiles) for side in (0, 1))
    down = -(-len(tiles) // across)
    picture = Image.new("RGB", (across * width, CAPTION_PIXELS * 2 + down * height), _BACKGROUND)
    _draw_legend(picture, segments)
    for place, tile in enumerate(tiles):
        picture.paste(tile, ((place % across) * width, CAPTION_PIXELS * 2 + (place // across) * height))
    return picture


def chosen_slices(sheet: Sheet) -> list[int]:
    """At most `MAX_TILES` slices, evenly over the extent of all segments, with every prompted slice among them."""
    array_axis = 2 - sheet.axis
    along = tuple(axis for axis in range(3) if axis != array_axis)
    held = np.flatnonzero(np.any([mask.any(axis=along) for mask in sheet.masks], axis=0))
    prompted = sorted({prompt.slice_index for _, prompt in sheet.prompts if prompt.axis == sheet.axis})[:MAX_TILES]
    if held.size == 0:
        return prompted or [sheet.volume.array.shape[array_axis] // 2]
    room = max(MAX_TILES - len(prompted), 0)
    spread = np.unique(np.linspace(held[0], held[-1], room).round().astype(int)).tolist() if room else []
    return sorted(set(spread) | set(prompted))


def _shown_region(shadow: np.ndarray, prompts: Sequence[Prompt], plane: SlicePlane) -> tuple[slice, slice]:
    """Rows and columns of the canonical picture that hold a canonical mask and prompts, with a margin."""
    positions = [np.argwhere(shadow)]
    for prompt in prompts:
        positions.append(plane.to_pixels(np.array(_corners(prompt))).reshape(-1, 2)[:, ::-1])
    found = np.concatenate([np.asarray(p, dtype=float).reshape(-1, 2) for p in positions])
    if len(found) == 0:
        return slice(0, plane.shape[0]), slice(0, plane.shape[1])
    region = []
    for axis, (count, spacing) in enumerate(zip(plane.shape, plane.pixel_spacing, strict=True)):
        low, high = found[:, axis].min(), found[:, axis].max()
        margin = max((high - low + 1) * MARGIN_SHARE, MARGIN_MM / spacing)
        region.append(slice(max(int(low - margin), 0), min(int(high + margin) + 1, count)))
    return region[0], region[1]


def _corners(prompt: Prompt) -> list[tuple[float, float, float]]:
    if isinstance(prompt, PointPrompt):
        return [prompt.position]
    return [prompt.corner_a, prompt.corner_b] if isinstance(prompt, BoxPrompt) else []


def _slice_tile(sheet: Sheet, plane: SlicePlane, index: int, region: tuple[slice, slice]) -> Image.Image:
    caption = f"{sheet.axis.name} {index}" + (" (prompt)" if _prompts_on(sheet, index) else "")
    return _captioned(_slice_picture(sheet, plane, index, region), [caption])


def _slice_picture(sheet: Sheet, plane: SlicePlane, index: int, region: tuple[slice, slice]) -> Image.Image:
    """The region of a slice with outlines and prompts, its longer side `TILE_PIXELS` long."""
    gray = apply_window(plane.extract(sheet.volume.array, index)[region], sheet.window)
    extent = np.array([gray.shape[1] * plane.pixel_spacing[1], gray.shape[0] * plane.pixel_spacing[0]])
    size = tuple(np.maximum(np.round(extent * TILE_PIXELS / extent.max()), 8).astype(int).tolist())
    picture = Image.fromarray((gray * 255).round().astype(np.uint8)).resize(size, Image.Resampling.BILINEAR)
    pixels = np.stack([np.asarray(picture)] * 3, axis=-1)
    for segment, mask in zip(sheet.segments, sheet.masks, strict=True):
        shown = Image.fromarray(plane.extract(mask, index)[region].astype(np.uint8) * 255)
        # Bilinear, then half: a smooth outline where single voxels are many pixels wide.
        smooth = np.asarray(shown.resize(size, Image.Resampling.BILINEAR)) >= 128
        pixels[_outline(smooth)] = _bytes(segment.color)
    picture = Image.fromarray(pixels)
    _draw_prompts(picture, _prompts_on(sheet, index), plane, *region)
    return picture


def _captioned(picture: Image.Image, caption: Sequence[str]) -> Image.Image:
    """A picture with lines of text above it, as wide as the longest."""
    font = ImageFont.load_default()
    height = CAPTION_PIXELS * len(caption)
    width = max(picture.width, 90, *(round(font.getlength(line)) + 4 for line in caption))
    tile = Image.new("RGB", (width + 4, height + picture.height + 4), _BACKGROUND)
    tile.paste(picture, (2, height))
    for number, line in enumerate(caption):
        ImageDraw.Draw(tile).text((4, 1 + number * CAPTION_PIXELS), line, fill=_TEXT, font=font)
    return tile


def _prompts_on(sheet: Sheet, index: int) -> list[tuple[SegmentInfo, Prompt]]:
    return [pair for pair in sheet.prompts if pair[1].axis == sheet.axis and pair[1].slice_index == index]


def _outline(mask: np.ndarray) -> np.ndarray:
    """Pixels of a mask with a neighbor outside of it; the border of the picture counts as inside."""
    padded = np.pad(mask, 1, mode="edge")
    inner = padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    return mask & ~inner


def _draw_prompts(
    picture: Image.Image,
    prompts: Sequence[tuple[SegmentInfo, Prompt]],
    plane: SlicePlane,
    rows: slice,
    columns: slice,
) -> None:
    """Draw the prompts of one slice on the picture of its region."""
    draw = ImageDraw.Draw(picture)
    scale = np.array([picture.width / (columns.stop - columns.start), picture.height / (rows.stop - rows.start)])
    for segment, prompt in prompts:
        color = _bytes(segment.color)
        if isinstance(prompt, BoxPrompt):
            pixels = plane.to_pixels(np.array(_corners(prompt))) - (columns.start, rows.start)
            low, high = (pixels.min(axis=0)) * scale, (pixels.max(axis=0) + 1) * scale - 1
            draw.rectangle([*low.tolist(), *high.tolist()], outline=color)
        elif isinstance(prompt, PointPrompt):
            x, y = (
                (plane.to_pixels(np.array([prompt.position]))[0] - (columns.start, rows.start) + 0.5) * scale
            ).tolist()
            draw.ellipse([x - 5, y - 5, x + 5, y + 5], fill=_BACKGROUND, outline=color)
            draw.line([x - 3, y, x + 3, y], fill=color)
            if prompt.positive:
                draw.line([x, y - 3, x, y + 3], fill=color)


def _draw_legend(picture: Image.Image, segments: Sequence[SegmentInfo]) -> None:
    draw, font = ImageDraw.Draw(picture), ImageFont.load_default()
    x = 4.0
    for segment in segments:
        draw.rectangle([x, 10, x + 11, 21], fill=_bytes(segment.color))
        draw.text((x + 16, 10), segment.name, fill=_TEXT, font=font)
        x += 28 + draw.textlength(segment.name, font=font)


def _bytes(color: tuple[float, float, float]) -> tuple[int, int, int]:
    red, green, blue = (round(255 * part) for part in color)
    return red, green, blue
