#!/usr/bin/env bash
# Stage 1 of WSJ: the discs that db.sh names -> data/{train_si284,test_dev93,test_eval92,...},
# nlsyms, LM text. Options are those of  python3 -m espnet_topdown.corpora.wsj --help, e.g. --faults
# skip; from run.sh: --local_data_opts.

set -euo pipefail

# shellcheck source=egs2/wsj/asr1/db.sh
. ./db.sh
python3 -m espnet_topdown.corpora.wsj --wsj0 "${WSJ0}" --wsj1 "${WSJ1}" --output data "$@"
