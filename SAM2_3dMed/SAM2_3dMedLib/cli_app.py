"""The options of `sam2-3dmed`; each command lives in `commands/`.

The commands are imported when they are called: torch takes seconds, and `--help` must not.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from .cli_models import models_app
from .cli_names import DeviceName, FieldName, MemoryName, ProtocolName
from .commands.errors import BAD_INPUT
from .commands.termination import termination_raises

app = typer.Typer(
    name="sam2-3dmed",
    help="Interactive 3D segmentation of CT and MR: a box or a click on one slice becomes a 3D segmentation.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.add_typer(models_app, name="models")


def _tell_version(wanted: bool) -> None:
    if not wanted:
        return
    from importlib.metadata import PackageNotFoundError, version

    try:
        print(f"sam2-3dmed {version('sam2-3dmed')}")
    except PackageNotFoundError:  # run from a folder of sources
        print("sam2-3dmed, not installed")
    raise typer.Exit


@app.callback()
def _before_all(
    version: Annotated[
        bool, typer.Option("--version", callback=_tell_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """What stands before the commands."""


def _named(text: str) -> Path:
    """A path that was given: an empty name, as of a variable of the shell that is not set, would be this folder."""
    if not text:
        raise typer.BadParameter("the name is empty; give a file, or a folder of DICOM slices.")
    return Path(text)


WeightsOption = Annotated[
    str | None, typer.Option(metavar="FILE|NAME", help="Weight file or name of a model; default: the bundled one.")
]
DeviceOption = Annotated[DeviceName, typer.Option(help="Where the network runs.")]
WindowOption = Annotated[
    str, typer.Option(help="Intensity window: auto, a name such as abdomen or lung, or CENTER/WIDTH.")
]


@app.command()
def segment(
    image: Annotated[
        Path, typer.Argument(metavar="IMAGE", parser=_named, help="NIfTI, NRRD, MHA, or a folder of DICOM files.")
    ],
    output: Annotated[Path, typer.Option(metavar="FILE", readable=False, help="Result: *.seg.nrrd or *.nii.gz.")],
    point: Annotated[
        list[str] | None, typer.Option(metavar="[NAME=]I,J,K", help="A click inside the object; may repeat.")
    ] = None,
    negative: Annotated[
        list[str] | None, typer.Option(metavar="[NAME=]I,J,K", help="A click outside the object; may repeat.")
    ] = None,
    box: Annotated[
        list[str] | None,
        typer.Option(metavar="[NAME=]I1,J1,K1,I2,J2,K2", help="A box, flat along one axis; may repeat."),
    ] = None,
    prompts: Annotated[Path | None, typer.Option(metavar="FILE.json", help="Prompts of several objects.")] = None,
    color: Annotated[
        list[str] | None, typer.Option(metavar="[NAME=]#RRGGBB", help="Color of an object; may repeat.")
    ] = None,
    ras: Annotated[bool, typer.Option("--ras", help="Positions are R,A,S in millimeters instead of voxels.")] = False,
    axis: Annotated[
        str, typer.Option(help="Axis of points: auto (acquired slices), I, J, K, axial, coronal or sagittal.")
    ] = "auto",
    window: WindowOption = "auto",
    slice_range: Annotated[
        str | None, typer.Option(metavar="FIRST:LAST", help="Do not leave these slices, both included.")
    ] = None,
    weights: WeightsOption = None,
    device: DeviceOption = DeviceName.AUTO,
    picture: Annotated[
        Path | None,
        typer.Option(metavar="FILE.png", readable=False, help="Contact sheet; default: beside the output."),
    ] = None,
) -> None:
    """Segment objects of a volume from points and boxes. Voxel indices are those that Slicer shows."""
    from .commands.engine import Device
    from .commands.prompt_options import PromptText
    from .commands.segment import SegmentRequest, run_segment

    text = PromptText(point or (), negative or (), box or (), color or (), prompts, ras)
    request = SegmentRequest(image, output, text, weights, axis, window, Device(device.value), slice_range, picture)
    with termination_raises():
        outcome = run_segment(request, _progress_console())
    for part, mask in zip(outcome.segments, outcome.masks, strict=True):
        voxels, milliliters = outcome.size_of(mask)
        print(f"{part.name}: {voxels} voxels, {milliliters:.1f} ml")
    print(f"segmentation: {outcome.output}")
    print(f"picture: {outcome.picture}")


@app.command()
def evaluate(
    manifest: Annotated[Path, typer.Option(metavar="CSV", help="Table of cases; columns as in the data manifest.")],
    root: Annotated[Path, typer.Option(metavar="DIR", help="Folder that the manifest's paths start from.")],
    output: Annotated[Path, typer.Option(metavar="DIR", help="Folder for tables (CSV, JSON, Markdown) and pictures.")],
    protocol: Annotated[ProtocolName, typer.Option(help="How the simulated user prompts.")] = ProtocolName.BOX,
    weights: WeightsOption = None,
    split: Annotated[str | None, typer.Option(help="Only cases of this split.")] = None,
    dataset: Annotated[str | None, typer.Option(help="Only cases of this data set.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="At most so many cases of each data set.")] = None,
    window: WindowOption = "auto",
    memory: Annotated[MemoryName, typer.Option(help="Which earlier slices a slice sees.")] = MemoryName.BRACKETED,
    field: Annotated[
        FieldName, typer.Option(help="Small objects through a field of view of their own, or all on whole slices.")
    ] = FieldName.NEAR,
    device: DeviceOption = DeviceName.AUTO,
) -> None:
    """Measure a model on labeled volumes with simulated prompts: Dice, IoU, HD95, NSD, worst slice, seconds.

    `jitter`, `point-position` and `off-slice` prompt every object less and less carefully. Several GPUs: torchrun.
    """
    from .commands.engine import Device
    from .commands.evaluate import EvaluateRequest, run_evaluate
    from .propagation.policy_choice import PolicyChoice
    from .propagation.zoom import FieldChoice
    from .training.protocols import Protocol

    request = EvaluateRequest(
        manifest=manifest,
        root=root,
        output=output,
        protocol=Protocol(protocol.value),
        weights=weights,
        split=split,
        dataset=dataset,
        limit=limit,
        window=window,
        memory=PolicyChoice(memory.value),
        field=FieldChoice(field.value),
        device=Device(device.value),
    )
    with termination_raises():
        page = run_evaluate(request, _progress_console())
    if page is not None:  # the first of several processes
        print(page)
        print(f"tables: {output}")


@app.command()
def benchmark(
    output: Annotated[Path, typer.Option(metavar="DIR", help="Folder for benchmark.md, benchmark.json, cost.svg.")],
    weights: WeightsOption = None,
    size: Annotated[
        list[str] | None, typer.Option(help="nano (bundled weights), tiny, large ... (random weights); may repeat.")
    ] = None,
    image_size: Annotated[
        list[int] | None, typer.Option(help="Network input in pixels, 512 or 1024; may repeat.")
    ] = None,
    slices: Annotated[list[int] | None, typer.Option(help="Slices of the phantom, default 60; may repeat.")] = None,
    side: Annotated[int, typer.Option(help="Rows and columns of the phantom.")] = 512,
    image: Annotated[Path | None, typer.Option(metavar="IMAGE", help="A volume instead of the phantom.")] = None,
    box: Annotated[
        str | None, typer.Option(metavar="I1,J1,K,I2,J2,K", help="The box on the image; default: a guess.")
    ] = None,
    device: DeviceOption = DeviceName.AUTO,
    dtype: Annotated[str, typer.Option(help="auto, float32 or bfloat16.")] = "auto",
    reference_dtype: Annotated[str, typer.Option(help="The same of SAM2VideoPredictor; auto is ours.")] = "auto",
    repeats: Annotated[int, typer.Option(min=1, help="Turns after the warm-up; medians are given.")] = 3,
    span: Annotated[
        list[int] | None, typer.Option(help="Slices an object spans, for the plot of cost; may repeat.")
    ] = None,
    reference: Annotated[bool, typer.Option(help="Run SAM2VideoPredictor beside it.")] = True,
) -> None:
    """Measure speed, memory and agreement beside SAM2VideoPredictor, in one process."""
    from .commands.benchmark import BenchmarkRequest, run_benchmark
    from .commands.benchmark_report import markdown_of
    from .commands.engine import Device

    request = BenchmarkRequest(
        output=output,
        weights=weights,
        sizes=tuple(size or ()),
        image_sizes=tuple(image_size or BenchmarkRequest.image_sizes),
        slices=tuple(slices or BenchmarkRequest.slices),
        side=side,
        image=image,
        box=box,
        device=Device(device.value),
        dtype=dtype,
        reference_dtype=reference_dtype,
        repeats=repeats,
        spans=tuple(span or ()),
        with_reference=reference,
    )
    console = _progress_console()
    command = " ".join(["sam2-3dmed", *sys.argv[1:]])
    with termination_raises():
        report = run_benchmark(request, command, lambda line: console.print(line, markup=False, soft_wrap=True))
    print(markdown_of(report))
    print(f"tables: {output}")


@app.command()
def demo(
    output: Annotated[Path, typer.Option(metavar="DIR", help="Folder for the results.")] = Path("output"),
    weights: WeightsOption = None,
) -> None:
    """Segment two organs of the bundled CT and compare them with the reference."""
    from .commands.demo import run_demo

    with termination_raises():
        outcome, scores, seconds = run_demo(output, weights, _progress_console())
    print(f"segmentation: {outcome.output.resolve()}")
    print(f"picture: {outcome.picture.resolve()}")
    for score in scores:
        print(f"Dice of the {score.name} against the reference: {score.dice:.3f}")
    print(f"{seconds:.0f} s, {outcome.model}")


@app.command()
def train(
    config: Annotated[
        str,
        typer.Argument(
            metavar="CONFIG", help="YAML file, or a recipe's name: finetune, msd_spleen ... (docs/training.md)."
        ),
    ],
    output: Annotated[Path, typer.Option(metavar="DIR", help="Folder of the packed data and of the runs, one a fold.")],
    data: Annotated[
        Path | None,
        typer.Option(metavar="PATH", help="MSD or nnU-Net folder, tar of one, or manifest; instead of the file's."),
    ] = None,
    fold: Annotated[int | None, typer.Option(min=0, max=4, help="Which fold validates; instead of the file's.")] = None,
    weights: Annotated[
        str | None, typer.Option(metavar="FILE|NAME", help="What to start from: ours, SAM 2.1, MedSAM2, or 'default'.")
    ] = None,
    minutes: Annotated[float | None, typer.Option(min=0.1, help="Stop and save after so many minutes.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run in the output folder.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check data, memory and speed in a minute.")] = False,
    device: DeviceOption = DeviceName.AUTO,
) -> None:
    """Train on labeled volumes and evaluate on the held-out fold. Several GPUs: torchrun -m SAM2_3dMedLib.cli train."""
    from .commands.engine import Device
    from .commands.train import TrainRequest, run_dry, run_train

    request = TrainRequest(config, output, data, fold, weights, minutes, resume, Device(device.value))
    with termination_raises():
        if dry_run:
            found = run_dry(request)
            print("\n".join(found.lines()))
            raise typer.Exit(0 if found.fits else BAD_INPUT)
        outcome = run_train(request, _progress_console())
    if outcome.first:
        print("\n".join(outcome.lines()))


def _progress_console() -> Console:
    return Console(stderr=True)
