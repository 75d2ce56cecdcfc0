"""What our own asr.sh asks of Python: data directories, audio, tokens, job lists, scores."""
