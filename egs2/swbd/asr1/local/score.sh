#!/usr/bin/env bash
# Called at the end of stage 13: every decoded eval2000 of an experiment by the hub5 rules
# (Switchboard, CallHome, both).
#   local/score.sh [--data data/eval2000] exp/asr_...

set -euo pipefail

python3 -m espnet_topdown.corpora.hub5 "$@"
