"""How good gpucert itself is: the error rates of its decisions, on cards whose truth is known because it is made up."""
