"""The benchmark's results as Markdown, JSON and a plot (SVG, written as text: a bare GPU machine draws nothing)."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from .benchmark_clock import Seconds
from .benchmark_cost import CostAxis, CostPoint
from .benchmark_measures import PROPAGATION, Measurement, Memory, StepTime


@dataclass(frozen=True)
class Report:
    """All results of a run, and where they come from.

    Attributes:
        about: machine, date, commit, command and so on, in the order to print.
        cost: seconds against slices spanned by the object; may be empty.
        cost_network: what `cost` was measured with.
    """

    about: dict[str, str]
    measurements: tuple[Measurement, ...]
    cost: tuple[CostPoint, ...] = ()
    cost_network: str = ""


def json_of(report: Report) -> str:
    """Everything, times in seconds and memory in bytes."""
    return json.dumps(asdict(report), indent=2, allow_nan=False) + "\n"


def markdown_of(report: Report) -> str:
    """Tables for people."""
    lines = ["# Benchmark: VolumeSession beside SAM2VideoPredictor", ""]
    lines += [f"- {name}: {value}" for name, value in report.about.items()]
    lines += [
        "",
        "Medians after one warm-up turn, both in one process, taking turns; 'predictor' is sam2's SAM2VideoPredictor "
        "with the same weights and prepared images (preparing them, part of its opening, is not counted). "
        "Both follow the object to both ends of the volume. Agreement: plain SAM2 in both, SAM2's memory policy, one "
        "box. Weights 'random': no anatomy, but the same work, and masks that two implementations must agree on.",
    ]
    for entry in report.measurements:
        lines += ["", *_section(entry)]
    if report.cost:
        lines += ["", "## Cost against slices spanned by the object", "", f"{report.cost_network}; see cost.svg.", ""]
        lines += ["| volume's slices | spanned | s | s of processors | slices encoded |", "|---:|---:|---:|---:|---:|"]
        lines += [
            f"| {p.slices} | {p.spanned} | {p.seconds.wall:.2f} | {p.seconds.processor:.2f} | {p.encoded} |"
            for p in report.cost
        ]
    return "\n".join(lines) + "\n"


def _section(entry: Measurement) -> list[str]:
    lines = [
        f"## {entry.network} at {entry.image_size} px ({entry.weights}), {entry.volume}, {entry.device}",
        "",
        f"| step | ours ({entry.dtype}) | predictor ({entry.reference_dtype}) | times faster | times less processor |",
        "|---|---:|---:|---:|---:|",
    ]
    lines += [_step_row(step) for step in entry.steps]
    whole = next(step for step in entry.steps if step.step == PROPAGATION)
    lines.append(
        f"| full propagation, a slice | {_milliseconds(whole.ours, entry.slices)} "
        f"| {_milliseconds(whole.reference, entry.slices)} | | |"
    )
    theirs = entry.reference_memory
    lines.append(f"| peak memory, host | {_gigabytes(entry.memory.host)} | {_host(theirs)} | | |")
    lines.append(f"| peak memory, device | {_gigabytes(entry.memory.device)} | {_device(theirs)} | | |")
    lines += ["", f"Features kept at the end: {_gigabytes(entry.cached_bytes)}. {entry.tracking}".rstrip()]
    if entry.warm_up_seconds >= 0.1:
        lines.append(
            f"Prepared before the first click, while the user looks at the image: {entry.warm_up_seconds:.1f} s."
        )
    if entry.agreement is not None:
        found = entry.agreement
        lines += [
            "",
            f"Agreement with the predictor: Dice {found.dice:.5f}, worst slice {found.worst_slice_dice:.5f} "
            f"(foreground {found.foreground:.1%}), logits differ by {found.logit_error:.2e} of their spread.",
        ]
    return lines


def _step_row(step: StepTime) -> str:
    times = f"{_milliseconds(step.ours)} | {_milliseconds(step.reference)}"
    return f"| {step.step} | {times} | {_factor(step.factor)} | {_factor(step.processor_factor)} |"


def _factor(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}"


def _milliseconds(seconds: Seconds | None, shared_by: int = 1) -> str:
    return "-" if seconds is None else f"{1000 * seconds.wall / shared_by:.2f} ms"


def _gigabytes(count: int | None) -> str:
    return "-" if count is None else f"{count / 2**30:.2f} GB"


def _host(memory: Memory | None) -> str:
    return "-" if memory is None else _gigabytes(memory.host)


def _device(memory: Memory | None) -> str:
    return "-" if memory is None else _gigabytes(memory.device)


_COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7")
_WIDTH, _HEIGHT, _LEFT, _BOTTOM, _TOP, _RIGHT = 640, 400, 70, 50, 30, 150


def plot_of(points: Sequence[CostPoint], title: str, axis: CostAxis) -> str:
    """Seconds against slices spanned, one line for each volume's number of slices, as an SVG picture."""
    lines: dict[int, list[CostPoint]] = defaultdict(list)
    for point in points:
        lines[point.slices].append(point)
    widest, longest = max(p.spanned for p in points), max(axis.of(p.seconds) for p in points)

    def place(spanned: float, seconds: float) -> tuple[float, float]:
        x = _LEFT + spanned / widest * (_WIDTH - _LEFT - _RIGHT)
        y = _HEIGHT - _BOTTOM - seconds / longest * (_HEIGHT - _BOTTOM - _TOP)
        return round(x, 1), round(y, 1)

    left, bottom = place(0, 0)
    right, top = place(widest, longest)
    drawn = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{_HEIGHT}" font-family="sans-serif" '
        'font-size="13">',
        f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="white"/>',
        f'<text x="{left}" y="18">{title}</text>',
        f'<path d="M{left},{top} V{bottom} H{right}" fill="none" stroke="black"/>',
        _text((left + right) / 2, _HEIGHT - 12, "slices spanned by the object", "middle"),
        _text(left, bottom + 18, "0", "middle"),
        _text(right, bottom + 18, str(widest), "middle"),
        _text(left - 8, bottom, "0 s", "end"),
        _text(left + 8, top + 5, f"{longest:.2f} {axis.value}", "start"),
    ]
    for number, (slices, line) in enumerate(sorted(lines.items())):
        color = _COLORS[number % len(_COLORS)]
        places = [place(p.spanned, axis.of(p.seconds)) for p in sorted(line, key=lambda p: p.spanned)]
        path = " ".join(f"{x},{y}" for x, y in places)
        drawn.append(f'<polyline points="{path}" fill="none" stroke="{color}" stroke-width="2"/>')
        drawn += [f'<circle cx="{x}" cy="{y}" r="4" fill="{color}"/>' for x, y in places]
        drawn.append(f'<text x="{right + 12}" y="{top + 20 * number + 10}" fill="{color}">{slices} slices</text>')
    return "\n".join([*drawn, "</svg>"]) + "\n"


def _text(x: float, y: float, words: str, anchor: str) -> str:
    return f'<text x="{x}" y="{y}" text-anchor="{anchor}">{words}</text>'
