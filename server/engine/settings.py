"""Settings of the engine: one that Burnish starts, or one that is already running."""

from __future__ import annotations

import sys
from pathlib import Path

from pydantic import Field, SecretStr

from agent.settings import Frozen

DEFAULT_MODEL = "Qwen/Qwen2.5-Coder-0.5B-Instruct"
SMALL_MODEL = "HuggingFaceTB/SmolLM2-135M-Instruct"
"""The model of quick tests, and what stands in for the default model when no source has that one."""


class EngineSettings(Frozen):
    """Which engine answers, and how a managed one is started."""

    url: str | None = None
    """An OpenAI-compatible engine that is already running; None starts vLLM as a child process."""
    api_key: SecretStr | None = None
    """Bearer token for `url`."""
    model: str = DEFAULT_MODEL
    """A model's name, a local folder in Hugging Face format, or a GGUF file."""
    python: Path | None = None
    """Interpreter of the engine environment; None is `.venv-engine/bin/python` beside the server's environment."""
    max_model_len: int | None = Field(default=None, ge=256)
    """Longest prompt plus answer, in tokens; None is 4096 on CPU, 32768 on GPU. Never above the model's own."""
    kv_cache_gib: float | None = Field(default=None, gt=0)
    """Memory for the key-value cache; None is a tenth of the RAM on CPU, what vLLM finds free on GPU."""
    max_num_seqs: int | None = Field(default=None, ge=1)
    """Sequences generated at once; None is vLLM's default."""
    max_lora_rank: int = 16
    """Largest rank of an adapter: 1, 8, 16, 32, 64, 128, 256, 320 or 512."""
    extra_args: tuple[str, ...] = ()
    """Further arguments of vLLM's API server; they come last, so they win."""
    start_timeout_s: float = Field(default=900.0, gt=0)
    """A start that takes longer counts as a crash."""

    def interpreter(self) -> Path:
        """The engine environment's python."""
        return self.python or Path(sys.prefix).parent / ".venv-engine" / "bin" / "python"
