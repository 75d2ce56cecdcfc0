"""Which phases to train: the layer order, the plan, its file and its expansion, as data."""
