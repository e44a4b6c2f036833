"""vLLM's command line and environment, for a CPU and for a GPU environment."""

from __future__ import annotations

from pathlib import Path

import pytest

from server.engine.errors import EnvironmentMissing
from server.engine.library import LocalModel
from server.engine.settings import EngineSettings
from server.engine.vllm import Launch, has_gpu, launch


def an_environment(tmp_path: Path, device: str) -> Path:
    python = tmp_path / "bin" / "python"
    python.parent.mkdir()
    python.touch()
    (tmp_path / "burnish-device").write_text(f"{device}\n")
    return python


def launched(python: Path, context_length: int = 32768, **settings: object) -> Launch:
    model = LocalModel("owner/name", Path("/models/name"), "test", "sha256:0", context_length)
    return launch(model, EngineSettings.model_validate({"python": python, **settings}), 18000)


def option(plan: Launch, name: str) -> str:
    return plan.command[list(plan.command).index(name) + 1]


def test_on_a_cpu(tmp_path: Path) -> None:
    plan = launched(an_environment(tmp_path, "cpu"), kv_cache_gib=1.5)
    assert plan.command[1:3] == ["-m", "vllm.entrypoints.openai.api_server"]
    assert {"--enforce-eager", "--enable-lora", "--no-enable-chunked-prefill"} <= set(plan.command)
    assert option(plan, "--max-num-batched-tokens") == option(plan, "--max-model-len")
    assert int(option(plan, "--max-loras")) >= 2 * 3 + 1  # kinds, versions kept, a newcomer
    module, _, name = option(plan, "--worker-extension-cls").rpartition(".")
    (file,) = [
        found for folder in plan.env["PYTHONPATH"].split(":") if (found := Path(folder, f"{module}.py")).exists()
    ]
    assert f"class {name}:" in file.read_text()
    assert option(plan, "--model") == "/models/name" and option(plan, "--served-model-name") == "owner/name"
    assert option(plan, "--host") == "127.0.0.1" and option(plan, "--port") == "18000"
    assert option(plan, "--dtype") == "bfloat16" and option(plan, "--max-model-len") == "4096"
    assert plan.env["VLLM_CPU_KVCACHE_SPACE"] == "2" and int(plan.env["OMP_NUM_THREADS"]) >= 1


def test_a_small_machine_runs_scheduler_and_model_in_one_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    python = an_environment(tmp_path, "cpu")
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(2)))
    small = launched(python)
    assert option(small, "--distributed-executor-backend") == "uni"
    assert small.env["VLLM_ENABLE_V1_MULTIPROCESSING"] == "0" and small.env["OMP_NUM_THREADS"] == "1"
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(16)))
    large = launched(python)
    assert "--distributed-executor-backend" not in large.command
    assert "VLLM_ENABLE_V1_MULTIPROCESSING" not in large.env


def test_on_a_gpu(tmp_path: Path) -> None:
    plan = launched(an_environment(tmp_path, "gpu"), context_length=131072, kv_cache_gib=2)
    assert "--enforce-eager" not in plan.command
    assert option(plan, "--max-model-len") == "32768"
    assert option(plan, "--kv-cache-memory-bytes") == str(2 * 2**30)
    assert not {"OMP_NUM_THREADS", "VLLM_CPU_KVCACHE_SPACE", "LD_PRELOAD"} & set(plan.env)


def test_nothing_goes_out_and_the_model_does_not_choose_how_to_sample(tmp_path: Path) -> None:
    plan = launched(an_environment(tmp_path, "cpu"))
    assert plan.env["HF_HUB_OFFLINE"] == plan.env["VLLM_NO_USAGE_STATS"] == plan.env["DO_NOT_TRACK"] == "1"
    assert plan.env["VLLM_ALLOW_RUNTIME_LORA_UPDATING"] == "1"
    assert option(plan, "--generation-config") == "vllm"


def test_the_context_is_never_longer_than_the_models_own(tmp_path: Path) -> None:
    plan = launched(an_environment(tmp_path, "cpu"), context_length=2048, max_model_len=8192)
    assert option(plan, "--max-model-len") == "2048"


def test_extra_arguments_come_last(tmp_path: Path) -> None:
    plan = launched(an_environment(tmp_path, "cpu"), extra_args=("--max-num-seqs", "4"), max_num_seqs=8)
    assert list(plan.command[-4:]) == ["--max-num-seqs", "8", "--max-num-seqs", "4"]


def test_a_missing_environment_is_named(tmp_path: Path) -> None:
    with pytest.raises(EnvironmentMissing, match="make setup"):
        launched(tmp_path / "none")


def test_the_note_of_the_environment_decides(tmp_path: Path) -> None:
    assert has_gpu(an_environment(tmp_path, "gpu"))
