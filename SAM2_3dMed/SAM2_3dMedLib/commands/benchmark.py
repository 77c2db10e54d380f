"""`sam2-3dmed benchmark`: our session beside `SAM2VideoPredictor`, in one process; also `python -m
SAM2_3dMedLib.commands.benchmark` on a machine that has torch, numpy and sam2 and nothing else.
"""

from __future__ import annotations

import argparse
import platform
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

import torch

from ..network.config import SIZE_NAMES
from ..propagation.predictor import SlicePredictor, best_device
from .benchmark_cost import CostAxis, CostPoint, cost_of_span
from .benchmark_measures import Measurement, Subject, device_name, measure
from .benchmark_report import Report, json_of, markdown_of, plot_of
from .benchmark_scene import Scene, file_scene, phantom_scene, random_network, trained_network
from .engine import Device
from .errors import BAD_INPUT, UserError, sentence_for
from .output import require_writable, write_whole

PRECISIONS = {"auto": None, "float32": torch.float32, "bfloat16": torch.bfloat16}
BUNDLED_SIZE = "nano"


@dataclass(frozen=True)
class BenchmarkRequest:
    """What `benchmark` was asked for; every combination is measured.

    Attributes:
        output: folder for benchmark.md, benchmark.json and cost.svg.
        weights: a trained network beside those of `sizes`, or None.
        sizes: `nano` has the bundled weights, the others random ones.
        image_sizes: input sides in pixels; None is the network's own.
        slices: of the phantom; without effect for an image.
        side: rows and columns of the phantom.
        image: a volume file instead of the phantom.
        box: corners of a box on one K slice of the image, six voxel numbers as text; None: where organs often are.
        dtype: a key of `PRECISIONS`.
        reference_dtype: likewise, of the reference; "auto" is the same as ours.
        spans: slices that an object spans, for the plot of cost; empty: no plot.
        with_reference: run `SAM2VideoPredictor` too.
    """

    output: Path
    weights: str | None = None
    sizes: tuple[str, ...] = ()
    image_sizes: tuple[int | None, ...] = (None,)
    slices: tuple[int, ...] = (60,)
    side: int = 512
    image: Path | None = None
    box: str | None = None
    device: Device = Device.AUTO
    dtype: str = "auto"
    reference_dtype: str = "auto"
    repeats: int = 3
    spans: tuple[int, ...] = ()
    with_reference: bool = True


def run_benchmark(request: BenchmarkRequest, command: str, show: Callable[[str], None]) -> Report:
    """Measure and write; what is done stands in the files even if a later part fails.

    Args:
        command: as the user gave it, for the report.
        show: gets one line for each measurement.

    Raises:
        UserError, VolumeError, WeightsError, CheckpointError: input that cannot be used, in one sentence.
    """
    _check(request)
    require_writable(request.output)
    scenes = [file_scene(request.image, request.box)] if request.image is not None else None
    about = _about(command, request)
    measurements: list[Measurement] = []
    cost: tuple[CostPoint, ...] = ()
    cost_network = ""
    report = Report(about, ())
    for subject in _subjects(request):
        for scene in scenes or (phantom_scene(count, request.side) for count in request.slices):
            measurements.append(measure(subject, scene, request.repeats, request.with_reference))
            report = Report(about, tuple(measurements), cost, cost_network)
            _write(request.output, report, request.device)
            show(_line(measurements[-1]))
        if request.spans and not cost:
            cost, cost_network = _cost(subject, request, scenes)
            report = Report(about, tuple(measurements), cost, cost_network)
            _write(request.output, report, request.device)
            show(f"cost against slices spanned: {cost_network}")
    return report


def _check(request: BenchmarkRequest) -> None:
    unknown = [size for size in request.sizes if size not in SIZE_NAMES]
    if unknown:
        raise UserError(f"There is no network size '{unknown[0]}'; choose from {', '.join(SIZE_NAMES)}.")
    for dtype in (request.dtype, request.reference_dtype):
        if dtype not in PRECISIONS:
            raise UserError(f"The precision '{dtype}' is not known; choose from {', '.join(PRECISIONS)}.")
    if request.repeats < 1:
        raise UserError("Nothing is measured with less than one repeat; give --repeats 1 or more.")
    if any(count < 4 for count in (*request.slices, request.side // 16)):
        raise UserError("The phantom needs at least 4 slices and 64 rows; give larger --slices or --side.")
    if any(size is not None and (size < 64 or size % 32) for size in request.image_sizes):
        raise UserError("The network's input must be a multiple of 32 and at least 64; give --image-size 512 or 1024.")
    if any(not 1 <= span <= max(request.slices) for span in request.spans):
        raise UserError(f"An object spans 1 to {max(request.slices)} slices here; give other --spans or more --slices.")
    if request.box is not None and request.image is None:
        raise UserError("A box belongs to an image; give --image too, or leave --box out.")
    if request.device is Device.CUDA and not torch.cuda.is_available():
        raise UserError("This torch sees no CUDA device; use --device auto, or install a torch that fits the driver.")
    if request.device is Device.MPS and not torch.backends.mps.is_available():
        raise UserError("This torch sees no Apple GPU; use --device auto.")


def _subjects(request: BenchmarkRequest) -> Iterator[Subject]:
    """One network at a time: large ones at once would not leave the memory as it is in use."""
    computing = request.device.value, PRECISIONS[request.dtype], PRECISIONS[request.reference_dtype]
    for image_size in request.image_sizes:
        if request.weights is not None or not request.sizes:
            network, name = trained_network(request.weights, image_size)
            yield Subject(network, name, *computing)
        for size in request.sizes:
            if size == BUNDLED_SIZE:
                network, name = trained_network(None, image_size)
            else:
                network, name = random_network(size, image_size), "random"
            yield Subject(network, name, *computing)


def _cost(
    subject: Subject, request: BenchmarkRequest, scenes: Sequence[Scene] | None
) -> tuple[tuple[CostPoint, ...], str]:
    predictor = SlicePredictor(subject.network, subject.device, subject.dtype)
    points: list[CostPoint] = []
    for scene in scenes or (phantom_scene(count, request.side) for count in request.slices):
        spans = [span for span in request.spans if span <= scene.slice_count]
        cost_of_span(predictor, scene, min(spans, default=1), 1)  # warm-up
        points += [cost_of_span(predictor, scene, span, request.repeats) for span in spans]
    name = f"{subject.network.config.name} at {subject.network.image_size} px, {device_name(predictor.device)}"
    return tuple(points), name


def _write(folder: Path, report: Report, device: Device) -> None:
    texts = {"benchmark.md": markdown_of(report), "benchmark.json": json_of(report)}
    if report.cost:
        axis = CostAxis.on(_device(device))
        texts["cost.svg"] = plot_of(report.cost, f"Cost of a propagation: {report.cost_network}", axis)
    for name, text in texts.items():
        write_whole(folder / name, lambda path, text=text: path.write_text(text, "utf-8"))


def _line(entry: Measurement) -> str:
    steps = ", ".join(
        f"{step.step}: {1000 * step.ours.wall:.1f} ms" + (f" ({step.factor:.1f} x)" if step.factor is not None else "")
        for step in entry.steps
    )
    return f"{entry.network} {entry.image_size} px, {entry.volume}, {entry.dtype}: {steps}"


def _about(command: str, request: BenchmarkRequest) -> dict[str, str]:
    return {
        "device": device_name(_device(request.device)),
        "machine": f"{platform.system()} {platform.machine()}, {_processor()}, {torch.get_num_threads()} threads",
        "torch": torch.__version__,
        "date": datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
        "commit": _commit(),
        "command": command,
        "repeats": str(request.repeats),
    }


def _device(chosen: Device) -> torch.device:
    return best_device() if chosen is Device.AUTO else torch.device(chosen.value)


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text("utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or "unknown processor"


def _commit() -> str:
    """The commit of this checkout, '+' when it has been changed since; 'unknown' outside of one."""
    here = Path(__file__).parent
    try:
        head, changes = (
            subprocess.run(["git", *words], cwd=here, capture_output=True, text=True, check=True, timeout=20).stdout
            for words in (["rev-parse", "--short", "HEAD"], ["status", "--porcelain", "-uno", "--", "."])
        )
    except (OSError, subprocess.SubprocessError):
        return "unknown"
    return head.strip() + ("+" if changes.strip() else "")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="benchmark", description=__doc__)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--weights")
    parser.add_argument("--size", action="append", default=[])
    parser.add_argument("--image-size", action="append", type=int, default=[])
    parser.add_argument("--slices", action="append", type=int, default=[])
    parser.add_argument("--side", type=int, default=BenchmarkRequest.side)
    parser.add_argument("--image", type=Path)
    parser.add_argument("--box")
    parser.add_argument("--device", type=Device, choices=list(Device), default=Device.AUTO)
    parser.add_argument("--dtype", default=BenchmarkRequest.dtype)
    parser.add_argument("--reference-dtype", default=BenchmarkRequest.reference_dtype)
    parser.add_argument("--repeats", type=int, default=BenchmarkRequest.repeats)
    parser.add_argument("--span", action="append", type=int, default=[])
    parser.add_argument("--no-reference", action="store_true")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """The command without typer and rich; the exit code."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    options = _parser().parse_args(words)
    standard = BenchmarkRequest
    request = BenchmarkRequest(
        output=options.output,
        weights=options.weights,
        sizes=tuple(options.size),
        image_sizes=tuple(options.image_size) or standard.image_sizes,
        slices=tuple(options.slices) or standard.slices,
        side=options.side,
        image=options.image,
        box=options.box,
        device=options.device,
        dtype=options.dtype,
        reference_dtype=options.reference_dtype,
        repeats=options.repeats,
        spans=tuple(options.span),
        with_reference=not options.no_reference,
    )
    try:
        report = run_benchmark(request, " ".join(["benchmark", *words]), lambda line: print(line, file=sys.stderr))
    except Exception as error:
        sentence = sentence_for(error)
        if sentence is None:
            raise
        print(sentence, file=sys.stderr)
        return BAD_INPUT
    print(markdown_of(report))
    return 0


if __name__ == "__main__":
    sys.exit(main())
