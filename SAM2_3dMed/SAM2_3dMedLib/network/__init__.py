"""The network of SAM2-3dMed: SAM2 built from `sam2.modeling`, plus the paper's inter-slice, SRPP and BD parts."""
