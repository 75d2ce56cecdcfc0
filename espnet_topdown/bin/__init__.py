"""Commands that import ESPnet, each run in a process of its own."""
