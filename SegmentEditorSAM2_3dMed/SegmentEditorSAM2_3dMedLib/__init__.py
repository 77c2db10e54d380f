"""The Segment Editor effect of SAM2-3dMed (loaded by the application through setPythonSource)."""
