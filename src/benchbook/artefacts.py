"""Files that a run keeps (weights, arrays) and that other experiments need: safetensors, verified when they are read.

The engine tells a running notebook where it is by environment variables; without them a scratch folder serves.
"""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

RUN_FOLDER = "BENCHBOOK_RUN"  # where this run keeps its files
NEEDS = "BENCHBOOK_NEEDS"  # JSON: the folder of each needed experiment's run
SUFFIX = ".safetensors"
SCRATCH = Path("_build", "scratch")


def artefact(file_name: str) -> Path:
    """Where this run keeps a file for others: `save_file(model.state_dict(), artefact("weights.safetensors"))`.

    Raises ValueError for a name with folders and for any other format: those that execute code when they are read, or
    cannot be checked, have no place in a run.
    """
    if Path(file_name).name != file_name or file_name.startswith(".") or not file_name.endswith(SUFFIX):
        raise ValueError(f"artefact '{file_name}' is no plain name ending in {SUFFIX}: leave out folders, leading dots")
    folder = Path(os.environ.get(RUN_FOLDER, SCRATCH))
    folder.mkdir(parents=True, exist_ok=True)
    return folder / file_name


def needed(experiment: str, file_name: str) -> Path:
    """The file that the needed experiment's run kept, its SHA-256 verified.

    Raises ValueError where the notebook's metadata do not declare the need, FileNotFoundError where the run kept no
    such file, and OSError where the file is not what the run wrote. Without the engine the newest run serves.
    """
    folder = _folder_of(experiment)
    path = folder / file_name
    if folder == SCRATCH:
        return _there(path, experiment)
    digest = _status(folder)["files"].get(file_name)
    if digest is None:
        raise FileNotFoundError(f"the run of '{experiment}' in {folder} kept no '{file_name}'")
    with _there(path, experiment).open("rb") as file:
        if hashlib.file_digest(file, "sha256").hexdigest() != digest:
            raise OSError(f"{path} is damaged: run `benchbook run {experiment}` again")
    return path


def _folder_of(experiment: str) -> Path:
    if NEEDS in os.environ:
        folders = json.loads(os.environ[NEEDS])
        if experiment not in folders:
            text = f'"benchbook": {{"needs": ["{experiment}"]}}'
            raise ValueError(f"this notebook does not say that it needs '{experiment}': put {text} into its metadata")
        return Path(folders[experiment])
    made = [path.parent for path in Path("runs", experiment).glob("[!.]*/status.json")]
    return max((folder for folder in made if _status(folder)["state"] == "ok"), key=_ended, default=SCRATCH)


def _there(path: Path, experiment: str) -> Path:
    if not path.is_file():
        raise FileNotFoundError(f"{path} is not there: run `benchbook run {experiment}` first")
    return path


def _status(folder: Path) -> dict[str, Any]:
    status: dict[str, Any] = json.loads((folder / "status.json").read_text(encoding="utf-8"))
    return status


def _ended(folder: Path) -> float:
    return float(_status(folder)["ended"])
