"""What a model is: ids, sizes, rates, clocks and cooling, each with its source."""
