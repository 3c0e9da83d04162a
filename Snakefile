"""The schedule: one rule, a run. `benchbook build` writes the jobs and names the runs that are missing.

The content-addressed folder is the only target, so no time stamp decides anything.
"""

import json
from pathlib import Path

JOBS = Path(config["jobs"])
RUNS = config["runs"]


def needs(fingerprint):
    """The folders of the runs that a run needs, which come before it."""
    return json.loads((JOBS / f"{fingerprint}.json").read_text())["needs"].values()


rule run:
    input:
        JOBS / "{fingerprint}.json",
        lambda run: [f"{folder}/status.json" for folder in needs(run.fingerprint)],
    output:
        RUNS + "/{experiment}/{fingerprint}/status.json",
    log:
        str(JOBS / "{experiment}-{fingerprint}.log"),
    threads: int(config["threads"])  # Snakemake tells the job by OMP_NUM_THREADS and its like
    retries: 1  # only a kernel that died makes a job fail; an exception in a notebook is a result
    shell:
        "{config[python]:q} -m benchbook.run {input[0]:q} > {log:q} 2>&1"
