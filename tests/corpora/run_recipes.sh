#!/usr/bin/env bash
# The WSJ and Switchboard recipes, stages 1 to 20, on fake corpora with tiny models on the CPU;
# about two minutes.
#   PYTHONPATH=. tests/corpora/run_recipes.sh [SCRATCH]
# With ESPNET_ROOT, the checkout's asr.sh does the stages from 6 on, the language model's too.

set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
scratch=$(realpath -m "${1:-$(mktemp -d)}")
export WSJ0=${scratch}/wsj/LDC93S6B WSJ1=${scratch}/wsj/LDC94S13B SWBD=${scratch}/swbd
mkdir -p "${scratch}"
cp -r "${root}/egs2" "${scratch}"
python3 "${root}/tests/corpora/fake_wsj.py" "${scratch}/wsj"
python3 "${root}/tests/corpora/fake_swbd.py" "${scratch}/swbd"

die() {
    echo "run_recipes.sh: $*" >&2
    exit 1
}

# run CORPUS MODEL OPTION...: the recipe of a corpus with mini_an4's small configs, two epochs and
# two phases.
run() {
    local recipe=${scratch}/egs2/$1/asr1 small=${scratch}/egs2/mini_an4/asr1/conf model=$2
    shift 2
    sed 's/^max_epoch:.*/max_epoch: 2/' \
        "${small}/train_asr_${model}.yaml" > "${recipe}/conf/tiny.yaml"
    cp "${small}/decode_asr.yaml" "${recipe}/conf/tiny_decode.yaml"
    printf 'dev_criterion: [valid, loss, min]\nphases:\n- cut: decoder\n- cut: encoder.3\n' \
        > "${recipe}/conf/topdown/tiny.yaml"
    local options=(
        --ngpu 0
        --nj 2
        --inference_nj 2
        --asr_config conf/tiny.yaml
        --inference_config conf/tiny_decode.yaml
        --inference_asr_model valid.loss.ave.pth
        --topdown_plan conf/topdown/tiny.yaml
        "$@"
    )
    cd "${recipe}"
    if [ -n "${ESPNET_ROOT:-}" ]; then
        # A checkout's stage 3 may not fit the installed ESPnet, see README.md.
        ESPNET_ROOT='' ./run.sh --stop_stage 5 "${options[@]}"
        options+=(--stage 6)
    fi
    ./run.sh "${options[@]}"
}

cat > "${scratch}/egs2/wsj/asr1/conf/tiny_lm.yaml" << EOF
lm: seq_rnn
lm_conf: {unit: 16, nlayers: 1}
optim: adam
batch_size: 4
max_epoch: 1
num_workers: 0
use_tensorboard: false
use_matplotlib: false
best_model_criterion:
- [valid, loss, min]
keep_nbest_models: 1
EOF
run wsj rnn --lm_config conf/tiny_lm.yaml
run swbd transformer --nbpe 60 --local_data_opts "--train_dev_size 18"
for corpus in wsj swbd; do
    results=("${scratch}/egs2/${corpus}/asr1"/exp/*_topdown_tiny/RESULTS.md)
    [ -s "${results[0]}" ] || die "${results[0]} is missing"
done
parts=(eval2000_swbd eval2000_callhm)
if command -v hubscr.pl > /dev/null || [ -d /usr/lib/sctk/bin ]; then
    parts=(eval2000_hub5 eval2000_hub5_swbd eval2000_hub5_callhm)
fi
for part in "${parts[@]}"; do
    grep -q "|cut|seed|.*|${part}|" "${results[0]}" || die "${results[0]} has no column ${part}"
done
echo "both recipes ran; results: ${scratch}/egs2/{wsj,swbd}/asr1/exp"
