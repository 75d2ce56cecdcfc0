"""One phase inside ESPnet's `Trainer`: keep, freeze, draw, prove."""
