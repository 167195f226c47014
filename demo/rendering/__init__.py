"""Drawing the scenes of the synthetic hand data set."""
