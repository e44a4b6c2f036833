"""The rungs of `burnish bench --ablate`: each switches one more part of the loop on."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

_PARTS = ("repair", "prefix_seeds", "generated_tests", "critic")
"""Request options of the loop's parts, in the order in which the ladder adds them."""

_NAMES = ("best of n by visible tests", "+ repair", "+ refine", "+ generated tests", "+ critic")


def _options(parts_on: int) -> Mapping[str, bool]:
    return MappingProxyType({part: place < parts_on for place, part in enumerate(_PARTS)})


LADDER: Mapping[str, Mapping[str, bool]] = MappingProxyType(
    {name: _options(place) for place, name in enumerate(_NAMES)}
)
"""Options of the refined rungs; `base` stands below them."""
