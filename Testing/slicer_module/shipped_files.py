"""Which files Slicer installs with the module; run as a script it writes them into SAM2_3dMed/CMakeLists.txt.

Not shipped: training (needs packages that Slicer does not have) and label maps of the samples.
"""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
MODULE = REPOSITORY / "SAM2_3dMed"
LEFT_OUT = ("SAM2_3dMedLib/training/",)
RESOURCE_SUFFIXES = {".ui", ".png", ".svg", ".json", ".txt", ".yaml"}
DATA = {"Resources/Samples": "*", "Resources/Weights": "*"}


def tracked(folder: Path) -> list[str]:
    """Files under a folder that git knows or would add, relative to it."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "--deduplicate"]
    listed = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True).stdout
    return sorted(name for name in listed.splitlines() if (folder / name).is_file())


def scripts() -> list[str]:
    """The .py files, relative to SAM2_3dMed."""
    return [n for n in tracked(MODULE) if n.endswith(".py") and not n.startswith(LEFT_OUT)]


def resources() -> list[str]:
    """What the module and the library read beside code, relative to SAM2_3dMed."""
    return [n for n in tracked(MODULE) if Path(n).suffix in RESOURCE_SUFFIXES and not n.startswith(LEFT_OUT)]


def data() -> list[str]:
    """Bundled weights and sample volumes, relative to the repository."""
    found = []
    for folder in DATA:
        if (REPOSITORY / folder).is_dir():
            found += [f"{folder}/{n}" for n in tracked(REPOSITORY / folder) if "_lab." not in n]
    return found


def listed(section: str, text: str) -> list[str]:
    """The entries between `# begin` and `# end` of a section of the CMake file."""
    block = re.search(rf"# begin {section}\n(.*?)  # end {section}", text, re.S).group(1)
    return [line.strip().replace("${MODULE_NAME}", "SAM2_3dMed") for line in block.splitlines() if line.strip()]


def write(text: str) -> str:
    """The CMake file with the lists as they should be."""
    for section, names in (("scripts", scripts()), ("resources", resources()), ("data", data())):
        lines = "".join(f"  {name}\n" for name in names)
        block = rf"(# begin {section}\n).*?(  # end {section})"
        text = re.sub(block, lambda found, lines=lines: found.group(1) + lines + found.group(2), text, flags=re.S)
    return text


if __name__ == "__main__":
    cmake = MODULE / "CMakeLists.txt"
    cmake.write_text(write(cmake.read_text(encoding="utf-8")), encoding="utf-8")
