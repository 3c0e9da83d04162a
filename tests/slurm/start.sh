#!/usr/bin/env bash
# Starts SLURM on this one machine, on loopback, for tests/test_slurm.py and for nothing else. Needs root, Debian's
# slurm-wlm and munge. The configuration must stand at SLURM's default place: Snakemake's plugin takes SLURM_CONF from
# the environment of its job steps. One that is not ours is never touched.
set -euo pipefail
umask 022
folder=$1
conf=/etc/slurm/slurm.conf
mark="# benchbook's tests: one machine, on loopback"

if [ -e "$conf" ] && [ "$(head -1 "$conf")" != "$mark" ]; then
  echo "$conf belongs to somebody else" >&2
  exit 3
fi
mkdir -p "$folder"/{state,spool} /etc/slurm
cat >"$conf" <<EOF
$mark
ClusterName=benchbook
SlurmctldHost=$(hostname -s)(127.0.0.1)
SlurmUser=root
AuthType=auth/munge
CommunicationParameters=NoCtldInAddrAny,NoInAddrAny
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
MpiDefault=none
ReturnToService=2
KillWait=2
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
DefMemPerNode=400
GresTypes=gpu
StateSaveLocation=$folder/state
SlurmdSpoolDir=$folder/spool
SlurmctldPidFile=$folder/slurmctld.pid
SlurmdPidFile=$folder/slurmd.pid
SlurmctldLogFile=$folder/slurmctld.log
SlurmdLogFile=$folder/slurmd.log
NodeName=$(hostname -s) NodeAddr=127.0.0.1 CPUs=$(nproc) RealMemory=1000 Gres=gpu:2
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP
EOF
printf 'Name=gpu File=%s\n' /dev/null /dev/zero >/etc/slurm/gres.conf # GPUs in name only

if ! munge -n >/dev/null 2>&1; then
  install -d -o munge -g munge -m 0755 /run/munge
  runuser -u munge -- /usr/sbin/munged --pid-file=/run/munge/benchbook-tests.pid
fi
/usr/sbin/slurmctld -c
/usr/sbin/slurmd -c
for _ in $(seq 100); do
  if sinfo --noheader --format=%t 2>/dev/null | grep -q idle; then
    exit 0
  fi
  sleep 0.1
done
echo "SLURM has not started: see $folder" >&2
exit 1
