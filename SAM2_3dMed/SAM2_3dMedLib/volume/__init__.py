"""Volumes: images in and out, geometry, slices and intensity windows. Imports nothing else of ours, and no torch."""
