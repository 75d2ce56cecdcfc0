"""Training tools with the names of `espnet2.bin`, each the ESPnet tool with our task."""
