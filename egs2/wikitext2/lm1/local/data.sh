#!/usr/bin/env bash
# Stage 1: plain text -> data/{train,valid,test}/text. Options are those of
# python3 -m espnet_topdown.lm.data prepare --help  (--train_tokens N, --valid_tokens N,
# --min_count N).
# The source is one of
#   WIKITEXT2=dir    WikiText-2: {train,valid,test}.txt or wiki.{train,valid,test}.tokens, plain or
#                    .gz; its counts are checked
#   TEXT_CORPUS=dir  any other corpus under the same file names; its counts are printed
#   neither          the archive is downloaded to downloads/ (WIKITEXT2_URL names another mirror)
#                    and checked

set -euo pipefail

die() {
    echo "local/data.sh: $*" >&2
    exit 1
}

prepare() {
    python3 -m espnet_topdown.lm.data prepare --source "$1" --output data "${@:2}"
}

# download URL DIR: the archive at URL, unpacked into DIR.
download() {
    local url=$1 directory=$2 archive=downloads/wikitext-2-v1.zip
    local advice="set WIKITEXT2 to a directory with the three texts"
    mkdir -p downloads
    curl --fail --location --silent --show-error --output "${archive}" "${url}" ||
        die "cannot download ${url}; ${advice}"
    rm -rf downloads/unpacking
    python3 -m zipfile -e "${archive}" downloads/unpacking 2> /dev/null ||
        die "${url} gave no zip archive; ${advice}"
    mv downloads/unpacking/wikitext-2 "${directory}"
    rm -rf downloads/unpacking
}

if [ -n "${TEXT_CORPUS:-}" ]; then
    [ -z "${WIKITEXT2:-}" ] || die "both WIKITEXT2 and TEXT_CORPUS are set; unset one"
    prepare "${TEXT_CORPUS}" "$@"
    exit
fi
if [ -z "${WIKITEXT2:-}" ]; then
    WIKITEXT2=downloads/wikitext-2
    url=${WIKITEXT2_URL:-https://wikitext.smerity.com/wikitext-2-v1.zip}
    [ -d "${WIKITEXT2}" ] || download "${url}" "${WIKITEXT2}"
fi
# Tokens with one <eos> a line, and the vocabulary with <unk> and <eos>, of Merity et al.'s release.
prepare "${WIKITEXT2}" --expect_tokens 2088628 217646 245569 --expect_vocabulary 33278 "$@"
