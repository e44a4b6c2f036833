"""The reason of a failed start is found among stack frames and shutdown noise. Texts are vLLM's own, shortened."""

from __future__ import annotations

from pathlib import Path

from server.engine.last_words import cause, last_words

REFUSED_LENGTH = """\
(APIServer pid=1) INFO 11-21 08:29:34 [entry.py:140] Starting
Traceback (most recent call last):
  File "/env/vllm/engine/arg_utils.py", line 1955, in create_model_config
    return ModelConfig(
           ^^^^^^^^^^^^
pydantic_core._pydantic_core.ValidationError: 1 validation error for ModelConfig
  Value error, User-specified max_model_len (9999999) is greater than the derived max_model_len
    For further information visit https://errors.pydantic.dev/2.14/v/value_error
"""

DEAD_CORE = """\
(APIServer pid=1) ERROR 11-21 08:29:34 [async_llm.py:906] Traceback (most recent call last):
(APIServer pid=1) ERROR 11-21 08:29:34 [async_llm.py:906]   File "/env/vllm/v1/engine/async_llm.py", line 849
(APIServer pid=1) ERROR 11-21 08:29:34 [async_llm.py:906] EngineDeadError: EngineCore encountered an issue.
(APIServer pid=1) INFO 11-21 08:29:34 [launcher.py:279] [shutdown] API server: engine client stopped
nanobind: leaked 4 instances!
 - leaked instance 0x7fde0cc50bc8 of type "triton._C.libtriton.ir.attribute"
See https://nanobind.readthedocs.io/en/latest/refleaks.html
"""


def words_of(tmp_path: Path, text: str, start: int = 0) -> list[str]:
    log = tmp_path / "engine.log"
    log.write_text(text)
    return last_words(log, start)


def test_a_value_that_is_refused(tmp_path: Path) -> None:
    words = words_of(tmp_path, REFUSED_LENGTH)
    assert cause(words).startswith("Value error, User-specified max_model_len")
    assert words[0] == "Starting"


def test_a_crash_of_an_inner_process(tmp_path: Path) -> None:
    words = words_of(tmp_path, DEAD_CORE)
    assert words == ["EngineDeadError: EngineCore encountered an issue."]
    assert cause(words) == words[0]


def test_a_wrong_option(tmp_path: Path) -> None:
    text = "usage: api_server.py\n        [--headless]\napi_server.py: error: unrecognized arguments: --no-such\n"
    assert cause(words_of(tmp_path, text)) == "api_server.py: error: unrecognized arguments: --no-such"


def test_what_earlier_processes_wrote_does_not_count(tmp_path: Path) -> None:
    assert words_of(tmp_path, DEAD_CORE + "all is well\n", start=len(DEAD_CORE)) == ["all is well"]
    assert cause(["all is well"]) == ""
