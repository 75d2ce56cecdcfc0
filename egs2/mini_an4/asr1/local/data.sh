#!/usr/bin/env bash
# Stage 1 of mini_an4: the recordings -> data/{train,train_nodev,train_dev,test,test_seg}.
# They are part of the espnet 202611 package. MINI_AN4 names the archive (downloads.tar.gz) where it
# lies elsewhere.

set -euo pipefail

[ $# -eq 0 ] || { echo "local/data.sh: takes no options, got: $*" >&2 && exit 1; }
python3 local/data_prep.py --archive "${MINI_AN4:-}" --downloads downloads --data data
