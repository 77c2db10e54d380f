"""Which voxels a segment's prompts mean. A prompt is stored in voxels of the volume that it was given on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import vtk

from .volume_source import matrix_to_array

# Part of a voxel by which two grids may differ anywhere and still be one: files round their headers.
_SAME = 0.01


@dataclass(frozen=True)
class VolumePlace:
    """A volume's node and its grid, without parent transforms: those move the prompts with the volume.

    `shape_ijk` voxels; `ijk_to_ras` the 16 numbers of the 4x4 matrix, row by row, in mm.
    """

    node_id: str
    shape_ijk: tuple[int, int, int]
    ijk_to_ras: tuple[float, ...]

    @classmethod
    def of_source(cls, source: Any) -> VolumePlace:
        """Of a `VolumeSource`."""
        return cls(source.node_id, tuple(source.shape_ijk), tuple(source.ijk_to_ras.ravel().tolist()))

    @classmethod
    def of_node(cls, volume_node: Any) -> VolumePlace | None:
        """None for a volume without voxels."""
        image = volume_node.GetImageData()
        if image is None:
            return None
        matrix = vtk.vtkMatrix4x4()
        volume_node.GetIJKToRASMatrix(matrix)
        numbers = tuple(matrix_to_array(matrix).ravel().tolist())
        return cls(volume_node.GetID(), tuple(image.GetDimensions()), numbers)

    def has_voxels_of(self, source: Any) -> bool:
        """Whether the same index is the same place in a `VolumeSource`: a co-registered series on the same grid, the
        volume itself, also when its header was moved.
        """
        if self.shape_ijk != tuple(source.shape_ijk):
            return False
        if self.node_id == source.node_id:
            return True
        ours = np.reshape(self.ijk_to_ras, (4, 4))
        far = np.append(np.asarray(self.shape_ijk, dtype=float), 1.0)
        steps = np.linalg.inv(source.ijk_to_ras) @ ours - np.eye(4)
        return bool((np.abs(steps[:3]) @ far).max() < _SAME)

    def to_json(self) -> dict[str, Any]:
        """The grid; which node it is, MRML keeps as a reference."""
        return {"shape": list(self.shape_ijk), "ijk_to_ras": list(self.ijk_to_ras)}

    @classmethod
    def from_json(cls, node_id: str, data: dict[str, Any]) -> VolumePlace:
        """ValueError, KeyError or TypeError when it is none."""
        i, j, k = (int(value) for value in data["shape"])
        numbers = tuple(float(value) for value in data["ijk_to_ras"])
        if len(numbers) != 16:
            raise ValueError("a matrix of 4 x 4 has 16 numbers")
        return cls(node_id, (i, j, k), numbers)
