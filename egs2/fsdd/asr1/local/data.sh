#!/usr/bin/env bash
# Stage 1 of fsdd: recordings of single digits -> data/{train,dev,test}, connected digits in babble.
# FSDD names a clone of the Free Spoken Digit Dataset or a tar archive of it; without it the data
# set is cloned. Options are those of  python3 -m espnet_topdown.corpora.fsdd --help
# (sizes, --snr_db, --rotation, --seed).

set -euo pipefail

if [ -z "${FSDD:-}" ]; then
    FSDD=downloads/free-spoken-digit-dataset
    [ -d "${FSDD}/recordings" ] ||
        git clone --depth 1 https://github.com/Jakobovski/free-spoken-digit-dataset "${FSDD}"
fi
python3 -m espnet_topdown.corpora.fsdd --fsdd "${FSDD}" "$@"
