"""Training of the network: packs, on-device sampling, losses and the loop. Never imported by the Slicer module."""
