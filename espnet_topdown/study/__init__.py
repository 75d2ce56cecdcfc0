"""Whether a way of training differs: seeds, their records, and contrasts between their phases."""
