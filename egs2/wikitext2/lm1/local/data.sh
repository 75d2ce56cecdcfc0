#!/usr/bin/env bash
# Stage 1: plain text -> data/{train,valid,test}/text. Options go to `python3 -m espnet_topdown.lm.data prepare`
# (--train_tokens N, --min_count N). The source is one of
#   WIKITEXT2=dir    WikiText-2: {train,valid,test}.txt or wiki.{train,valid,test}.tokens, plain or .gz; its counts are checked
#   TEXT_CORPUS=dir  any other corpus under the same file names; its counts are printed
#   neither          the archive is downloaded to downloads/ (WIKITEXT2_URL names another mirror) and checked

set -euo pipefail

prepare() {
    python3 -m espnet_topdown.lm.data prepare --source "$1" --output data "${@:2}"
}

if [ -n "${TEXT_CORPUS:-}" ]; then
    [ -z "${WIKITEXT2:-}" ] || { echo "local/data.sh: both WIKITEXT2 and TEXT_CORPUS are set; unset one" >&2 && exit 1; }
    prepare "${TEXT_CORPUS}" "$@"
    exit
fi
if [ -z "${WIKITEXT2:-}" ]; then
    WIKITEXT2=downloads/wikitext-2
    url=${WIKITEXT2_URL:-https://wikitext.smerity.com/wikitext-2-v1.zip}
    if [ ! -d "${WIKITEXT2}" ]; then
        mkdir -p downloads
        curl --fail --location --silent --show-error --output downloads/wikitext-2-v1.zip "${url}" || {
            echo "local/data.sh: cannot download ${url}; set WIKITEXT2 to a directory with the three texts" >&2 && exit 1
        }
        rm -rf downloads/unpacking
        python3 -m zipfile -e downloads/wikitext-2-v1.zip downloads/unpacking 2> /dev/null || {
            echo "local/data.sh: ${url} gave no zip archive; set WIKITEXT2 to a directory with the three texts" >&2 && exit 1
        }
        mv downloads/unpacking/wikitext-2 "${WIKITEXT2}"
        rm -rf downloads/unpacking
    fi
fi
# Tokens with one <eos> a line, and the vocabulary with <unk> and <eos>, of Merity et al.'s release.
prepare "${WIKITEXT2}" --expect_tokens 2088628 217646 245569 --expect_vocabulary 33278 "$@"
