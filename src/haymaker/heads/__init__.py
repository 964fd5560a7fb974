"""Which heads retrieve: detectors, their scores, the formats of others."""
