"""Data preparation of licensed corpora (WSJ, Switchboard) and scoring by the hub5 rules, without
Kaldi.
"""
