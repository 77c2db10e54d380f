"""What Slicer loads at start imports no torch, no sam2 and nothing that they bring."""

import subprocess
import sys
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[2] / "SAM2_3dMed"
SCRIPT = """
import importlib, pkgutil, sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("torch", "sam2", "monai", "hydra", "iopath", "safetensors"):
            raise ImportError("needs " + name)

sys.meta_path.insert(0, Absent())
import SAM2_3dMedLib.slicer_side, SAM2_3dMedLib.volume, SAM2_3dMedLib.weights
count = 0
for package in (SAM2_3dMedLib.slicer_side, SAM2_3dMedLib.volume, SAM2_3dMedLib.weights):
    for module in pkgutil.iter_modules(package.__path__):
        try:
            importlib.import_module(package.__name__ + "." + module.name)
            count += 1
        except ImportError as error:  # Qt and ctk are only in the application
            if "needs" in str(error):
                sys.exit(module.name + " " + str(error))
print(count)
"""


def test_nothing_that_slicer_loads_at_start_imports_torch() -> None:
    environment = {"PYTHONPATH": str(PACKAGE), "PATH": ""}
    done = subprocess.run([sys.executable, "-c", SCRIPT], env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-800:]
    assert int(done.stdout) > 30, "most modules load without Qt, so that this test looks at them"
