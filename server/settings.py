"""The server's settings: command line, then `BURNISH_SECTION__KEY`, then `burnish.toml`, then defaults.

Built once when the program starts and passed down. Unknown keys are errors, in the file and in the environment.
"""

from __future__ import annotations

import difflib
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import platformdirs
from pydantic import BaseModel, Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, TomlConfigSettingsSource

from agent.settings import Frozen, MemorySettings, RefineSettings, SandboxSettings
from server.adapters.settings import AdapterSettings
from server.engine.settings import EngineSettings

_PREFIX = "BURNISH_"
_NOT_SETTINGS = frozenset({"BURNISH_API_KEY", "BURNISH_TEST_DATA", "BURNISH_TEST_MODELS", "BURNISH_CONFIG"})
"""Variables with our prefix that clients, benchmarks and tests read."""


class SettingsError(Exception):
    """A setting is unknown or has a wrong value; the message names it and where it was set."""


class HttpSettings(Frozen):
    """The public HTTP side."""

    host: str = "127.0.0.1"
    """Address to bind to. Anything but loopback should come with keys."""
    port: int = Field(default=8000, ge=0, le=65535)
    api_keys: tuple[SecretStr, ...] = ()
    """Keys of which a client must send one; empty means no authentication. Only from environment or file."""
    allowed_origins: tuple[str, ...] = ()
    """Web origins that may call the server while it has no keys."""
    max_body_mb: float = Field(default=4.0, gt=0)
    """Larger request bodies are refused."""
    shutdown_s: float = Field(default=20.0, ge=0)
    """How long running requests may go on after the first SIGTERM."""


class StoreSettings(Frozen):
    """Where trajectories are kept."""

    url: str | None = None
    """SQLAlchemy URL, e.g. `postgresql+psycopg://…`; None is SQLite in the data directory."""
    train_on_traffic: bool = False
    """Whether stored trajectories may be trained on."""


class TrainingSettings(Frozen):
    """How `burnish train` is run."""

    python: Path | None = None
    """Interpreter of an environment with the extra `train`; None is the server's own."""

    def interpreter(self) -> Path:
        """The trainer's python."""
        return self.python or Path(sys.executable)


class Settings(BaseSettings):
    """Everything `burnish serve` can be told."""

    model_config = SettingsConfigDict(
        env_prefix=_PREFIX, env_nested_delimiter="__", frozen=True, extra="forbid", toml_file="burnish.toml"
    )

    data_dir: Path = Field(default_factory=lambda: platformdirs.user_data_path("burnish"))
    """Where models, databases, adapters and logs live."""
    http: HttpSettings = HttpSettings()
    engine: EngineSettings = EngineSettings()
    refine: RefineSettings = RefineSettings()
    sandbox: SandboxSettings = SandboxSettings()
    memory: MemorySettings = MemorySettings()
    store: StoreSettings = StoreSettings()
    adapters: AdapterSettings = AdapterSettings()
    training: TrainingSettings = TrainingSettings()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Command line > environment > burnish.toml."""
        toml = Path(os.environ.get("BURNISH_CONFIG", "burnish.toml"))
        return init_settings, env_settings, TomlConfigSettingsSource(settings_cls, toml)


def load_settings(command_line: Mapping[str, Any] | None = None) -> Settings:
    """Read all sources. `command_line` is nested like the settings. Raises SettingsError."""
    _refuse_unknown_variables()
    try:
        return Settings(**(command_line or {}))
    except ValidationError as error:
        problems = [f"{'.'.join(map(str, item['loc']))}: {item['msg']}" for item in error.errors()]
        raise SettingsError("; ".join(problems)) from error


def _refuse_unknown_variables() -> None:
    known = set(_variables(Settings, _PREFIX))
    for name in os.environ:
        if not name.upper().startswith(_PREFIX) or name in _NOT_SETTINGS or name.upper() in known:
            continue
        close = difflib.get_close_matches(name.upper(), known, n=1)
        hint = f"; did you mean {close[0]}?" if close else ""
        raise SettingsError(f"unknown setting in the environment: {name}{hint}")


def _variables(model: type[BaseModel], prefix: str) -> list[str]:
    names = []
    for name, field in model.model_fields.items():
        variable = prefix + name.upper()
        names.append(variable)
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            names.extend(_variables(field.annotation, f"{variable}__"))
    return names
