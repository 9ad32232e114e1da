"""A virtual card: physics, faults and scenarios, so that everything above it runs, and is proved, without a GPU."""
