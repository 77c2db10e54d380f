"""A session whose masks are known, in place of a network: are prompts, slices, axes and numbers the right ones?"""

from dataclasses import dataclass, field

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813  its customary name
import torch
from SAM2_3dMedLib.propagation.prompts import BoxPrompt
from SAM2_3dMedLib.training.evaluation import read_cases, settings

HEADER = "split,dataset,case,modality,labels,image,label\n"
SPACING = (1.0, 4.0, 1.5)  # I, J, K: the slices were acquired along J


class NoPredictor:
    """What an evaluation asks of a predictor itself."""

    device = torch.device("cpu")


@dataclass
class Preview:
    mask: np.ndarray


@dataclass
class BoxSession:
    """Stands in for `VolumeSession`, which needs a network: the object is its box on every slice, and every click mends
    the slice it is on. It keeps what it was asked."""

    truth: dict[str, np.ndarray]
    asked: list = field(default_factory=list)
    found: dict[str, np.ndarray] = field(default_factory=dict)
    closed: bool = False
    policy: object = None
    window: object = None
    zoom: object = None

    def add_prompt(self, name, prompt):
        if isinstance(prompt, BoxPrompt):
            return self.add_box(name, prompt.axis, prompt.corner_a, prompt.corner_b)
        return self.add_point(name, prompt.axis, prompt.position, prompt.positive)

    def add_box(self, name, axis, first, last):
        assert name not in self.found, "a box begins an object; what was there before must be removed"
        self.asked.append(("box", name, axis, first, last))
        mask = np.zeros_like(self.truth[name])
        window = [slice(int(a), int(b) + 1) for a, b in zip(first, last, strict=True)]
        window[axis] = slice(None)
        mask[tuple(reversed(window))] = True
        self.found[name] = mask
        return Preview(np.take(mask, int(first[axis]), axis=2 - axis))

    def add_point(self, name, axis, position, positive):
        self.asked.append(("point", name, axis, position, positive))
        index = int(position[axis])
        mask = self.found.setdefault(name, np.zeros_like(self.truth[name]))
        place = (slice(None),) * (2 - axis) + (index,)
        mask[place] = self.truth[name][place]
        return Preview(mask[place])

    def propagate(self, name):
        self.asked.append(("propagate", name))
        return iter(())

    def mask(self, name):
        return self.found[name].copy()

    def remove_object(self, name):
        del self.found[name]

    def close(self):
        self.closed = True


@pytest.fixture
def truth():
    """A cone along J and a block beside it."""
    k, j, i = np.indices((20, 9, 24))
    cone = np.hypot(i - 7, (k - 9) * 1.5) <= j + 1
    block = (i >= 16) & (i < 20) & (j >= 2) & (j < 6) & (k >= 4) & (k < 12)
    return {"cone": cone & ~block, "block": block}


@pytest.fixture
def case(tmp_path, truth):
    labels = (truth["cone"] * 3 + truth["block"] * 5).astype(np.uint8)
    for name, array in (("image", labels.astype(np.int16) * 50), ("label", labels)):
        image = sitk.GetImageFromArray(array)
        image.SetSpacing(SPACING)
        sitk.WriteImage(image, str(tmp_path / f"{name}.nii.gz"))
    row = 'val,set,one,MR T2,"{""5"": ""block"", ""3"": ""cone"", ""9"": ""nowhere""}",image.nii.gz,label.nii.gz\n'
    (tmp_path / "manifest.csv").write_text(HEADER + row)
    (case,) = read_cases(tmp_path / "manifest.csv", tmp_path)
    return case


@pytest.fixture
def session(monkeypatch, truth):
    session = BoxSession(truth)

    def opened(predictor, volume, window, policy, zoom):
        session.window, session.policy, session.zoom = window, policy, zoom
        return session

    monkeypatch.setattr(settings, "VolumeSession", opened)
    return session
