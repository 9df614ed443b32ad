"""All that changes while training: in memory, in checkpoints, in the log."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from netdiffus.errors import InputError
from netdiffus.files import whole_file, write_text
from netdiffus.muon import Muon
from netdiffus.unet import Block

STATE, LOG = "training_state.safetensors", "log.jsonl"
MOMENTS = ("step", "exp_avg", "exp_avg_sq", "momentum")  # what AdamW or Muon keeps per parameter
COUNTED = (  # in a checkpoint
    "step",
    "seconds",
    "losses",
    "held_distance",
    "least_distance",
    "judged",
)
WEIGHT_DECAY = 0.5  # of `default`: with less, more is learned by heart, and little else better
USUAL_DECAY = 0.01  # AdamW's own, of `paper`
# Times the least distance from held traces. Of 100 classes of 8 traces (alexa_voice) one of three
# seeds reached it, after eight minutes, with 8 % exact copies (of real traces 4.5 % are); the
# others had 9 % after twenty.
TOLERATED = 1.4


@dataclass
class State:
    """All that changes while training.

    Attributes:
        net: The network.
        optimizers: Of its parameters; each has one.
        ema: Its parameters, averaged over steps.
        step: Steps done.
        seconds: Time they took.
        losses: Of the steps that are not in the log yet.
        held_distance: How far the averaged network is from held traces.
        least_distance: The least that it was.
        judged: The step after which held traces are learned from, and judge no more, once known.
    """

    net: nn.Module
    optimizers: list[torch.optim.Optimizer]
    ema: list[Tensor]
    step: int = 0
    seconds: float = 0.0
    losses: list[float] = field(default_factory=list)
    held_distance: float = math.inf
    least_distance: float = math.inf
    judged: int | None = None

    @classmethod
    def new(cls, net: nn.Module, rate: float) -> State:
        """Before the first step: Muon for the matrices inside the blocks, AdamW for the rest."""
        inner = [p for block in net.modules() if isinstance(block, Block) for p in block.matrices()]
        others = set(net.parameters()) - set(inner)
        optimizers: list[torch.optim.Optimizer] = [
            torch.optim.AdamW(
                [p for p in net.parameters() if p in others],
                lr=rate,
                weight_decay=WEIGHT_DECAY if inner else USUAL_DECAY,
                fused=True,
            )
        ]
        if inner:
            optimizers.append(Muon(inner, lr=rate, weight_decay=WEIGHT_DECAY))
        return cls(net.train(), optimizers, [p.detach().clone() for p in net.parameters()])

    @property
    def is_late(self) -> bool:
        """Whether held traces say that what was learned last is of the training traces alone."""
        return self.held_distance > TOLERATED * self.least_distance

    def hold_rates(self, device: torch.device) -> None:
        """Keeps learning rates on a GPU, where CUDA graphs of a step read them."""
        for group in self._groups():
            group.update(lr=torch.tensor(group["lr"], device=device), capturable=True)

    def set_rate(self, rate: float) -> None:
        """Of the next step."""
        for group in self._groups():
            if isinstance(group["lr"], Tensor):
                group["lr"].fill_(rate)
            else:
                group["lr"] = rate

    def _groups(self) -> list[dict[str, Any]]:
        return [group for optimizer in self.optimizers for group in optimizer.param_groups]

    def average(self, width: float) -> None:
        """Weight of the newest: 1 - (1 - 1/k)**p at step k; p gives a spread of `width` of k."""
        newest = 1 - (1 - 1 / (self.step + 1)) ** (1 / width)
        with torch.no_grad():
            torch._foreach_lerp_(self.ema, list(self.net.parameters()), newest)

    def averaged(self) -> dict[str, Tensor]:
        """The network's tensors, its parameters averaged."""
        names = (name for name, _ in self.net.named_parameters())
        return self.net.state_dict() | dict(zip(names, self.ema, strict=True))

    def moments(self, parameter: Tensor) -> dict[str, Tensor]:
        """What the optimiser of a parameter keeps about it."""
        return dict(self._optimizer(parameter).state[parameter])

    def _optimizer(self, parameter: Tensor) -> torch.optim.Optimizer:
        return next(
            optimizer
            for optimizer in self.optimizers
            if any(parameter is p for group in optimizer.param_groups for p in group["params"])
        )

    def save(self, folder: Path, run: dict[str, Any]) -> None:
        """Writes all that a resumed run needs, and `run`, which says what run it is."""
        tensors = {}
        for (name, parameter), ema in zip(self.net.named_parameters(), self.ema, strict=True):
            tensors[f"net.{name}"], tensors[f"ema.{name}"] = parameter.detach(), ema
            for key, moment in self.moments(parameter).items():
                tensors[f"{key}.{name}"] = moment
        about = {**run, **{key: getattr(self, key) for key in COUNTED}}
        with whole_file(folder / STATE) as part:
            save_file(
                {name: tensor.cpu().contiguous() for name, tensor in tensors.items()},
                part,
                metadata={key: json.dumps(value) for key, value in about.items()},
            )

    def load(self, folder: Path, run: dict[str, Any]) -> None:
        """Takes over a checkpoint of the same run.

        Raises:
            InputError: There is none, it cannot be read, or it is of another run.
        """
        about, tensors = _read(folder / STATE)
        missing = ", ".join(key for key in (*run, *COUNTED) if key not in about)
        if missing:
            raise InputError(
                f"{folder / STATE}: no checkpoint of this version, it lacks {missing}; train "
                "without resume"
            )
        for key, value in run.items():
            if about[key] != value:
                raise InputError(
                    f"resume: {key} was {about[key]!r} and is now {value!r}; a resumed run "
                    "goes on with the traces and settings it began with"
                )
        for key in COUNTED:
            setattr(self, key, about[key])
        with torch.no_grad():
            for (name, parameter), ema in zip(self.net.named_parameters(), self.ema, strict=True):
                parameter.copy_(tensors[f"net.{name}"])
                ema.copy_(tensors[f"ema.{name}"])
                self._optimizer(parameter).state[parameter] = {
                    key: tensors[f"{key}.{name}"].to(parameter.device)
                    for key in MOMENTS
                    if f"{key}.{name}" in tensors
                }


def _read(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    if not path.is_file():
        raise InputError(
            f"{path}: no such file, so there is nothing to resume; train without resume"
        )
    try:
        with safe_open(path, framework="pt") as file:
            about = {key: json.loads(text) for key, text in (file.metadata() or {}).items()}
            return about, {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except SafetensorError as error:
        raise InputError(f"{path}: truncated or not a safetensors file: {error}") from error


def start_folder(folder: Path, state: State) -> None:
    """Drops log lines that the run now goes over again; an old run's state that it replaces."""
    kept = [one for one in read_log(folder) if one["step"] <= state.step]
    write_text(folder / LOG, "".join(json.dumps(one) + "\n" for one in kept))
    if state.step == 0:
        (folder / STATE).unlink(missing_ok=True)


def log(state: State, folder: Path | None) -> None:
    """Adds a line about the steps since the last one."""
    line = {
        "step": state.step,
        "seconds": round(state.seconds, 2),
        "loss": sum(state.losses) / len(state.losses),
    }
    if math.isfinite(state.held_distance) and state.judged is None:
        line["held_distance"] = state.held_distance
    state.losses.clear()
    if folder is not None:
        with (folder / LOG).open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")


def read_log(folder: str | Path) -> list[dict[str, float]]:
    """The training log of a model folder: one dict with step, seconds and loss per line.

    A last line that a killed run left unfinished is left out.
    """
    path = Path(folder) / LOG
    if not path.is_file():
        return []
    text = path.read_text(encoding="utf-8")
    return [json.loads(line) for line in text[: text.rfind("\n") + 1].splitlines()]
