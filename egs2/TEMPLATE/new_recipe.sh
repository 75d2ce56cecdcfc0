#!/usr/bin/env bash
# A recipe for a corpus of your own: egs2/NAME/asr1 with run.sh, local/data.sh and configs, in which
# "CHANGE" marks what is yours to say.
#   egs2/TEMPLATE/new_recipe.sh NAME
#
# Then write data/{train,dev,test}, each with wav.scp (ID FILE), text (ID WORDS) and utt2spk
# (ID SPEAKER), or have local/data.sh write them, and
#   cd egs2/NAME/asr1 && ./run.sh
# prepares the data, trains a base and its cascade, and ends with their tables. What is there
# already is never written over.

set -euo pipefail

# shellcheck source=egs2/TEMPLATE/common.sh
. "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/common.sh"

case "${1:-}" in
    -h | --help)
        sed -n '2,/^$/{/^$/d; s/^# \{0,1\}//; p}' "${BASH_SOURCE[0]}"
        exit 0
        ;;
esac
[ $# -eq 1 ] || die "takes one name, of the corpus; see --help"
name=$1
[[ ${name} =~ ^[A-Za-z0-9][A-Za-z0-9_-]*$ ]] ||
    die "the name of a recipe is letters, digits, _ and -, as a directory of egs2, not '${name}'"
[ "${name}" != TEMPLATE ] || die "TEMPLATE is what recipes are made of; give another name"

template=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")
recipe=$(dirname "${template}")/${name}/asr1
[ ! -e "${recipe}" ] || die "${recipe} is there already; give another name, or move it"

# What is cut off half way leaves nothing that looks whole.
mkdir -p "$(dirname "${recipe}")"
rm -rf "${recipe}.part"
cp -R "${template}/asr1/new" "${recipe}.part"
for file in cmd.sh path.sh; do
    ln -s "../../TEMPLATE/asr1/${file}" "${recipe}.part/${file}"
done
for file in slurm queue pbs; do
    ln -s "../../../TEMPLATE/asr1/conf/${file}.conf" "${recipe}.part/conf/${file}.conf"
done
find "${recipe}.part" -type f -exec sed -i "s/NAME/${name}/g" {} +
mv "${recipe}.part" "${recipe}"

echo "${recipe} is ready. What is yours to say:"
(cd "${recipe}" && grep -rn "CHANGE" . | sed -E 's/^\.\/([^:]*:[0-9]*):.*CHANGE:? ?/  \1  /')
printf 'then: cd %q && ./run.sh\n' "${recipe}"
