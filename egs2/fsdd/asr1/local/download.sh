#!/usr/bin/env bash
# local/download.sh: the Free Spoken Digit Dataset, at one commit -> downloads/, for a machine with
# git. Fails where the repository does not answer within a minute, or stops sending.

set -euo pipefail

target=downloads/free-spoken-digit-dataset
url=https://github.com/Jakobovski/free-spoken-digit-dataset
commit=26eb9aaf76e81b692f806f9140c2d2777410d7a1

[ ! -d "${target}/recordings" ] || exit 0
export GIT_TERMINAL_PROMPT=0
if ! command -v git > /dev/null; then
    echo "local/download.sh: found no git, by which ${url} is fetched;" \
        "FSDD=clone|archive takes the data from there" >&2
    exit 1
fi
if ! timeout 60 git ls-remote --quiet "${url}" HEAD > /dev/null; then
    echo "local/download.sh: ${url} does not answer;" \
        "FSDD=clone|archive takes the data from there" >&2
    exit 1
fi
# A fetch that is cut off leaves nothing that looks whole.
rm -rf "${target}.part"
git init --quiet "${target}.part"
slow=(-c http.lowSpeedLimit=1000 -c http.lowSpeedTime=60)
git -C "${target}.part" "${slow[@]}" fetch --quiet --depth 1 "${url}" "${commit}"
git -C "${target}.part" checkout --quiet FETCH_HEAD
mv "${target}.part" "${target}"
