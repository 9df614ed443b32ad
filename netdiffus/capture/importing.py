"""From capture files to traces in memory, or to a Parquet file without holding them all."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import pyarrow as pa

from netdiffus.capture.files.finding import Found, find_captures
from netdiffus.capture.reading import Source
from netdiffus.capture.recordings import recordings
from netdiffus.capture.report import CaptureReport
from netdiffus.capture.rules import Rules
from netdiffus.errors import InputError, Note
from netdiffus.files import refuse_existing
from netdiffus.progress import Progress
from netdiffus.tables.writing import write_parts
from netdiffus.traces.traces import Traces

ROWS = 16_384  # of a Parquet row group: small ones read slowly
Paths = str | Path | Sequence[str | Path]


def import_captures(
    paths: Paths,
    *,
    label_from: str | Path | None = "dir",
    rules: Rules | None = None,
    threads: int | None = None,
    lenient: bool = False,
    together: bool = False,
    progress: Progress | None = None,
) -> tuple[Traces, CaptureReport]:
    """Reads captures into traces.

    pcap (µs, ns and modified) and pcapng, of both byte orders, and snoop, several in one file too;
    plain, gzip, zstd, xz, bzip2 or lz4, and in tar and zip archives, known by their first bytes.
    `-` is standard input; it and pipes are first copied to a temporary file. Ethernet with VLAN,
    SNAP, PPPoE, MPLS (IP and pseudowires), PBB, VN-tag, 802.1BR and open MACsec; RAW, Linux cooked
    (SLL and SLL2), NULL, LOOP, ENC, PPP, Cisco HDLC, frame relay, ATM, FDDI, SLIP, IPNET, IP over
    FireWire, 802.11 data frames (bare, radiotap, PPI, Prism, AVS), NFLOG and PKTAP. A damage costs
    the packet that it hits: what follows is read. Times are whole nanoseconds until they are
    written: `timestamp` is that number over 1e9 as float64, from which `round(timestamp * 1e9)`
    gives it back for every trace shorter than 26 days (2**51 ns). Finer times are cut to
    nanoseconds. Packets come in order of time, of one time in that of the file: those out of order
    by up to 65536 packets are put in order on the way. A capture where that is not enough is read
    twice, and its packets sorted in a temporary file, of 64 bytes per packet, in the system's
    folder for such (TMPDIR). The report counts both.

    Args:
        paths: A file or folder, or several. Folders are searched for captures to their depth.
        label_from: `dir`, the folder just below the one that was given (files in it have its own
            name, files that were given themselves none); `file`, `=NAME` for one class of all, the
            path of a list, the name of a column, or None. A list is CSV, TSV or JSON with the
            columns file,label or label and some of src_ip, src_port, dst_ip, dst_port, protocol,
            start, end, also by the names that flow tools use; flows that no line fits are left out
            and counted.
        rules: What a trace is; flows of 64 packets if not given.
        threads: Files read at a time; the number of cores if not given.
        lenient: Do not warn of problems with captures; the report names them all the same.
        together: The captures of a folder are one recording: flows go on in the next file, in order
            of the times of their first packets.
        progress: Called with (share of the bytes done, a note).

    Returns:
        The traces, in order of captures and then of first packets, and the report. Meta columns are
        `trace_id`, `capture`, the two ends, `packets`, `bytes_up`, `bytes_down`, `duration` (s; all
        of the whole trace, not of the packets kept), `start` (ns since 1970) and `synthetic`.

    Raises:
        InputError: No captures, no traces (with the packets counted by reason), or labels that
            cannot be.
    """
    found = captures_of(paths, label_from, together)
    source = Source(found, label_from, rules or Rules(), threads, progress)
    traces = Traces.from_arrow(pa.concat_tables(source.tables()))
    for hint in source.report.hints:
        warnings.warn(hint, Note, stacklevel=2)
    if not lenient:
        for problem in source.report.problems:
            warnings.warn(problem, stacklevel=2)
    return traces, source.report


def convert_captures(
    paths: Paths,
    out: str | Path,
    *,
    label_from: str | Path | None = "dir",
    rules: Rules | None = None,
    threads: int | None = None,
    together: bool = False,
    force: bool = False,
    progress: Progress | None = None,
) -> CaptureReport:
    """Reads captures into a Parquet file of traces, in memory that does not grow with them.

    As `import_captures`; the rules stand in the schema's metadata under `netdiffus_capture`.

    Args:
        paths: As for `import_captures`.
        out: The .parquet file, written whole or not at all.
        label_from: As for `import_captures`.
        rules: As for `import_captures`.
        threads: As for `import_captures`.
        together: As for `import_captures`.
        force: Replace the file if it is there.
        progress: As for `import_captures`.

    Raises:
        InputError: As for `import_captures`.
        FileExistsError: The file is there and `force` is false.
    """
    out = Path(out)
    if out.suffix != ".parquet":
        raise InputError(f"{out}: captures are imported to Parquet; end the name in .parquet")
    refuse_existing(out, force)
    captures = captures_of(paths, label_from, together)
    source = Source(captures, label_from, rules or Rules(), threads, progress)
    with closing(source.tables()) as tables:
        write_parts(tables, out, ROWS)
    for hint in source.report.hints:
        warnings.warn(hint, Note, stacklevel=2)
    return source.report


def captures_of(paths: Paths, label_from: str | Path | None, together: bool) -> Found:
    """The captures that an import is given."""
    found = find_captures([paths] if isinstance(paths, (str, Path)) else list(paths))
    return recordings(found, label_from) if together else found
