"""In which encoding a text was written; an old one is guessed only where it is beyond doubt."""

from __future__ import annotations

import codecs
import re

import pyarrow as pa

from netdiffus.errors import InputError, shortened
from netdiffus.tables.options import ReadOptions
from netdiffus.tables.report import Findings

_BOMS = (
    (b"\xef\xbb\xbf", "utf-8-sig"), (b"\xff\xfe\0\0", "utf-32"), (b"\0\0\xfe\xff", "utf-32"),
    (b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16"),
)  # fmt: skip
# Those of which a file may be, besides Windows-1252: Chinese, Japanese, Korean, Cyrillic, Greek.
_CANDIDATES = ("gb18030", "big5", "cp932", "euc_jp", "euc_kr", "cp1251", "koi8_r", "cp1253")
# Bytes above 127 that stand in Western text: letters, and the signs of prose and of units.
_LETTERS = rb"\xc0-\xd6\xd8-\xf6\xf8-\xff\x8a\x8c\x8e\x9a\x9c\x9e\x9f"
_SIGNS = rb"\x80\x85\x91-\x97\xa0\xa3\xa7\xa9\xab\xae\xb0\xb2\xb3\xb5\xb7\xbb\xba\xaa\xbf\xa1"
_WORD = re.compile(rb"[A-Za-z" + _LETTERS + rb"]+")
_HIGH = re.compile(rb"[\x80-\xff]")
SAMPLE = 1 << 20  # bytes from the first on that is no ASCII


def as_utf8(data: pa.Buffer, options: ReadOptions, findings: Findings) -> pa.Buffer:
    """The text as UTF-8, without a byte order mark; the findings get its encoding.

    Raises:
        InputError: It is no text of the encoding that was asked for, or in doubt; says how some
            encodings would read it.
    """
    if options.encoding is not None:
        findings.encoding = options.encoding
        return _decoded(data, options.encoding)
    start = data.slice(0, min(len(data), 4096)).to_pybytes()
    findings.encoding = _unicode(start) or "UTF-8"
    if findings.encoding != "UTF-8":
        return _decoded(data, findings.encoding)
    if _is_utf8(data):
        return data
    found = _western(data)
    text = _decoded(data, found)
    findings.encoding = {"cp1252": "Windows-1252", "latin-1": "Latin-1"}[found]
    word = re.search(r"[^\W\d_]*[^\x00-\x7f][^\W\d_]*", text.to_pybytes().decode())
    findings.mended.append(
        f"the file is no UTF-8; it was read as {findings.encoding}, such as "
        f"{word[0] if word else ''!r}. If that looks wrong, name the encoding: --encoding "
        "(encoding= in Python)"
    )
    return text


def _unicode(start: bytes) -> str | None:
    """The Unicode encoding that a byte order mark or zero bytes tell."""
    for mark, encoding in _BOMS:
        if start.startswith(mark):
            return encoding
    zeros = start[:100].count(0)
    if not zeros:
        return None
    if zeros < len(start[:100]) // 3:
        raise InputError("the file holds zero bytes, so it is no text; check what it is")
    if start[1:4] == b"\0\0\0" or start[:3] == b"\0\0\0":
        return "utf-32-be" if start[0] == 0 else "utf-32-le"
    return "utf-16-be" if start[0] == 0 else "utf-16-le"


def _is_utf8(data: pa.Buffer) -> bool:
    offsets = pa.py_buffer((0).to_bytes(8, "little") + len(data).to_bytes(8, "little"))
    try:
        pa.Array.from_buffers(pa.large_binary(), 1, [None, offsets, data]).cast(pa.large_string())
    except pa.ArrowInvalid:
        return False
    return True


def _western(data: pa.Buffer) -> str:
    """Windows-1252, or Latin-1 where that leaves bytes undefined, if the text can be of them."""
    whole = data.to_pybytes()
    first = _HIGH.search(whole)
    at = first.start() if first else 0
    sample = whole[max(0, at - 80) : at + SAMPLE]
    if not is_western(sample):
        raise InputError(_doubt(whole, at))
    try:
        whole.decode("cp1252")
    except UnicodeDecodeError:
        return "latin-1"
    return "cp1252"


def is_western(sample: bytes) -> bool:
    """Whether words are mostly of ASCII, as accents are rare, and no other byte is odd."""
    if re.search(rb"[^\x00-\x7f" + _LETTERS + _SIGNS + rb"]", sample):
        return False
    if re.search(rb"[" + _SIGNS + rb"]{2}", sample):
        return False
    return all(_is_western_word(word) for word in _WORD.findall(sample))


def _is_western_word(word: bytes) -> bool:
    high = len(_HIGH.findall(word))
    return 2 * high <= len(word) or len(word) == 1


def _doubt(whole: bytes, at: int) -> str:
    """What the line of the first odd byte would be in the encodings that can read all of it."""
    line = whole[whole.rfind(b"\n", 0, at) + 1 :].split(b"\n", 1)[0].strip()
    near = max(0, at - whole.rfind(b"\n", 0, at) - 1)
    part, readings = whole[: 64 * SAMPLE], []
    for encoding in _CANDIDATES:
        try:
            codecs.getincrementaldecoder(encoding)().decode(part)
            text = line.decode(encoding)
        except UnicodeDecodeError:
            continue
        begin = len(line[:near].decode(encoding, "ignore"))
        word = re.split(r"[,;\t|\"'\s]", text[begin : begin + 40])[0]
        readings.append(f"{encoding} {shortened(word, 12)}")
    if not readings:
        readings = ["latin-1, which reads any bytes"]
    return (
        f"byte {at}: no UTF-8, and in which encoding the file was written is in doubt; name it "
        f"with --encoding (encoding= in Python). It reads here, in {'; '.join(readings)}"
    )


def _decoded(data: pa.Buffer, encoding: str) -> pa.Buffer:
    try:
        return pa.py_buffer(data.to_pybytes().decode(encoding).lstrip("\ufeff").encode())
    except UnicodeDecodeError as error:
        raise InputError(
            f"byte {error.start}: no {encoding} text; name another with --encoding, or save it "
            "as UTF-8"
        ) from None
