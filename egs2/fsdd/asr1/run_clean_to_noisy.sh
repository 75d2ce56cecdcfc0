#!/usr/bin/env bash
# fsdd, from clean speech to noise: a base on clean strings, then phases that keep its classifier
# and are trained on the same strings in babble of 10, 5 and 0 dB, with controls on the same data.
#   FSDD=free-spoken-digit-dataset.tar.xz ./run_clean_to_noisy.sh
#   ./run_clean_to_noisy.sh --stage 18 --jobs 2    from the cascade on
# Other options are those of run.sh. The data is made where dump/raw lacks it; remove data/*_clean,
# data/*dB, dump/raw/*_clean and dump/raw/*dB to make it anew.

set -euo pipefail

# shellcheck source=egs2/TEMPLATE/common.sh
. ../../TEMPLATE/common.sh

levels="clean 10dB 5dB 0dB"
noisy="train_10dB dev_10dB train_5dB dev_5dB train_0dB dev_0dB"
tests=
for level in ${levels}; do
    tests+="test_${level} "
done
common=(
    --train_set train_clean
    --valid_set dev_clean
    --lm_train_text data/train_clean/text
    --asr_tag clean_transformer
    --asr_stats_dir exp/asr_stats_clean
    --topdown_plan conf/topdown/clean_to_noisy.yaml
)
if [ ! -s dump/raw/test_0dB/wav.scp ]; then
    # Stage 3 leaves what it takes for test sets in dump/raw: lists for phases to train on.
    log "Data: clean strings, and the same in babble"
    ./run.sh "${common[@]}" --stop_stage 3 --test_sets "${noisy} ${tests}" \
        --local_data_opts "--snr_db clean,10,5,0 ${STRINGS:-}"
fi
./run.sh "${common[@]}" --stage 4 --test_sets "${tests}" --decode all "$@"
