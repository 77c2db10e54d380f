"""What one run of `evaluate` collects: rows of a table, streamed to disk, and in the end a report on all of them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Generic, TypeVar

from ..propagation.predictor import SlicePredictor
from ..training.evaluation import (
    EvaluationCase,
    ObjectResult,
    SessionSettings,
    VariantResult,
    evaluate_case,
    evaluate_variants,
)
from ..training.protocols import Protocol
from .markdown import pictures
from .output import write_whole
from .plots import plot_clicks, plot_settings, plot_structures
from .summary import markdown_of, summarize
from .tables import write_csv, write_json, write_text
from .variant_summary import markdown_of_variants, summarize_variants
from .worst_cases import WorstCases, WorstTile, draw_worst, worst_of

About = Mapping[str, str | int]
Row = TypeVar("Row", ObjectResult, VariantResult)
_SETTING_LABELS = {
    Protocol.JITTER: "each side of the box moved by up to so many pixels (of 512)",
    Protocol.POINT_POSITION: "where the object is clicked",
    Protocol.OFF_SLICE: "prompted slice: % of the way from the largest slice to the object's end",
}
Share = tuple[dict[int, list[Row]], tuple[WorstTile, ...]]


class Study(ABC, Generic[Row]):
    """Collects the rows of cases by their place in the manifest, whoever evaluated them.

    Attributes:
        stem: file name of the rows, without ending.
        kind: class of the rows.
    """

    stem: str
    kind: type[Row]

    def __init__(self, predictor: SlicePredictor, protocol: Protocol, settings: SessionSettings) -> None:
        """
        Args:
            protocol: one that this kind of study evaluates.
            settings: of the sessions.
        """
        self._predictor, self._protocol, self._settings = predictor, protocol, settings
        self._by_case: dict[int, list[Row]] = {}
        self._tiles: tuple[WorstTile, ...] = ()

    @property
    def rows(self) -> list[Row]:
        """All rows, in the order of the manifest."""
        return [row for number in sorted(self._by_case) for row in self._by_case[number]]

    @property
    def case_count(self) -> int:
        """Cases evaluated, those without any object included."""
        return len(self._by_case)

    @property
    def share(self) -> Share:
        """Everything collected, to be handed to another process."""
        return self._by_case, self._tiles

    def take(self, shares: Iterable[Share]) -> None:
        """Collect what other processes evaluated."""
        for by_case, tiles in shares:
            self._by_case.update(by_case)
            self._tiles = tuple(worst_of({tile.rank: tile for tile in (*self._tiles, *tiles)}.values()))

    def rows_path(self, folder: Path, suffix: str = "") -> Path:
        """The file of the rows in a folder."""
        return folder / f"{self.stem}{suffix}.csv"

    def write_rows(self, path: Path) -> None:
        """Write the rows so far as CSV; the file appears whole. Raises `UserError` when it cannot be written."""
        write_csv(path, self.kind, self.rows)

    @abstractmethod
    def evaluate(self, number: int, case: EvaluationCase) -> None:
        """Evaluate a case; `number` is its place in the manifest. Raises as `training.evaluation.evaluate_case`."""

    @abstractmethod
    def write_report(self, folder: Path, about: About) -> str:
        """Write tables and pictures of at least one row; the Markdown text for a reader without the pictures.

        Raises:
            UserError: a file cannot be written.
        """


class ObjectStudy(Study[ObjectResult]):
    """Box, point, or box and corrections: one row an object."""

    stem, kind = "objects", ObjectResult

    def evaluate(self, number: int, case: EvaluationCase) -> None:
        worst = WorstCases(self._tiles)
        rows = []
        for evaluation in evaluate_case(self._predictor, case, self._protocol, self._settings):
            rows.append(evaluation.result)
            worst.offer(number, evaluation)
        self._by_case[number], self._tiles = rows, worst.tiles

    def write_report(self, folder: Path, about: About) -> str:
        rows = self.rows
        summary = summarize(rows, about)
        self.write_rows(self.rows_path(folder))
        write_json(folder / "summary.json", summary)
        plot_structures(folder / "dice.png", rows, summary)
        names = ["dice.png"]
        if self._protocol is Protocol.CORRECTIONS:
            plot_clicks(folder / "clicks.png", summary)
            names.append("clicks.png")
        sheet = draw_worst(self._tiles)
        write_whole(folder / "worst.png", lambda path: sheet.save(path, format="PNG"))
        page = markdown_of(summary)
        write_text(folder / "summary.md", page + pictures([*names, "worst.png"]))
        return page


class VariantStudy(Study[VariantResult]):
    """Every object under several settings of its prompt: one row an object and setting, in files of the protocol."""

    kind = VariantResult

    def __init__(self, predictor: SlicePredictor, protocol: Protocol, settings: SessionSettings) -> None:
        super().__init__(predictor, protocol, settings)
        self.stem = protocol.value

    def evaluate(self, number: int, case: EvaluationCase) -> None:
        rows = evaluate_variants(self._predictor, case, self._protocol, self._settings)
        self._by_case[number] = list(rows)

    def write_report(self, folder: Path, about: About) -> str:
        rows = self.rows
        summary = summarize_variants(rows, self._protocol, about)
        self.write_rows(self.rows_path(folder))
        write_json(folder / f"{self.stem}.json", summary)
        plot_settings(folder / f"{self.stem}.png", summary, _SETTING_LABELS[self._protocol])
        page = markdown_of_variants(summary, self._protocol)
        write_text(folder / f"{self.stem}.md", page + pictures([f"{self.stem}.png"]))
        return page


def study_of(predictor: SlicePredictor, protocol: Protocol, settings: SessionSettings) -> ObjectStudy | VariantStudy:
    """The study for a protocol."""
    kind = VariantStudy if protocol.varies_prompt else ObjectStudy
    return kind(predictor, protocol, settings)
