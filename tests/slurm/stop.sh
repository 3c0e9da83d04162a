#!/usr/bin/env bash
# Ends what start.sh has started and removes its configuration.
set -uo pipefail
folder=$1
conf=/etc/slurm/slurm.conf

[ "$(head -1 "$conf" 2>/dev/null)" = "# benchbook's tests: one machine, on loopback" ] || exit 0
for file in "$folder"/slurmd.pid "$folder"/slurmctld.pid /run/munge/benchbook-tests.pid; do
  [ -s "$file" ] || continue
  pid=$(cat "$file")
  kill "$pid"
  for _ in $(seq 50); do
    kill -0 "$pid" 2>/dev/null || break
    sleep 0.1
  done
done
rm -f "$conf" /etc/slurm/gres.conf
