"""What our own asr.sh asks of Python.

Kaldi data directories, audio, token lists, job lists and score files.

One sub-command of ``python3 -m espnet_topdown.recipe`` is one process of one stage, whatever the
number of sets. Nothing here imports ESPnet, but for its text cleaners where a recipe names one.
"""
