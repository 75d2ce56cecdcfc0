"""What a phase leaves in its directory for readers that do without torch."""

START = "topdown/start.json"  # settings, layers, parent and the fresh layers' start, written before the first epoch
EPOCHS = "topdown/epochs.json"  # every epoch's metrics and wall times
PROOF = "topdown/proof.json"  # fingerprints of frozen tensors and of every model file, written last
LOCK = "topdown/lock"  # held by the trainer while it lives
