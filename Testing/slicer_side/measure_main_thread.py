"""How long one portion of work holds the main thread: a script, not a test, since it is about times.

    .venv-slicer/bin/python Testing/slicer_side/measure_main_thread.py [--shape 300 512 512] [--views 3]

Real MRML scene, segment editor logic, offscreen slice views and messages; the masks come from a stand-in for the model.
Slicer's drawing of the views and the 3D surface are not in it. For each kind of portion: how many, the longest by the
wall clock, and the longest by this thread's own processor time, which other programs on the computer cannot lengthen.
"""

from __future__ import annotations

import argparse
import functools
import time
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from SAM2_3dMedLib.slicer_side import engine_settings, scheduling
from SAM2_3dMedLib.slicer_side.client_outbox import Outbox
from SAM2_3dMedLib.worker import messages as m
from SAM2_3dMedLib.worker.array_file import ArrayFolder
from stand_in_worker import StandInWorker
from tool_bench import ToolBench

LIMIT_MS = 50.0


@dataclass
class Portions:
    """Durations (ms) of the portions of one kind: by the wall clock, and of this thread alone."""

    wall: list[float] = field(default_factory=list)
    own: list[float] = field(default_factory=list)


class Stopwatch:
    def __init__(self) -> None:
        self.kinds: dict[str, Portions] = defaultdict(Portions)
        self.prefix = ""

    def timed(self, kind: str, work):
        """`work()`, and how long it took under this name."""
        begin, begin_own = time.perf_counter(), time.thread_time()
        try:
            return work()
        finally:
            portions = self.kinds[f"{self.prefix}{kind}"]
            portions.wall.append(1000 * (time.perf_counter() - begin))
            portions.own.append(1000 * (time.thread_time() - begin_own))

    def report(self) -> None:
        print(f"{'portion':58} {'count':>6} {'longest ms':>11} {'own ms':>8}")
        for kind, portions in sorted(self.kinds.items(), key=lambda item: -max(item[1].own)):
            late = "  <-- over the limit" if max(portions.own) > LIMIT_MS else ""
            print(f"{kind:58} {len(portions.own):6d} {max(portions.wall):11.1f} {max(portions.own):8.1f}{late}")


def name_of(callback) -> str:
    """The method behind a callback: `WriteQueue._turn`."""
    while isinstance(callback, functools.partial):
        callback = callback.func
    return callback.__qualname__.replace(".<locals>", "").replace(".<lambda>", "")


class Worker(StandInWorker):
    """Its answers come as lines, so that reading them is part of the time."""

    def _send(self, event) -> None:
        super()._send(m.parse_line(event.to_line()) if isinstance(event, m.Message) else event)


def bench_with(stopwatch: Stopwatch, shape: tuple[int, int, int]) -> ToolBench:
    class Scheduler(scheduling.ManualScheduler):
        def call_later(self, milliseconds, callback):
            super().call_later(milliseconds, lambda: stopwatch.timed(name_of(callback), callback))

    import tool_bench

    tool_bench.ManualScheduler = Scheduler
    engine_settings.EngineSettings.weights = property(lambda self: Path("stand-in"))
    array = np.random.default_rng(0).integers(-1000, 1000, shape, dtype=np.int16)
    return ToolBench(lambda scheduler: Worker(scheduler, radius=90.0), array=array)


def measure(shape: tuple[int, int, int], orientations: tuple[str, ...]) -> Stopwatch:
    stopwatch = Stopwatch()
    bench = bench_with(stopwatch, shape)
    controller, center = bench.controller, (shape[2] // 2, shape[1] // 2, shape[0] // 2)
    user = stopwatch.timed
    write = controller._queue._work
    controller._queue._work = lambda item: user(f"  {type(item).__name__} of {item.job.kind.name}", lambda: write(item))
    user("user: the effect is activated", bench.activate)
    for orientation in orientations:
        bench.add_view(orientation, bench.world(*center))
    user("the views are drawn over", bench.session.refresh_views)
    bench.run()
    outbox = Outbox(ArrayFolder(), iter(range(1, 1000)).__next__)
    user("the file for the volume is made", lambda: outbox.add_volume(controller.source))
    while outbox.upload is not None:
        user("a step of handing the volume over", outbox.upload_step)
    outbox._folder.close()

    view = bench.views["Axial"]
    place = view.display_position(bench.world(*center))
    user("user: click", lambda: view.click(*place))
    bench.run(timeout_s=300)
    middle = (max(0, center[2] - 25), min(shape[0], center[2] + 25) - 1)  # 50 slices: each is a portion of its own
    for name, masked in (("", False), ("masked: ", True)):
        stopwatch.prefix = name
        if masked:
            bench.editor.SetMaskMode(bench.segmentation.EditAllowedOutsideAllSegments)
            bench.editor.SetSelectedSegmentID("B")
            bench.run()
            user("user: click", lambda: view.click(place[0] + 60, place[1]))
            bench.run(timeout_s=300)
        controller.slice_range = middle
        user("user: propagate", controller.propagate)
        bench.run(timeout_s=900)
        user("user: refine all slices", lambda: controller.refine(2, None))
        bench.run(timeout_s=900)
        user("user: Ctrl+Z", bench.target.undo)
        bench.run(timeout_s=300)
        user("user: Ctrl+Y", bench.target.redo)
        bench.run(timeout_s=300)
    stopwatch.prefix = ""
    bench.editor.SetMaskMode(bench.segmentation.EditAllowedEverywhere)
    for number in range(10):
        user("user: one more click", lambda n=number: view.click(place[0] - 50 + 9 * n, place[1] + 40))
        bench.run(timeout_s=300)
    user("user: a slice is shown", lambda: view.node.JumpSliceByOffsetting(*bench.world(*center[:2], center[2] + 1)))
    for orientation in orientations:
        shown = bench.as_slice_view(bench.views[orientation])
        user("a view is drawn over again", lambda s=shown: bench.session.redraw(s))
    masks = {index: controller_mask(controller, index) for index in range(shape[0])}
    line = functools.partial(refine_line, masks)
    user("300 masks as one request", line)
    bench.editor.SetSelectedSegmentID("A")
    user("user: another segment", controller.refresh_context)
    bench.run(timeout_s=300)
    user("user: the effect is left", bench.leave)
    bench.run(timeout_s=300)
    return stopwatch


def controller_mask(controller, index: int) -> m.MaskCrop:
    node, key = controller.segmentation_node, controller.key
    return m.MaskCrop.of(controller._writer.slice_mask(node, key.segment_id, controller.source, 2, index))


def refine_line(masks) -> str:
    slices = tuple(m.IndexedMask(index, mask) for index, mask in masks.items())
    return m.RefineBoundary(1, "volume", "object", 2, slices).to_line()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--shape", type=int, nargs=3, default=(300, 512, 512), help="slices, rows, columns")
    parser.add_argument("--views", type=int, default=3, help="slice views that are drawn over (1 to 3)")
    arguments = parser.parse_args()
    measure(tuple(arguments.shape), ("Axial", "Sagittal", "Coronal")[: arguments.views]).report()


if __name__ == "__main__":
    main()
