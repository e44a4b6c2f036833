"""Downloads one model from the Hugging Face hub into a folder.

    python hub_download.py NAME FOLDER

A script that `sources.py` runs as a child process, so that a hub that hangs can be given up at once. First line on
stdout: `{"files": {path: [bytes, SHA-256 or null]}}`, printed as soon as the hub has answered; then the files arrive.
A second run goes on where an interrupted one stopped. HF_ENDPOINT, HF_TOKEN and proxies are read from the environment.
"""

from __future__ import annotations

import json
import os
import sys
from fnmatch import fnmatch

os.environ["HF_HUB_DISABLE_PROGRESS_BARS"] = "1"
os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"

import huggingface_hub

WANTED = ("*.safetensors", "*.json", "*.txt", "*.model", "*.jinja", "*.tiktoken", "LICENSE*")


def main() -> None:
    name, folder = sys.argv[1:]
    try:
        info = huggingface_hub.HfApi().model_info(name, files_metadata=True, timeout=5)
        siblings = [s for s in info.siblings or [] if any(fnmatch(s.rfilename, pattern) for pattern in WANTED)]
        files = {s.rfilename: s for s in siblings if "/" not in s.rfilename}
        if not any(path.endswith(".safetensors") for path in files):
            raise SystemExit("it has no safetensors weights (pickled ones are not loaded)")
        listing = {path: [s.size or 0, s.lfs.sha256 if s.lfs else None] for path, s in files.items()}
        print(json.dumps({"files": listing}), flush=True)  # noqa: T201
        huggingface_hub.snapshot_download(name, revision=info.sha, local_dir=folder, allow_patterns=list(files))
    except Exception as error:  # the outermost handler: whatever it was, one line for a person
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise SystemExit(f"{type(error).__name__}: {lines[0]}") from None


if __name__ == "__main__":
    main()
