#!/usr/bin/env bash
# Stage 1 of fsdd: recordings of single digits -> data/{train,dev,test}, connected digits in babble.
# FSDD names a clone of the Free Spoken Digit Dataset or a tar archive of it; without it the commit
# below is fetched. The checksum of the recordings is compared in both cases. Options (sizes,
# --snr_db, --rotation, --seed, --checksum) are those of
#   python3 -m espnet_topdown.corpora.fsdd --help

set -euo pipefail

if [ -z "${FSDD:-}" ]; then
    FSDD=downloads/free-spoken-digit-dataset
    url=https://github.com/Jakobovski/free-spoken-digit-dataset
    commit=26eb9aaf76e81b692f806f9140c2d2777410d7a1
    if [ ! -d "${FSDD}/recordings" ]; then
        # A fetch that is cut off leaves nothing that looks whole.
        rm -rf "${FSDD}.part"
        git init --quiet "${FSDD}.part"
        git -C "${FSDD}.part" fetch --quiet --depth 1 "${url}" "${commit}"
        git -C "${FSDD}.part" checkout --quiet FETCH_HEAD
        mv "${FSDD}.part" "${FSDD}"
    fi
fi
python3 -m espnet_topdown.corpora.fsdd --fsdd "${FSDD}" "$@"
