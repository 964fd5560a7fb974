"""The parts of a training run: which rows a step takes, the step itself, what is kept on disk."""
