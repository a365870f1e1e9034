"""RefShapes: synthetic clips of moving shapes with referring sentences."""
