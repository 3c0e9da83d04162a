"""`python -m tests.audit`: known vulnerabilities of what is locked, licences of what is installed, secrets in the tree.

The exit status is 1 where anything was found, 3 where the service of vulnerabilities could not be asked, else 0.
"""

from __future__ import annotations

import importlib.metadata
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
FREE = re.compile(
    r"\b(MIT|[0-3]?-?BSD|0BSD|Apache|PSF|Python Software Foundation|ISC|MPL|Mozilla Public|Zlib|CC0|Unlicense|HPND"
    r"|Public Domain|L?GPL|GNU|Redistribution and use in source and binary forms|Permission is hereby granted)",
    re.IGNORECASE,
)
UNFREE = re.compile(r"proprietary|nvidia|commercial|all rights reserved\W*$", re.IGNORECASE)
# What is not free, or does not say, and why it is here.
ACCEPTED = {
    r"nvidia-.*|cuda-.*": "NVIDIA's libraries, which PyTorch's packages for Linux bring along; on macOS there are none",
    r"snakemake-interface-.*|conda-inject": "parts of Snakemake, which is MIT; their metadata do not say",
}
SECRETS = {
    "a private key": r"-----BEGIN [A-Z ]*PRIVATE KEY-----",
    "a key of a cloud": r"\b(AKIA|ASIA)[0-9A-Z]{16}\b|\bAIza[\w-]{35}\b",
    "a token of a forge": r"\b(gh[pousr]_\w{36}|github_pat_\w{40,}|glpat-[\w-]{20,})",
    "a token of a registry": r"\b(pypi-AgEI[\w-]{20,}|npm_[A-Za-z0-9]{36}|hf_[A-Za-z]{34})",
    "a token of a service": r"\b(xox[abprs]-[\w-]{10,}|sk-[A-Za-z0-9_-]{32,})",
    "a signed token": r"\beyJ[\w-]{10,}\.eyJ[\w-]{10,}\.[\w-]{10,}",
    "a password": r"(?i)\b(password|passwd|secret|api_?key|access_?token)\s*[:=]\s*[\"'][^\"'\s{}$<>]{8,}[\"']",
    "an address with a password": r"\b[a-z]+://[^\s/:@{}]+:[^\s/:@{}]{3,}@",
}


def main() -> int:
    """Prints what was found, a line each; returns the exit status."""
    found = [*licences(), *secrets(ROOT)]
    known, asked = vulnerabilities(ROOT / "requirements.lock")
    found += known
    for line in found:
        print(f"audit: {line}")
    for pattern, reason in ACCEPTED.items():
        print(f"accepted: {pattern}: {reason}")
    if not asked:
        print("audit: known vulnerabilities were NOT checked: nobody who knows them answers; run this with a network")
    print(f"{len(found)} found" + ("" if asked else ", without the vulnerabilities"))
    return 1 if found else 0 if asked else 3


def vulnerabilities(lock: Path) -> tuple[list[str], bool]:
    """The known vulnerabilities of the locked versions, a line each, and whether anybody could be asked."""
    options = ["--disable-pip", "--require-hashes", "--progress-spinner", "off", "--format", "json", "--timeout", "10"]
    command = [sys.executable, "-m", "pip_audit", "--requirement", str(lock), *options]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    try:
        packages = json.loads(ended.stdout)["dependencies"]
    except (ValueError, KeyError):
        return [], False
    lines = [
        f"{package['name']} {package['version']}: {known['id']}, mended in {', '.join(known['fix_versions']) or 'none'}"
        for package in packages
        for known in package.get("vulns", ())
    ]
    skipped = [
        f"{package['name']}: not checked: {package['skip_reason']}" for package in packages if "skip_reason" in package
    ]
    if len(skipped) == len(packages):  # a mirror of packages that knows no advisories answers like this
        return [], False
    return [*lines, *skipped], True


def licences() -> list[str]:
    """The installed packages whose licence is not free or not told, but for those that are accepted."""
    lines = []
    for package in importlib.metadata.distributions():
        name, text = package.metadata["Name"], licence(package)
        accepted = any(re.fullmatch(pattern, name) for pattern in ACCEPTED)
        if not accepted and (UNFREE.search(text) or not FREE.search(text)):
            lines.append(f"{name}: licence {' '.join(text.split())[:60] or 'unknown'}")
    return sorted(lines)


def licence(package: importlib.metadata.Distribution) -> str:
    """What a package says of its licence: in its metadata, else how its licence begins."""
    data = package.metadata
    told = [data.get("License-Expression") or ""]
    told += [text for text in data.get_all("Classifier") or () if text.startswith("License ::")]
    told += [(data.get("License") or "")[:200]]
    if not any(told):
        files = [file for file in package.files or () if re.search(r"(?i)licen[cs]e|copying", file.name)]
        told += [Path(str(file.locate())).read_text(errors="replace")[:400] for file in files[:1]]
    return "; ".join(filter(None, told))


def secrets(root: Path) -> list[str]:
    """What looks like a key or a password in the files that git tracks: file, line and kind, never the secret."""
    listed = subprocess.run(["git", "-C", str(root), "ls-files", "-z"], capture_output=True, text=True, check=True)
    return [line for name in listed.stdout.split("\0") if name for line in _secrets(root, name)]


def _secrets(root: Path, name: str) -> Iterator[str]:
    path = root / name
    if not path.is_file() or path.is_symlink():
        return
    text = path.read_text(encoding="utf-8", errors="replace")
    for kind, pattern in SECRETS.items():
        for match in re.finditer(pattern, text):
            yield f"{name}:{text.count(chr(10), 0, match.start()) + 1}: this looks like {kind}"


if __name__ == "__main__":
    sys.exit(main())
