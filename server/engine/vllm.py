"""How vLLM is started for a model: arguments and environment. Nothing here imports it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from pathlib import Path

from server.engine.errors import EnvironmentMissing
from server.engine.library import LocalModel
from server.engine.settings import EngineSettings

_MAX_LORAS = 8
"""Different adapters in one batch; more than are ever loaded (three of each kind and a newcomer)."""
_MAX_CPU_LORAS = 16
"""Adapters kept in memory. One that is evicted is read again from its folder, which must then still exist."""
_FEW_CORES = 4
"""Up to here scheduler and model share one process, and the model's threads are not pinned. Two processes wait for each
other in a loop that takes a whole core. One core is left to the server and the sandbox: threads wait for each other
after every layer, and one that shares its core with another process holds up all (tests/bench/engine_processes.py)."""
_ONE_PROCESS = ("--distributed-executor-backend", "uni")
_CPU_SWITCHES = ("--enforce-eager", "--no-enable-chunked-prefill")
"""Adapters exclude compilation. A prompt is read in one step, because vLLM 0.32 dies on a CPU ("CPU Generator does not
use offset") when a request with a seed is split over two."""
_EXTENSION = Path(__file__).parent / "extension"
"""Modules for vLLM's processes."""
_CPU_CONTEXT = 4096
_GPU_CONTEXT = 32768


@dataclass(frozen=True, slots=True)
class Launch:
    """A command and what it adds to the environment."""

    command: Sequence[str]
    env: Mapping[str, str]


def launch(model: LocalModel, settings: EngineSettings, port: int) -> Launch:
    """The API server for `model` on 127.0.0.1:`port`. Raises EnvironmentMissing."""
    python = settings.interpreter()
    if not python.exists():
        raise EnvironmentMissing(
            f"the engine's interpreter {python} is missing; run `make setup` or give engine.python"
        )
    cpu = not has_gpu(python)
    context = min(model.context_length, settings.max_model_len or (_CPU_CONTEXT if cpu else _GPU_CONTEXT))
    options: dict[str, object] = {
        "--model": model.path,
        "--served-model-name": model.name,
        "--host": "127.0.0.1",
        "--port": port,
        "--dtype": "bfloat16" if cpu else "auto",
        "--max-model-len": context,
        # Only the request decides how to sample, not a generation_config.json; its end tokens still count.
        "--generation-config": "vllm",
        "--max-loras": _MAX_LORAS,
        "--max-cpu-loras": _MAX_CPU_LORAS,
        "--max-lora-rank": settings.max_lora_rank,
        "--uvicorn-log-level": "warning",
    }
    if cpu:
        options |= {"--max-num-batched-tokens": context, "--worker-extension-cls": "cpu_adapters.Extension"}
    if settings.max_num_seqs is not None:
        options["--max-num-seqs"] = settings.max_num_seqs
    if not cpu and settings.kv_cache_gib is not None:
        options["--kv-cache-memory-bytes"] = int(settings.kv_cache_gib * 2**30)
    # The module, because the `vllm` command looks for a distribution of that name and the CPU build has another.
    command = [str(python), "-m", "vllm.entrypoints.openai.api_server", "--enable-lora"]
    command += _CPU_SWITCHES if cpu else []
    command += _ONE_PROCESS if cpu and _cores() <= _FEW_CORES else []
    command += [str(word) for option in options.items() for word in option]
    return Launch([*command, *settings.extra_args], _environment(python, settings, cpu))


def has_gpu(python: Path) -> bool:
    """Whether the environment of `python` is the GPU one; `make setup` notes it, other environments are guessed."""
    note = python.parent.parent / "burnish-device"
    if note.exists():
        return note.read_text().strip() == "gpu"
    return shutil.which("nvidia-smi") is not None


def _environment(python: Path, settings: EngineSettings, cpu: bool) -> dict[str, str]:
    env = {
        "HF_HUB_OFFLINE": "1",
        "VLLM_NO_USAGE_STATS": "1",
        "DO_NOT_TRACK": "1",
        "VLLM_ALLOW_RUNTIME_LORA_UPDATING": "1",
        "PYTHONUNBUFFERED": "1",
    }
    if cpu:
        gib = ceil(settings.kv_cache_gib) if settings.kv_cache_gib else min(16, _memory_gib() // 10)
        env["VLLM_CPU_KVCACHE_SPACE"] = str(max(1, gib))
        env["PYTHONPATH"] = os.pathsep.join(filter(None, [str(_EXTENSION), os.environ.get("PYTHONPATH")]))
        env |= _threads(python)
    return env


def _threads(python: Path) -> dict[str, str]:
    cores = _cores()
    if cores <= _FEW_CORES:
        # With multiprocessing vLLM overrules the choice of one process; the API server stays apart all the same.
        return {
            "VLLM_CPU_OMP_THREADS_BIND": "nobind",
            "OMP_NUM_THREADS": str(max(1, cores - 1)),
            "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
        }
    env = {"OMP_NUM_THREADS": str(cores)}
    intel_openmp = python.parent.parent / "lib" / "libiomp5.so"
    if intel_openmp.exists():  # comes with vllm-cpu; vLLM's advice for many threads
        env["LD_PRELOAD"] = ":".join(filter(None, [str(intel_openmp), os.environ.get("LD_PRELOAD")]))
    return env


def _cores() -> int:
    return len(os.sched_getaffinity(0))


def _memory_gib() -> int:
    """The memory this process may use: the machine's or its container's."""
    available = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    limit = Path("/sys/fs/cgroup/memory.max")
    text = limit.read_text().strip() if limit.exists() else "max"
    return min(available, int(text) if text.isdigit() else available) // 2**30
