"""The tables of an ablation: what each arm gains over plain SAM2, on which data, and what the memory policies do.

    python -m SAM2_3dMedLib.training.ablation_table results.jsonl > tables.md

A gain is printed with its spread over seeds and its 95 % bootstrap interval over cases; bold where it is clear
(`ablation_scores.Gain`).
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from .ablation_arms import ARMS, BASELINE, START, AblationRow, Trial
from .ablation_scores import Gain, gain, read_rows, score

_USUAL = Trial()


def page(rows: Sequence[AblationRow]) -> str:
    """All tables as Markdown."""
    parts = []
    for split in dict.fromkeys(row.split for row in rows):
        found = [row for row in rows if row.split == split]
        parts += [f"## Arms, `{split}`\n\n{arms_table(found)}", f"## Memory, `{split}`\n\n{memory_table(found)}"]
    parts += [f"## Gain over {BASELINE} by data set\n\n{dataset_table(rows)}", f"## Cost\n\n{cost_table(rows)}"]
    return "\n".join(parts)


def arms_table(rows: Sequence[AblationRow]) -> str:
    """One split; one box, the bracketed policy."""
    usual = _of_trial(rows, _USUAL)
    baseline = [row for row in usual if row.arm == BASELINE]
    lines = _head("arm", "seeds", "objects", "mean Dice", f"gain over {BASELINE}", "HD95 mm", "worst slice Dice")
    for arm in _arms(usual):
        found = [row for row in usual if row.arm == arm]
        sums, better = score(found), None if arm == BASELINE else gain(found, baseline)
        distance = "-" if sums.hd95_mm is None else f"{sums.hd95_mm:.1f}"
        dice = _with_spread(sums.dice, sums.dice_spread)
        lines.append(
            _line(arm, sums.seeds, sums.objects, dice, _gain(better), distance, f"{sums.worst_slice_dice:.3f}")
        )
    return "\n".join(lines) + "\n"


def memory_table(rows: Sequence[AblationRow]) -> str:
    """One split; the arms that were followed by several policies, against the bracketed one of as many boxes."""
    lines = _head("arm", "boxes", "policy", "mean Dice", "gain over bracketed", "worst slice Dice", "s an object")
    for arm in _arms(rows):
        of_arm = [row for row in rows if row.arm == arm]
        trials = dict.fromkeys((row.boxes, row.policy) for row in of_arm)
        if len(trials) < 2:
            continue
        for boxes, policy in sorted(trials):
            found = [row for row in of_arm if (row.boxes, row.policy) == (boxes, policy)]
            usual = [row for row in of_arm if (row.boxes, row.policy) == (boxes, _USUAL.policy.value)]
            sums, better = score(found), gain(found, usual) if policy != _USUAL.policy.value else None
            dice = _with_spread(sums.dice, sums.dice_spread)
            worst = f"{sums.worst_slice_dice:.3f}"
            lines.append(_line(arm, boxes, policy, dice, _gain(better), worst, f"{sums.seconds:.2f}"))
    return "\n".join(lines) + "\n"


def dataset_table(rows: Sequence[AblationRow]) -> str:
    """Plain SAM2's mean Dice on every data set, and what the other arms gain; one box, the bracketed policy."""
    usual = _of_trial(rows, _USUAL)
    datasets = sorted({(row.split, row.result.dataset) for row in usual})
    lines = _head("arm", *(f"{name} ({split})" for split, name in datasets))
    by_arm = {
        arm: [[row for row in usual if (row.arm, row.split, row.result.dataset) == (arm, *place)] for place in datasets]
        for arm in _arms(usual)
    }
    for arm, parts in by_arm.items():
        if arm == BASELINE:
            cells = [f"{score(part).dice:.3f}" if part else "-" for part in parts]
        else:
            cells = [_brief(gain(part, whole)) for part, whole in zip(parts, by_arm.get(BASELINE, parts), strict=True)]
        lines.append(_line(arm, *cells))
    return "\n".join(lines) + "\n"


def cost_table(rows: Sequence[AblationRow]) -> str:
    """Means over seeds."""
    lines = _head("arm", "s a step", "s to train", "M param. (inference)", "M trained", "GPU GiB")
    for arm in _arms(rows):
        cost = score([row for row in rows if row.arm == arm]).cost
        lines.append(
            _line(
                arm,
                f"{cost.step_seconds:.3f}",
                f"{cost.train_seconds:.0f}",
                f"{cost.parameters / 1e6:.2f}",
                f"{cost.trained_parameters / 1e6:.2f}",
                f"{cost.gpu_gib:.1f}",
            )
        )
    return "\n".join(lines) + "\n"


def _of_trial(rows: Sequence[AblationRow], trial: Trial) -> list[AblationRow]:
    return [row for row in rows if (row.policy, row.boxes) == (trial.policy.value, trial.boxes)]


def _arms(rows: Sequence[AblationRow]) -> list[str]:
    """In the order in which the ablation lists them, whatever order they were finished in."""
    order = [START, *(arm.name for arm in ARMS)]
    return sorted({row.arm for row in rows}, key=order.index)


def _head(*names: str) -> list[str]:
    return [_line(*names), "|" + "---|" + "---:|" * (len(names) - 1)]


def _line(*cells: str | int) -> str:
    return "| " + " | ".join(str(cell) for cell in cells) + " |"


def _with_spread(value: float, spread: float | None, sign: str = "") -> str:
    return f"{value:{sign}.3f}" + (f" ± {spread:.3f}" if spread is not None else "")


def _gain(found: Gain | None) -> str:
    if found is None:
        return "-"
    text = _with_spread(found.mean, found.spread, "+")
    if found.interval is not None:
        text += f" ({found.interval[0]:+.3f} to {found.interval[1]:+.3f})"
    return f"**{text}**" if found.clear else text


def _brief(found: Gain | None) -> str:
    if found is None:
        return "-"
    return f"**{found.mean:+.3f}**" if found.clear else f"{found.mean:+.3f}"


if __name__ == "__main__":
    print(page(read_rows(Path(sys.argv[1]))), end="")
