"""What a training leaves on disk: its config, its log, a phase's directory and record."""
