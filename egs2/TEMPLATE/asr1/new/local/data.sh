#!/usr/bin/env bash
# Stage 1 of NAME: your corpus -> data/{train,dev,test}, each with
#   wav.scp  ID FILE     an utterance's audio file
#   text     ID WORDS    what is said in it
#   utt2spk  ID SPEAKER  who says it; where you do not know, the id itself
# by one id an utterance; where a recording holds several, wav.scp names recordings and
#   segments ID RECORDING BEGIN_S END_S
# their utterances.

set -euo pipefail

# CHANGE: write them here; as it is, this looks whether they are there.
for name in train dev test; do
    for file in wav.scp text utt2spk; do
        if [ ! -s "data/${name}/${file}" ]; then
            echo "local/data.sh: found no data/${name}/${file}; write it, or write here what" \
                "makes it (the first lines say what it holds)" >&2
            exit 1
        fi
    done
done
