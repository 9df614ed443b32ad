"""Captures (pcap, pcapng) to traces."""

from __future__ import annotations

from netdiffus.capture.importing import convert_captures as convert_captures
from netdiffus.capture.importing import import_captures as import_captures
from netdiffus.capture.report import CaptureReport as CaptureReport
from netdiffus.capture.rules import Rules as Rules
