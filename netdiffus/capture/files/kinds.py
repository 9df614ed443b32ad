"""What a file is that is no capture, by its first bytes, and what to do with it."""

from __future__ import annotations

import re

CAPTURES = {
    bytes.fromhex(magic)
    for magic in (
        *("a1b2c3d4", "d4c3b2a1", "a1b23c4d", "4d3cb2a1", "a1b2cd34", "34cdb2a1"),  # pcap
        *("0a0d0d0a", "736e6f6f"),  # pcapng, snoop
    )
}

# Containers and captures that others read, and how to make of them what is read here.
_OTHERS = {
    b"7z\xbc\xaf\x27\x1c": "a 7-Zip archive; unpack it: 7z x FILE",
    b"Rar!\x1a\x07": "a RAR archive; unpack it: unrar x FILE",
    b"\x1f\x9d": "compressed by compress; decompress it: uncompress FILE",
    b"LZIP": "compressed by lzip; decompress it: lzip -d FILE",
    b"XCP\0": "a NetXRay capture; convert it: editcap -F pcap FILE OUT",
    b"RTSS": "a Network Monitor capture; convert it: editcap -F pcap FILE OUT",
    b"GMBU": "a Network Monitor capture; convert it: editcap -F pcap FILE OUT",
    b"iptrace ": "a capture of AIX; convert it: editcap -F pcap FILE OUT",
    b"btsnoop\0": "a capture of Bluetooth; packets in it that are IP export from Wireshark",
    b"TRSNIFF": "a Sniffer capture; convert it: editcap -F pcap FILE OUT",
    b"\xac\x01\x00\x1c": "an Ixia capture; convert it: editcap -F pcap FILE OUT",
    b"\x1c\x00\x01\xac": "an Ixia capture; convert it: editcap -F pcap FILE OUT",
}
_TABLES = (b"PAR1", b"ARROW1", b"\x93NUMPY", b"FEA1", b"\x89HDF")
_HEX_DUMP = re.compile(rb"\s*0{3,8}:?(?:\s+[0-9a-fA-F]{2}){4}")
_NAMES = re.compile(r"\.(pcap|pcapng|cap|ntar|snoop)\d*(\.[a-z0-9]+)?$", re.IGNORECASE)


def is_capture(start: bytes) -> bool:
    """Whether these first bytes are those of a capture that is read."""
    return start[:4] in CAPTURES


def is_unread(start: bytes) -> bool:
    """Whether they are those of a container or capture that only others read."""
    return any(start.startswith(magic) for magic in _OTHERS)


def has_a_captures_name(name: str) -> bool:
    """Whether it ends as the names of captures do, and is no `._` file of a Mac beside one."""
    return _NAMES.search(name) is not None and not re.search(r"(?:^|/)\._[^/]*$", name)


def what_is(start: bytes) -> str:
    """The kind of a file with these first bytes, and the next step."""
    for magic, what in _OTHERS.items():
        if start.startswith(magic):
            return f"{what}; it is not read"
    if not start:
        return "an empty file; copy or download it again"
    if start.startswith(b"version https://git-lfs"):
        return "a Git LFS pointer and not the file that it stands for; run: git lfs pull"
    if start.startswith(_TABLES):
        return "a table, not a capture; tables of traces need no import: split, train, evaluate"
    text = start.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if text.startswith((b"<!doctype html", b"<html", b"<head", b"<?xml")):
        return "a web page or XML, as servers send where a file is missing; download it again"
    if _HEX_DUMP.match(start):
        return "a hex dump; make a capture of it: text2pcap IN OUT.pcap (-l 101 if it begins at IP)"
    if _is_text(start) or text.startswith((b"{", b"[")):
        return (
            "text, not a capture; export packets as pcap (tshark -r IN -w OUT.pcap), or, if it is "
            "a table of traces, give it to train: tables need no import"
        )
    return (
        f"no capture that is read: it begins with 0x{start[:4].hex()}; if Wireshark opens it, "
        "convert it: editcap -F pcap IN OUT (of Windows, .etl: etl2pcapng IN OUT)"
    )


def _is_text(start: bytes) -> bool:
    printable = sum(32 <= byte < 127 or byte in b"\t\r\n" or byte > 127 for byte in start)
    return printable == len(start) and any(byte in b" ,;\t\n" for byte in start)
