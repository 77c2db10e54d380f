"""Sentences of the parts that know no Slicer (worker, propagation, volume, weights), in the user's language.

Those parts speak English, with values already in their sentences. Here every sentence that can reach a panel stands
again as a template; one that fits is translated and filled with the same values, any other is shown as it came.
"""

from __future__ import annotations

import functools
import re

from .translation import _ as translated

# Marks a literal for Slicer's extraction (lupdate looks for `_("...")`); it is translated when it is shown.
_ = str

SENTENCES = (
    # worker/devices.py and worker/engine.py: the device in use, and why
    _("CPU, {threads} threads (chosen by you)."),
    _("CPU, {threads} threads: the installed torch was built without CUDA."),
    _("CPU, {threads} threads: torch finds no NVIDIA GPU or no driver that fits."),
    _("CPU, {threads} threads: there is no GPU number {index}."),
    _(
        "CPU, {threads} threads: the installed torch {version} has no code for {name} (compute capability "
        "{capability}); install another torch with the PyTorch extension to use it."
    ),
    _("CPU, {threads} threads: the GPU does not work with the installed torch ({reason})."),
    _("CPU, {threads} threads: this computer offers no Apple GPU to torch."),
    _("CPU, because the memory of {device} was full."),
    _("Apple GPU (MPS)."),
    _("Apple GPU (MPS, chosen by you)."),
    _("GPU {name}, {free} of {total} GB free (CUDA)."),
    # worker: memory, volumes, models, defects
    _("The memory of {device} is full: going on with the CPU, which is slower. Your prompts are kept."),
    _("The device's memory is short: fewer slices are computed at a time."),
    _("The device {device} ran out of memory; close other programs, or choose the CPU."),
    _("The memory of this computer is full: close other programs, or crop the volume."),
    _("The volume is not loaded for inference: select the source volume again."),
    _("The volume did not reach the inference process ({reason}): select the source volume again."),
    _("No model is loaded: choose one in the module SAM2-3dMed."),
    _("The inference process cannot start ({reason}): install the extension again."),
    _("The inference process cannot start ({reason}): install what is missing in the module SAM2-3dMed."),
    _("The inference process could not do this ({reason}). See the log for details."),
    _("The inference process got a line it does not understand: {reason}"),
    # prompts
    _("The negative point is kept; give a positive point or a box to show where the object is."),
    _("The object is taken to have ended before this slice; a positive point here says that it goes on."),
    _("The structure is larger than it looked: it is followed again through a wider field of view."),
    _("Nothing says where the object is yet; give a positive point, a box or a mask first."),
    _("This segment has no prompt yet: click on the structure or drag a box around it first."),
    _("This segment has no prompt, so there is no confidence to show: click on it first."),
    _("There is no object '{name}'; give it a point, a box or a mask first."),
    _("The slice range holds no prompted slice; widen it to one, or give a prompt inside the range."),
    _("The slice range {first}..{last} is empty; give its lower end first."),
    _("There is no slice {index} along {axis}; choose one from 0 to {last}."),
    _("The mask is empty; paint the object on this slice, or click it."),
    _("The mask has the shape {shape}, but a slice along {axis} has {wanted}; give a mask of the whole slice."),
    _("The point {position} lies outside the volume; give voxels from {first} to {last}."),
    _("The box corner {position} lies outside the volume; give voxels from {first} to {last}."),
    _("The point {position} is not a position; give three finite numbers (i, j, k)."),
    _("The box corner {position} is not a position; give three finite numbers (i, j, k)."),
    _("The box spans the slices {first} and {last} along {axis}; draw it on one slice."),
    _("The box from {first} to {last} has no area; draw it around the object."),
    # volumes
    _("The image holds no finite value (all NaN or infinite); choose another image."),
    _(
        "The image's spacing and directions do not describe a volume (zero spacing or parallel axes); correct its "
        "header or export it again."
    ),
    # weights
    _("There are no weights named '{name}'; choose one of: {names}; or give the path of a file."),
    _("The weight file {path} does not exist; check the path."),
    _("The weight file {path} does not exist; check the path or download the model again."),
    _("The weight file {path} cannot be read ({reason}); check the path."),
    _(
        "The weight file {path} is damaged or was changed (its SHA-256 is not the published one); delete it and fetch "
        "it again."
    ),
    _(
        "The weight file {path} is damaged or has been changed (its SHA-256 is not the published one); delete it and "
        "download the model again."
    ),
    _("The weight file {path} is truncated or is not a safetensors file; download the model again."),
    _("The weight file {path} holds no {format} network; choose a file of this project."),
    _("The weight file {path} was written by another version of this software; update it."),
    _(
        "The description inside the weight file {path} cannot be read ({reason}); it is damaged or of another version: "
        "download it again, or update this software."
    ),
    _(
        "The weight file {path} describes a network that cannot be built ({reason}); it is damaged or of another "
        "version: download it again, or update this software."
    ),
    _("The weights in {path} are not all finite numbers; download the file again."),
    _(
        "The weights in {path} are of another configuration than '{name}' ({difference}); choose the weight file that "
        "belongs to this model."
    ),
    _("The address {url} is not an https address; weights are fetched over HTTPS only."),
    _("The weights '{name}' come with the software and are not downloaded; install it again."),
    _(
        "The weights '{name}' could not be fetched from {source} ({reason}); check the network and the proxy "
        "(HTTPS_PROXY) and try again: the download continues where it stopped."
    ),
    _("The weights cannot be written to {folder} ({reason}); free some room or set SAM2_3DMED_HOME."),
    _("What {source} sent is not the published file (its SHA-256 differs), so it was deleted; try again later."),
    _(
        "There is no room for '{name}' in {folder}: {size} MB are needed; free some, or set SAM2_3DMED_HOME to a "
        "folder on another disk."
    ),
    _(
        "The weights '{name}' should have come with the software but {file} is in none of its folders; install it "
        "again, or choose a weight file yourself."
    ),
)
# What the library advises for its command line is done with a button here.
SAID_DIFFERENTLY = {
    "The name of the weights is empty; give a name of `sam2-3dmed models list`, or a file.": _(
        "The name of the weights is empty; choose a model in the module SAM2-3dMed."
    ),
    "The weights '{name}' are not on this computer; fetch them ({size} MB) with: sam2-3dmed models download {again}": _(
        "The weights '{name}' are not on this computer: press Download ({size} MB) in the module SAM2-3dMed."
    ),
}


def in_slicer(sentence: str) -> str:
    """A sentence of the engine or of the library as the user of Slicer should read it."""
    for pattern, said in _patterns():
        found = pattern.fullmatch(sentence)
        if found is not None:
            return translated(said).format(**found.groupdict())
    return sentence


@functools.cache
def _patterns() -> tuple[tuple[re.Pattern[str], str], ...]:
    """Each template as a pattern, with the sentence to say; those with more text of their own come first."""
    pairs = [*((template, template) for template in SENTENCES), *SAID_DIFFERENTLY.items()]
    pairs.sort(key=lambda pair: len(re.sub(r"\{\w+\}", "", pair[0])), reverse=True)
    return tuple((_pattern(template), said) for template, said in pairs)


def _pattern(template: str) -> re.Pattern[str]:
    parts = re.split(r"\{(\w+)\}", template)
    named = (f"(?P<{part}>.+?)" if place % 2 else re.escape(part) for place, part in enumerate(parts))
    return re.compile("".join(named), re.DOTALL)
