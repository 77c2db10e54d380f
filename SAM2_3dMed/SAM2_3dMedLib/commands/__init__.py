"""The commands of `sam2-3dmed`, one file each: input and output; the work is done by the other packages."""
