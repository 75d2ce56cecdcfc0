#!/usr/bin/env bash
# Stage 1 of fsdd: recordings of single digits -> data/{train,dev,test}, connected digits in babble.
# FSDD names a clone of the Free Spoken Digit Dataset or a tar archive of it; without it
# local/download.sh fetches one. The checksum of the recordings is compared in both cases. Options
# (sizes, --snr_db, --rotation, --seed, --checksum) are those of
#   python3 -m espnet_topdown.corpora.fsdd --help

set -euo pipefail

if [ -z "${FSDD:-}" ]; then
    local/download.sh
    FSDD=downloads/free-spoken-digit-dataset
fi
python3 -m espnet_topdown.corpora.fsdd --fsdd "${FSDD}" "$@"
