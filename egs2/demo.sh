#!/usr/bin/env bash
# A first look: a baseline, a cascade of two phases and one restart, decoded and compared.
#   make demo                                          digits, fetched; mini_an4 where that fails
#   FSDD=free-spoken-digit-dataset.tar.xz make demo    digits from a clone or an archive
# The digits take a few minutes on two CPU cores. mini_an4 has four training utterances, which show
# that the commands work and nothing else.

set -euo pipefail

# As seen from where the command was typed.
if [ -n "${FSDD:-}" ]; then
    FSDD=$(realpath -m "${FSDD}")
    export FSDD
fi
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# told: what mini_an4 can show.
told() {
    cat << END

This is mini_an4, with four training utterances: it proves that the commands work, and nothing
about error rates. Real numbers, in minutes: with network 'make demo', or anywhere
  FSDD=/path/to/free-spoken-digit-dataset make demo
(a clone or an archive of https://github.com/Jakobovski/free-spoken-digit-dataset)

END
}

# shown RECIPE CASCADE: runs the recipe, and tells what came out by paths from here.
shown() {
    (cd "$1" && ./run.sh)
    echo
    python3 -m espnet_topdown results --short "$1/exp/$2"
}

if [ -n "${FSDD:-}" ] || (cd egs2/fsdd_clean/asr1 && local/download.sh); then
    shown egs2/fsdd_clean/asr1 asr_train_asr_ctc_raw_en_word_topdown_ctc
else
    told
    shown egs2/mini_an4/asr1 asr_train_asr_rnn_raw_en_char_topdown_rnn
    told
fi
