"""The part that runs inside 3D Slicer: prompts, segments, the worker process, the effect and its panels."""
