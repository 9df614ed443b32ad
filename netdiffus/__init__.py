"""Learns from labelled network traces, makes synthetic ones, and evaluates them.

The path: `Traces.load` -> `train` -> `sample` -> `evaluate` -> `audit`; the command line has the
same verbs.
"""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

__version__ = version("netdiffus")

if TYPE_CHECKING:
    from netdiffus.attacks.audit import Audit as Audit
    from netdiffus.attacks.audit import audit as audit
    from netdiffus.augmentation import augment as augment
    from netdiffus.augmentation import augment_to_parts as augment_to_parts
    from netdiffus.augmentation import augment_with_report as augment_with_report
    from netdiffus.capture import Rules as Rules
    from netdiffus.capture import convert_captures as convert_captures
    from netdiffus.capture import import_captures as import_captures
    from netdiffus.capture.import_parts import import_to_parts as import_to_parts
    from netdiffus.channels import Channel as Channel
    from netdiffus.codec import GasfCodec as GasfCodec
    from netdiffus.codec import Images as Images
    from netdiffus.codec import TokenCodec as TokenCodec
    from netdiffus.codec.plots import plot_gasf as plot_gasf
    from netdiffus.completion import complete as complete
    from netdiffus.diffusion import Diffusion as Diffusion
    from netdiffus.errors import InputError as InputError
    from netdiffus.evaluation import Report as Report
    from netdiffus.evaluation import evaluate as evaluate
    from netdiffus.evaluation.compare import Comparison as Comparison
    from netdiffus.evaluation.compare import compare as compare
    from netdiffus.export.arrays import write_arrays as write_arrays
    from netdiffus.export.capture import write_capture as write_capture
    from netdiffus.export.flow_tables import write_flows as write_flows
    from netdiffus.export.parts import export_to_parts as export_to_parts
    from netdiffus.model.model import Model as Model
    from netdiffus.parts import Dataset as Dataset
    from netdiffus.privacy.privatise import privatise as privatise
    from netdiffus.privacy.privatise import privatise_to_parts as privatise_to_parts
    from netdiffus.sampling import sample as sample
    from netdiffus.sampling import sample_to_parquet as sample_to_parquet
    from netdiffus.sampling_parts import sample_to_parts as sample_to_parts
    from netdiffus.segments import SegmentModel as SegmentModel
    from netdiffus.segments import sample_segments as sample_segments
    from netdiffus.segments import train_segments as train_segments
    from netdiffus.sessions import SessionModel as SessionModel
    from netdiffus.sessions import compare_sessions as compare_sessions
    from netdiffus.sessions import sample_sessions as sample_sessions
    from netdiffus.sessions import train_sessions as train_sessions
    from netdiffus.traces.lab import lab_traffic as lab_traffic
    from netdiffus.traces.traces import Traces as Traces
    from netdiffus.traces.traces import concat as concat
    from netdiffus.training import Recipe as Recipe
    from netdiffus.training import train as train
    from netdiffus.training import train_private as train_private

# Loaded when first asked for, so that reading traces does not wait for torch.
_HOMES = {
    "Rules": "capture",
    "convert_captures": "capture",
    "import_captures": "capture",
    "import_to_parts": "capture.import_parts",
    "GasfCodec": "codec",
    "Images": "codec",
    "TokenCodec": "codec",
    "plot_gasf": "codec.plots",
    "complete": "completion",
    "Diffusion": "diffusion",
    "InputError": "errors",
    "Report": "evaluation",
    "evaluate": "evaluation",
    "Comparison": "evaluation.compare",
    "compare": "evaluation.compare",
    "Dataset": "parts",
    "lab_traffic": "traces.lab",
    "Model": "model.model",
    "Audit": "attacks.audit",
    "audit": "attacks.audit",
    "augment": "augmentation",
    "augment_to_parts": "augmentation",
    "augment_with_report": "augmentation",
    "privatise": "privacy.privatise",
    "privatise_to_parts": "privacy.privatise",
    "sample": "sampling",
    "sample_to_parquet": "sampling",
    "sample_to_parts": "sampling_parts",
    "SegmentModel": "segments",
    "sample_segments": "segments",
    "train_segments": "segments",
    "SessionModel": "sessions",
    "compare_sessions": "sessions",
    "sample_sessions": "sessions",
    "train_sessions": "sessions",
    "Channel": "channels",
    "Traces": "traces.traces",
    "concat": "traces.traces",
    "Recipe": "training",
    "train": "training",
    "train_private": "training",
    "write_capture": "export.capture",
    "write_arrays": "export.arrays",
    "write_flows": "export.flow_tables",
    "export_to_parts": "export.parts",
}

__all__ = [*_HOMES, "__version__"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'netdiffus' has no attribute {name!r}")
    return getattr(import_module(f"netdiffus.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
