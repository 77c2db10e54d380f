"""Inside Slicer the engine runs with torch, sam2 (and what it imports), numpy, scipy and SimpleITK alone."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = """
import sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("safetensors", "typer", "rich", "monai", "matplotlib", "torchvision", "pandas"):
            raise ImportError(f"{name} is not there")

sys.meta_path.insert(0, Absent())
import SAM2_3dMedLib.worker.engine, SAM2_3dMedLib.worker.server
from SAM2_3dMedLib.network.checkpoint import load_checkpoint
from SAM2_3dMedLib.weights.manifest import default_weights

network, metadata = load_checkpoint(default_weights())
print(metadata.name)
"""


def test_the_engine_loads_the_bundled_weights_without_any_other_package() -> None:
    path = {"PYTHONPATH": str(ROOT / "SAM2_3dMed"), "PATH": ""}
    done = subprocess.run([sys.executable, "-c", SCRIPT], env=path, capture_output=True, text=True, timeout=120)
    assert done.stdout.strip() == "sam2-3dmed-nano", done.stderr[-1500:]
