#!/usr/bin/env bash
# A cascade on a real Slurm of one node, through Kaldi's slurm.pl; needs no cluster. Run as root
# on a machine that has Debian's slurm-wlm and munge, and an ESPnet checkout (its
# egs2/TEMPLATE/asr1/utils/slurm.pl) or a slurm.pl on PATH:
#   ESPNET_ROOT=/path/to/espnet tests/slurm/run.sh
#
# Its own munged, slurmctld and slurmd run in a scratch directory and end with it; the machine's are
# left alone. Then
#   1  a tiny base, and its cascade of two phases
#   2  scancel of a phase's job: the run fails and says so, nothing runs
#   3  the rerun is ended by SIGTERM in phase 2: its job is cancelled
#   4  the next rerun completes, with the models of 1

set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
die() {
    echo "run.sh: $*" >&2
    exit 1
}
export PATH=${ESPNET_ROOT:+${ESPNET_ROOT}/egs2/TEMPLATE/asr1/utils:}${PATH}:/usr/sbin
root=${here%/tests/slurm}
export PYTHONPATH=${root}:${root}/tests${PYTHONPATH:+:${PYTHONPATH}} # tests has tiny.py
[ "$(id -u)" = 0 ] || die "must be run as root, since slurmctld and slurmd are"
for command in slurmctld slurmd sbatch squeue scancel munged; do
    command -v "${command}" > /dev/null ||
        die "found no ${command}; apt-get install slurm-wlm munge"
done
command -v slurm.pl > /dev/null || die "found no slurm.pl; set ESPNET_ROOT to an ESPnet checkout"

# ---- Slurm ----
scratch=$(mktemp -d "${TMPDIR:-/tmp}/slurm.XXXXXX")
stop() {
    kill "${running:-}" "${slurmd:-}" "${slurmctld:-}" "${munged:-}" 2> /dev/null || true
    wait
    if "${keep:-false}"; then
        echo "run.sh: ended early; logs are in ${scratch}" >&2
    else
        rm -rf "${scratch}"
    fi
}
keep=true
trap stop EXIT
chmod 755 "${scratch}"
cd "${scratch}"
mkdir state spool conf
export SLURM_CONF=${scratch}/slurm.conf
cat > "${SLURM_CONF}" << EOF
ClusterName=one
SlurmctldHost=$(hostname -s)(127.0.0.1)
AuthType=auth/munge
AuthInfo=socket=${scratch}/munge.socket
CredType=cred/munge
SlurmUser=root
SlurmctldPort=16817
SlurmdPort=16818
SlurmctldPidFile=${scratch}/slurmctld.pid
SlurmdPidFile=${scratch}/slurmd.pid
StateSaveLocation=${scratch}/state
SlurmdSpoolDir=${scratch}/spool
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
ReturnToService=2
MinJobAge=5
KillWait=5
SchedulerParameters=sched_interval=1
SelectType=select/cons_tres
NodeName=$(hostname -s) NodeAddr=127.0.0.1 CPUs=$(nproc)
PartitionName=cpu Nodes=ALL Default=YES MaxTime=INFINITE State=UP
EOF
cp "${root}/egs2/TEMPLATE/asr1/conf/slurm.conf" conf
echo "export PYTHONPATH=${PYTHONPATH}" > path.sh # slurm.pl's jobs source it, as in a recipe
dd if=/dev/urandom of=munge.key bs=1024 count=1 status=none
chmod 400 munge.key
munge_options=(
    --foreground
    --key-file="${scratch}/munge.key"
    --socket="${scratch}/munge.socket"
    --pid-file="${scratch}/munged.pid"
    --log-file="${scratch}/munged.log"
    --seed-file="${scratch}/munged.seed"
)
munged "${munge_options[@]}" 2> /dev/null &
munged=$!
until [ -S munge.socket ]; do
    kill -0 "${munged}" 2> /dev/null || die "munged did not start; see ${scratch}/munged.log"
    sleep 0.2
done
slurmctld -D > slurmctld.log 2>&1 &
slurmctld=$!
slurmd -D -N "$(hostname -s)" > slurmd.log 2>&1 &
slurmd=$!
for _ in {1..60}; do
    [ "$(sinfo --noheader -o %T 2> /dev/null)" = idle ] && break
    sleep 1
done
sinfo --version
sinfo

# ---- cascades ----
run=(python3 -m espnet_topdown run base --plan plan.yaml --cmd slurm.pl --dir)
jobs() { squeue --noheader -o "%i %j %T"; }
# within SECONDS COMMAND...: waits for the command to succeed.
within() {
    local end=$((SECONDS + $1))
    shift
    until "$@"; do
        [ "${SECONDS}" -lt "${end}" ] || die "waited in vain for: $*"
        sleep 0.2
    done
}
no_jobs() { [ -z "$(jobs)" ]; }
ends() { ! kill -0 "${running}" 2> /dev/null; }

echo "== 1: a base, and its cascade on Slurm"
python3 "${here}/base.py" > base.log 2>&1
printf 'phases: [{cut: decoder}, {cut: encoder.1}]\n' > plan.yaml
"${run[@]}" undisturbed
grep -h "SLURM_JOB_ID=\|with status" undisturbed/phase?/train.log

echo "== 2: scancel while phase 1 trains"
"${run[@]}" disturbed &
running=$!
within 300 test -e disturbed/phase1/3epoch.pth
jobs
scancel --user root
status=0
wait "${running}" || status=$?
echo "the run ended with status ${status}; jobs: [$(jobs)]"
[ "${status}" = 1 ] || die "a cancelled job must end the run with status 1"

echo "== 3: SIGTERM to the rerun while phase 2 trains"
"${run[@]}" disturbed &
running=$!
within 300 test -e disturbed/phase2/3epoch.pth
jobs
kill -TERM "${running}"
status=0
wait "${running}" || status=$?
echo "the run ended with status ${status}; jobs: [$(jobs)]"
[ "${status}" = 143 ] || die "SIGTERM must end the run with status 143"
within 20 no_jobs

echo "== 4: the rerun completes"
"${run[@]}" disturbed
cat disturbed/ledger.jsonl
for phase in phase1 phase2; do
    cmp {undisturbed,disturbed}/"${phase}"/valid.acc.ave.pth
done
python3 -m espnet_topdown verify disturbed
echo "run.sh: all as claimed"
keep=false
