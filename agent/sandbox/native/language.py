"""The languages of programs, and their names."""

from __future__ import annotations

from enum import StrEnum

from agent.errors import UnknownLanguage


class Language(StrEnum):
    """What a program is written in."""

    PYTHON = "python"
    JAVASCRIPT = "javascript"
    TYPESCRIPT = "typescript"
    CPP = "cpp"


_ALIASES = {
    "py": Language.PYTHON,
    "python3": Language.PYTHON,
    "js": Language.JAVASCRIPT,
    "node": Language.JAVASCRIPT,
    "ts": Language.TYPESCRIPT,
    "c++": Language.CPP,
    "cxx": Language.CPP,
    **{language.value: language for language in Language},
}


def named(name: str) -> Language:
    """The language called `name`, in any case. Raises UnknownLanguage."""
    found = _ALIASES.get(name.strip().lower())
    if found is None:
        raise UnknownLanguage(
            f"programs in {name[:50]!r} cannot be run; languages: {', '.join(Language)} "
            "(also py, python3, js, node, ts, c++, cxx)"
        )
    return found
