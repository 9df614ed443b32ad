"""A student takes the place of a network that has been trained, its teacher."""

from __future__ import annotations

from dataclasses import replace

import torch

from netdiffus.networks.build import build, student_of
from netdiffus.networks.causal import CausalNetwork
from netdiffus.training.checkpoint import State, Teacher
from netdiffus.training.distill import Taught
from netdiffus.training.run import Run
from netdiffus.training.step import prepared_step

WEIGHT_DECAY = 0.01  # it has as many traces to learn from as it takes steps


def begin_student(run: Run) -> None:
    """Puts an untrained student in the place of the network, in the model and in the run.

    Only the student is written to the folder; it learns from traces that the teacher makes.
    """
    model, before = run.model, run.state
    teacher = model.network
    assert isinstance(teacher, CausalNetwork)
    teacher.load_state_dict(before.averaged())
    lengths, seed = model.columns.lengths, run.recipe.seed
    student = build(student_of(teacher.config), model.codec, None, lengths, seed + 1)
    model.network = student.to(run.target)
    run.state = _state_of(run, dict(teacher.state_dict()))
    run.data = _batches_of(run, teacher)
    run.step = prepared_step(run.accelerator, run.state, run.target)


def _state_of(run: Run, tensors: dict[str, torch.Tensor]) -> State:
    """The state of a student before its first step; time and steps go on from its teacher's."""
    before = run.state
    state = State.new(run.model.network, replace(run.recipe, weight_decay=WEIGHT_DECAY))
    spent = before.step, before.seconds, before.cpu_seconds
    state.step, state.seconds, state.cpu_seconds = spent
    state.teacher = Teacher(tensors, *spent, before.schedule)
    state.losses = before.losses
    return state


def _batches_of(run: Run, teacher: CausalNetwork) -> Taught:
    shares = torch.from_numpy(run.model.shares)
    accelerator, recipe = run.accelerator, run.recipe
    place = accelerator.process_index, accelerator.num_processes
    return Taught(teacher, shares, recipe.batch_size, recipe.seed, *place)
