#!/usr/bin/env bash
# Stage 1 of Switchboard: the corpora that db.sh names -> data/{train_nodup,train_dev,eval2000} and
# data/lm_train.txt. Options are those of  python3 -m espnet_topdown.corpora.swbd --help, e.g.
# --train_dev_size 2000; from run.sh: --local_data_opts.

set -euo pipefail

# shellcheck source=egs2/swbd/asr1/db.sh
. ./db.sh
python3 -m espnet_topdown.corpora.swbd --swbd "${SWBD}" --output data "$@"
