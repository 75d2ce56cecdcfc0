"""What is refused before a phase is trained, in what a plan asks and in what a run finds there."""
