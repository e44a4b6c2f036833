"""The algorithms by name. Adding one touches its file in training/credit and this dictionary."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

from pydantic import ValidationError

from training.credit import coderl, grpo, rft, rltf, sft, stepcoder
from training.errors import BadSettings
from training.losses import LossSettings
from training.sample import TokenSample, TokenStreams


@dataclass(frozen=True, slots=True, kw_only=True)
class Algorithm:
    """How samples become streams, and what the loop must know about it."""

    name: str
    form: Literal["reinforce", "clip"]
    """Of the policy gradient."""
    streams: Callable[[Sequence[TokenSample]], list[TokenStreams]]
    """One result per sample of a group: all samples of one problem, prompt and policy version."""
    needs_references: bool
    reference_share: float
    """Share of each optimiser step's sequences that are cross-entropy reference samples."""
    losses: LossSettings
    """Bounds of the policy gradient."""


def algorithm(name: str, settings: Mapping[str, object]) -> Algorithm:
    """The algorithm `name` with its settings. Raises BadSettings for unknown names, keys and values."""
    if name not in ALGORITHMS:
        raise BadSettings(f"there is no algorithm {name!r}; choose one of {', '.join(ALGORITHMS)}")
    try:
        return ALGORITHMS[name](settings)
    except ValidationError as error:
        problems = [f"{'.'.join(map(str, item['loc']))}: {item['msg']}" for item in error.errors()]
        raise BadSettings(f"settings of {name}: {'; '.join(problems)}") from error


def _sft(given: Mapping[str, object]) -> Algorithm:
    chosen = sft.SftSettings.model_validate(given)
    return _made("sft", "reinforce", partial(sft.streams, settings=chosen), references=1.0)


def _rft(given: Mapping[str, object]) -> Algorithm:
    return _made("rft", "reinforce", partial(rft.streams, settings=rft.RftSettings.model_validate(given)))


def _coderl(given: Mapping[str, object]) -> Algorithm:
    chosen = coderl.CodeRLSettings.model_validate(given)
    if not chosen.policy_gradient and not chosen.cross_entropy:
        raise BadSettings("coderl: policy_gradient and cross_entropy are both off; turn one on")
    share = (0.5 if chosen.policy_gradient else 1.0) if chosen.cross_entropy else 0.0
    return _made("coderl", "reinforce", partial(coderl.streams, settings=chosen), references=share)


def _rltf(given: Mapping[str, object]) -> Algorithm:
    chosen = rltf.RLTFSettings.model_validate(given)
    learns = chosen.coarse or chosen.fine_weight > 0
    if not learns and not chosen.cross_entropy:
        raise BadSettings("rltf: coarse, fine_weight and cross_entropy are all off; turn one on")
    share = (0.5 if learns else 1.0) if chosen.cross_entropy else 0.0
    return _made("rltf", "reinforce", partial(rltf.streams, settings=chosen), references=share)


def _stepcoder(given: Mapping[str, object]) -> Algorithm:
    chosen = stepcoder.StepCoderSettings.model_validate(given)
    bounds = LossSettings(clip_low=chosen.clip, clip_high=chosen.clip)
    return _made("stepcoder", "clip", partial(stepcoder.streams, settings=chosen), bounds)


def _grpo(given: Mapping[str, object]) -> Algorithm:
    chosen = grpo.GRPOSettings.model_validate(given)
    bounds = LossSettings(clip_low=chosen.clip_low, clip_high=chosen.clip_high)
    return _made("grpo", "clip", partial(grpo.streams, settings=chosen), bounds)


def _made(
    name: str,
    form: Literal["reinforce", "clip"],
    streams: Callable[[Sequence[TokenSample]], list[TokenStreams]],
    losses: LossSettings | None = None,
    *,
    references: float = 0.0,
) -> Algorithm:
    return Algorithm(
        name=name,
        form=form,
        streams=streams,
        needs_references=references > 0,
        reference_share=references,
        losses=losses or LossSettings(),
    )


ALGORITHMS: Mapping[str, Callable[[Mapping[str, object]], Algorithm]] = {
    "sft": _sft,
    "rft": _rft,
    "coderl": _coderl,
    "rltf": _rltf,
    "stepcoder": _stepcoder,
    "grpo": _grpo,
}
