"""All phases of a cascade: where they are, what was decided about them, and what trains them."""
