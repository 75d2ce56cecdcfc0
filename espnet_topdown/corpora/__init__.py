"""Data preparation of WSJ, Switchboard and FSDD, and scoring by the hub5 rules, without Kaldi."""
