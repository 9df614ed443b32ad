"""The state of a training: in memory, in checkpoints, in the log."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from netdiffus.errors import InputError
from netdiffus.files import write_text
from netdiffus.model.files import CHECKPOINT, CONFIG, LOG, STATE, current, identity_of, settle
from netdiffus.training.recipe import Recipe
from netdiffus.training.schedule import Schedule

NOTE = f"{CHECKPOINT}/PRIVATE.txt"
NEW_LOG = "log-new.jsonl"  # of a run that replaces a model, until its own is there
BETAS = (0.9, 0.95)

_NOTE = """This folder is what `netdiffus train --resume` goes on from.

It holds a hash of the training traces and the weights of single steps. Do not give it away with the
model, which does not need it. Delete it when no training will be resumed.
"""


@dataclass
class State:
    """All that changes while training.

    Attributes:
        net: The network.
        optimizer: The optimiser of its parameters.
        ema: Its parameters, averaged over steps.
        schedule: The learning rate, and the validation loss.
        step: Steps done.
        seconds: Wall-clock time of these steps.
        cpu_seconds: Processor time of these steps.
        losses: Losses of the steps that are not in the log yet.
    """

    net: nn.Module
    optimizer: torch.optim.Optimizer
    ema: list[Tensor]
    schedule: Schedule = field(default_factory=Schedule)
    step: int = 0
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    losses: list[float] = field(default_factory=list)

    @classmethod
    def new(cls, net: nn.Module, recipe: Recipe) -> State:
        """The state before the first step. AdamW does not decay biases and layer norms."""
        decaying = [p for p in net.parameters() if p.ndim > 1]
        others = [p for p in net.parameters() if p.ndim <= 1]
        groups: list[dict[str, Any]] = [
            {"params": decaying, "weight_decay": recipe.weight_decay},
            {"params": others, "weight_decay": 0.0},
        ]
        optimizer = torch.optim.AdamW(groups, lr=recipe.learning_rate, betas=BETAS, fused=True)
        return cls(net.train(), optimizer, [p.detach().clone() for p in net.parameters()])

    def hold_rates(self, device: torch.device) -> None:
        """Keeps the learning rates as tensors on the GPU, where the graph of a step reads them."""
        for group in self.optimizer.param_groups:
            group.update(lr=torch.tensor(group["lr"], device=device), capturable=True)

    def set_rate(self, rate: float) -> None:
        """Sets the learning rate of the next step."""
        for group in self.optimizer.param_groups:
            if isinstance(group["lr"], Tensor):
                group["lr"].fill_(rate)
            else:
                group["lr"] = rate

    def average(self, width: float) -> None:
        """Adds the new weights to the average, with weight 1 - (1 - 1/k)**(1/width) at step k."""
        newest = 1 - (1 - 1 / (self.step + 1)) ** (1 / width)
        with torch.no_grad():
            torch._foreach_lerp_(self.ema, list(self.net.parameters()), newest)

    def averaged(self) -> dict[str, Tensor]:
        """The network's tensors, its parameters averaged."""
        names = (name for name, _ in self.net.named_parameters())
        return self.net.state_dict() | dict(zip(names, self.ema, strict=True))

    def content(self, run: dict[str, Any], one: str) -> bytes:
        """The bytes of a checkpoint: all that a resumed run needs, and which run it is.

        It holds a hash of the traces, and weights that are not averaged. So do not share it.

        Args:
            run: Settings that a resumed run must share.
            one: The identity of the save that this belongs to.
        """
        tensors = {name: tensor.cpu().contiguous() for name, tensor in self._tensors().items()}
        about = {**run, **self._counted(), "id": one}
        return save(tensors, metadata={key: json.dumps(value) for key, value in about.items()})

    def load(self, folder: Path, run: dict[str, Any]) -> None:
        """Loads a checkpoint of the same run.

        Raises:
            InputError: There is none, it cannot be read, it is of another run, or its tensors are
                not those of this network.
        """
        one = identity_of(folder)
        path = current(folder, STATE, one)
        about, tensors = _read(path)
        _check_about(path, about, run, self._counted())
        _check_counts(path, about)
        if about.get("id") != one:
            raise InputError(
                f"{path}: belongs to another save than the model beside it; train without resume"
            )
        self.step = about["step"]
        if self.step:
            self._make_moments()
        expected = self._tensors()
        _check_tensors(path, tensors, expected)
        try:
            self.schedule = Schedule(**about["schedule"])
        except TypeError as error:
            raise InputError(f"{path}: schedule: {error}; train without resume") from None
        for key in ("seconds", "cpu_seconds", "losses"):
            setattr(self, key, about[key])
        with torch.no_grad():
            for name, tensor in expected.items():
                tensor.copy_(tensors[name])

    def _counted(self) -> dict[str, Any]:
        return {
            "step": self.step,
            "seconds": self.seconds,
            "cpu_seconds": self.cpu_seconds,
            "losses": self.losses,
            "schedule": asdict(self.schedule),
        }

    def _tensors(self) -> dict[str, Tensor]:
        """Every tensor of a checkpoint by name: parameters, their averages and moments."""
        found = {}
        for (name, parameter), ema in zip(self.net.named_parameters(), self.ema, strict=True):
            found[f"net.{name}"], found[f"ema.{name}"] = parameter.detach(), ema
            for key, moment in self.optimizer.state[parameter].items():
                found[f"{key}.{name}"] = moment
        return found

    def _make_moments(self) -> None:
        """Moments of 0 for every parameter, with the shapes that AdamW gives them."""
        for parameter in self.net.parameters():
            self.optimizer.state[parameter] = {
                "step": torch.zeros((), dtype=torch.float32, device=parameter.device),
                "exp_avg": torch.zeros_like(parameter),
                "exp_avg_sq": torch.zeros_like(parameter),
            }


def _check_about(
    path: Path, about: dict[str, Any], run: dict[str, Any], counted: dict[str, Any]
) -> None:
    missing = ", ".join(key for key in (*run, *counted) if key not in about)
    if missing:
        raise InputError(
            f"{path}: no checkpoint of this version, it lacks {missing}; train without resume"
        )
    refuse_changes(about, run)


def refuse_changes(before: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """Refuses to resume with other traces or settings."""
    for key, value in now.items():
        if before.get(key) != value:
            raise InputError(
                f"resume: {key} was {before.get(key)!r} and is now {value!r}; a resumed run needs "
                "the traces and settings of its start"
            )


def _check_counts(path: Path, about: dict[str, Any]) -> None:
    """Refuses counts and losses whose types a run does not write."""
    schedule = about["schedule"] if isinstance(about["schedule"], dict) else {"losses": None}
    lists: list[Any] = [about["losses"], schedule.get("losses", [])]
    single = [about[key] for key in ("seconds", "cpu_seconds")]
    single += [one for key, one in schedule.items() if key != "losses" and one is not None]
    step, are_lists = about["step"], all(isinstance(one, list) for one in lists)
    numbers = [*single, *lists[0], *lists[1]] if are_lists else [None]
    if (
        type(step) is not int
        or step < 0
        or any(type(one) not in (int, float, bool) for one in numbers)
    ):
        raise InputError(f"{path}: counts that no run has written; train without resume")


def _check_tensors(path: Path, found: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    """Refuses a checkpoint with other tensors, because the optimiser does not check them."""
    for name in sorted(set(found) ^ set(expected)):
        state = "missing" if name in expected else "unknown"
        raise InputError(f"{path}: tensor {name} is {state}; train without resume")
    for name, tensor in found.items():
        wanted = expected[name]
        if tensor.shape != wanted.shape or tensor.dtype != wanted.dtype:
            raise InputError(
                f"{path}: tensor {name} must be {tuple(wanted.shape)} {wanted.dtype}, found "
                f"{tuple(tensor.shape)} {tensor.dtype}; train without resume"
            )
        if not torch.isfinite(tensor).all():
            raise InputError(
                f"{path}: tensor {name} holds values that are not finite; train without resume"
            )


def _read(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    if not path.is_file():
        raise InputError(
            f"{path}: no such file, so there is nothing to resume; train without resume"
        )
    try:
        with safe_open(path, framework="pt") as file:
            about = {key: json.loads(text) for key, text in (file.metadata() or {}).items()}
            return about, {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, ValueError, RecursionError) as error:
        raise InputError(f"{path}: truncated or not a safetensors file: {error}") from error


def start_folder(folder: Path, state: State) -> Path:
    """Prepares the folder of a run; an existing model is kept until a save replaces it.

    Returns:
        The log file of this run, without the lines of steps that it will repeat.
    """
    settle(folder)
    (folder / NEW_LOG).unlink(missing_ok=True)
    (folder / NOTE).parent.mkdir(exist_ok=True)
    write_text(folder / NOTE, _NOTE)
    kept = [one for one in read_log(folder) if one["step"] <= state.step] if state.step else []
    replaces = state.step == 0 and (folder / CONFIG).exists()
    path = folder / (NEW_LOG if replaces else LOG)
    write_text(path, "".join(json.dumps(one) + "\n" for one in kept))
    return path


def log(state: State, path: Path | None) -> None:
    """Appends a line on the steps since the last line, if there is a log."""
    line = {
        "step": state.step,
        "seconds": round(state.seconds, 2),
        "loss": sum(state.losses) / len(state.losses),
    }
    if state.schedule.losses and state.schedule.decay_step is None:
        line["validation_loss"] = state.schedule.losses[-1]
    state.losses.clear()
    if path is not None:
        with path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")


def read_log(folder: str | Path) -> list[dict[str, float]]:
    """The training log of a model folder: one dict with step, seconds and loss per line.

    A last line that a killed run left unfinished is left out.
    """
    path = current(Path(folder), LOG, identity_of(Path(folder)))
    if not path.is_file():
        return []
    try:
        text = path.read_text(encoding="utf-8")
        lines = [json.loads(line) for line in text[: text.rfind("\n") + 1].splitlines()]
        return [_numbers(line) for line in lines]
    except (ValueError, TypeError, OverflowError, RecursionError) as error:
        raise InputError(f"{path}: no log of a training: {error}") from None


def _numbers(line: Any) -> dict[str, float]:
    """A line of the log, checked, because the folder may come from an unknown source."""
    if not isinstance(line, dict):
        raise ValueError(f"a line must be an object, got {line!r:.80}")
    found = {key: float(value) for key, value in line.items()}
    if not {"step", "loss"} <= set(found) or not all(map(math.isfinite, found.values())):
        raise ValueError(f"step and loss must be finite numbers, got {line}")
    return found
