"""The schedule: one rule, a run. `benchbook build` writes the jobs and names the runs that are missing.

The content-addressed folder is the only target, so no time stamp decides anything.
"""

from pathlib import Path

JOBS = Path(config["jobs"])
RUNS = config["runs"]


rule run:
    input:
        JOBS / "{fingerprint}.json",
    output:
        RUNS + "/{experiment}/{fingerprint}/status.json",
    log:
        str(JOBS / "{experiment}-{fingerprint}.log"),
    threads: int(config["threads"])  # Snakemake tells the job by OMP_NUM_THREADS and its like
    retries: 1  # only a kernel that died makes a job fail; an exception in a notebook is a result
    shell:
        "{config[python]:q} -m benchbook.run {input:q} > {log:q} 2>&1"
