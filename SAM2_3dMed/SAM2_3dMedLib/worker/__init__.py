"""The inference process that Slicer starts beside itself: messages on standard input and output, arrays in
memory-mapped files.

`messages`, `mask_crop` and `array_file` are used by both sides and import the standard library and numpy only;
torch is imported in the process itself, by `engine`. Nothing here imports slicer, vtk, qt or ctk.
"""
