"""Meta's `SAM2VideoPredictor` on the modules of one of our networks and on the images that our session sees.

It is what the benchmark measures against. No video files: its state is made of prepared slices.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from sam2 import sam2_video_predictor
from sam2.sam2_video_predictor import SAM2VideoPredictor
from torch import Tensor

from ..network.model import SAM23dMed
from ..network.sam2_settings import SAM2_SETTINGS
from ..propagation.predictor import SlicePredictor
from ..propagation.slice_features import SliceFeatureStore
from ..volume.intensity import window_from
from ..volume.planes import SlicePlane
from .benchmark_scene import AXIS, Scene


class Reference:
    """The predictor and the images of one volume. Positions are in anatomical order, as its frames."""

    def __init__(
        self, network: SAM23dMed, predictor: SlicePredictor, store: SliceFeatureStore, dtype: torch.dtype
    ) -> None:
        """
        Args:
            network: plain SAM2, as it was loaded; is moved to the device.
            predictor: ours; says the device, and prepares the images.
            store: of the volume.
            dtype: float32, or what autocast converts to.
        """
        self._ours = predictor
        self._dtype = dtype
        self._plane: SlicePlane = store.plane(AXIS)
        self._predictor = video_predictor_on(network.to(predictor.device))
        positions = range(self._plane.slice_count)
        # Slice by slice: stacked float images of 600 slices before their resize are as large again.
        self._images = torch.cat([predictor.prepare([store.image(AXIS, position)]) for position in positions])

    def state(self) -> dict[str, Any]:
        """What `init_state` makes of a video."""
        device = self._ours.device
        rows, columns = self._plane.shape
        names = "point_inputs_per_obj mask_inputs_per_obj cached_features constants obj_id_to_idx obj_idx_to_id "
        names += "output_dict_per_obj temp_output_dict_per_obj frames_tracked_per_obj"
        return {
            "images": self._images,
            "num_frames": len(self._images),
            "offload_video_to_cpu": False,
            "offload_state_to_cpu": False,
            "video_height": rows,
            "video_width": columns,
            "device": device,
            "storage_device": device,
            "obj_ids": [],
            **{name: OrderedDict() for name in names.split()},
        }

    def add_box(self, state: dict[str, Any], number: int, corner_a: Any, corner_b: Any) -> np.ndarray:
        """Prompt object `number` with a box of two corner voxels; its mask on the slice."""
        size = self._ours.image_size
        box = np.array(self._plane.box_to_network(corner_a, corner_b, size), np.float32) / size
        frame = self._plane.order(int(corner_a[AXIS]))
        return self._prompt(state, frame, number, box=box)

    def add_click(self, state: dict[str, Any], number: int, position: Any) -> np.ndarray:
        """A positive point at a voxel; the object's mask on the slice."""
        size = self._ours.image_size
        points = torch.tensor(self._plane.to_network([position], size), dtype=torch.float32) / size
        frame = self._plane.order(int(position[AXIS]))
        return self._prompt(state, frame, number, points=points, labels=torch.ones(1, dtype=torch.int32))

    def propagate(self, state: dict[str, Any], reverse: bool) -> dict[int, np.ndarray]:
        """Masks (array orientation) of object 1 by slice index, in one direction from the first prompted slice."""
        with self._running():
            frames = self._predictor.propagate_in_video(state, reverse=reverse)
            return {self._plane.order(frame): self._mask(logits) for frame, _, logits in frames}

    def logits(self, state: dict[str, Any]) -> dict[int, Tensor]:
        """Low-resolution logits of object 1 by slice index, float32 on the CPU."""
        outputs = state["output_dict_per_obj"][0]
        both = {**outputs["non_cond_frame_outputs"], **outputs["cond_frame_outputs"]}
        return {self._plane.order(frame): out["pred_masks"].float().cpu() for frame, out in both.items()}

    def _prompt(self, state: dict[str, Any], frame: int, number: int, **prompt: Any) -> np.ndarray:
        with self._running():
            # The predictor takes a box only as a slice's first prompt.
            _, _, logits = self._predictor.add_new_points_or_box(
                state, frame, number, clear_old_points="box" in prompt, normalize_coords=False, **prompt
            )
            return self._mask(logits)

    @contextmanager
    def _running(self) -> Iterator[None]:
        """As its users run it: one autocast for a whole run, which keeps the weights that it has converted."""
        device, reduced = self._ours.device.type, self._dtype != torch.float32
        with (
            torch.inference_mode(),
            torch.autocast(device, dtype=self._dtype if reduced else None, enabled=reduced),
        ):
            yield

    def _mask(self, logits: Tensor) -> np.ndarray:
        return self._plane.restore((logits[0, 0] > 0).cpu().numpy())


def reference_on(network: SAM23dMed, predictor: SlicePredictor, scene: Scene, dtype: torch.dtype) -> Reference:
    """A reference on a scene's volume, with the window that a session chooses; arguments as those of `Reference`."""
    store = SliceFeatureStore(predictor, scene.volume, window_from(None, scene.volume))
    return Reference(network, predictor, store, dtype)


def video_predictor_on(network: SAM23dMed) -> SAM2VideoPredictor:
    """Set as `build_sam2_video_predictor` sets it for SAM2.1, with the network's own modules and parameters."""
    # Its progress bar would be written to the terminal while the clock runs.
    sam2_video_predictor.tqdm = lambda frames, desc=None: frames
    reference = SAM2VideoPredictor(
        image_encoder=network.image_encoder,
        memory_attention=network.memory_attention,
        memory_encoder=network.memory_encoder,
        fill_hole_area=0,
        num_maskmem=network.num_maskmem,
        image_size=network.image_size,
        **SAM2_SETTINGS,
    )
    # The constructor built heads of its own, and of the large sizes' width.
    for name in reference._modules:
        setattr(reference, name, getattr(network, name))
    for name in reference._parameters:
        setattr(reference, name, getattr(network, name))
    return reference.eval()
