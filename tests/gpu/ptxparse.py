"""Reads PTX, as nvcc and Triton write it, into instructions."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

import numpy as np

SIZES = {
    "pred": 1,
    **dict.fromkeys(("b8", "u8", "s8"), 1),
    **dict.fromkeys(("b16", "u16", "s16", "f16", "bf16"), 2),
    **dict.fromkeys(("b32", "u32", "s32", "f32", "f16x2", "bf16x2"), 4),
    **dict.fromkeys(("b64", "u64", "s64", "f64"), 8),
}
NAME = r"[\w$%]+"


class PtxError(RuntimeError):
    """What the kernel did wrong, or what of PTX is not known here."""


@dataclass
class Parameter:
    name: str
    type: str
    count: int  # more than one for a structure, of bytes

    @property
    def size(self) -> int:
        return self.count * SIZES[self.type]


@dataclass
class Instruction:
    opcode: tuple[str, ...]  # "ld.global.f32" in parts
    operands: list[str]
    line: int
    guard: str | None = None  # a predicate register
    negated: bool = False


@dataclass
class Variable:
    size: int
    align: int


@dataclass
class Kernel:
    name: str
    params: list[Parameter]
    threads: int | None = None  # of a block, where the kernel asks for a number
    registers: dict[str, str] = field(default_factory=dict)  # name to type
    shared: dict[str, Variable] = field(default_factory=dict)
    local: dict[str, Variable] = field(default_factory=dict)
    constants: dict[str, np.ndarray] = field(default_factory=dict)  # of the module
    code: list[Instruction] = field(default_factory=list)
    labels: dict[str, int] = field(default_factory=dict)


def parse(text: str, entry: str | None = None) -> Kernel | dict[str, Kernel]:
    """All kernels of a module by name, or the one named `entry`."""
    kernels: dict[str, Kernel] = {}
    constants: dict[str, np.ndarray] = {}
    extern: dict[str, Variable] = {}
    kernel, depth = None, 0
    for statement, line in _statements(text):
        if kernel is None and ".entry" in statement:
            kernel, depth = _entry(statement), 0
            kernel.constants, kernel.shared = constants, dict(extern)
            kernels[kernel.name] = kernel
        elif kernel is None:
            if re.search(r"\.func\b", statement):
                raise PtxError(f"line {line}: a function that was not inlined")
            _variable(statement, constants, extern)
        elif statement == "{":
            depth += 1
        elif statement == "}":
            depth -= 1
            kernel = kernel if depth else None
        else:
            _body(kernel, statement, line)
    for kernel in kernels.values():
        mentioned = set(re.findall(r"[\w$]+", " ".join(o for i in kernel.code for o in i.operands)))
        kernel.shared = {name: v for name, v in kernel.shared.items() if name in mentioned}
    return kernels[entry] if entry else kernels


def _statements(text: str) -> list[tuple[str, int]]:
    """Statements without their semicolons, braces of blocks and labels alone, and their lines."""
    found, pending = [], ""
    text = re.sub(r"/\*.*?\*/", lambda m: "\n" * m[0].count("\n"), text, flags=re.S)
    for line, raw in enumerate(text.split("\n"), 1):
        part = re.sub(r"//.*", "", raw).strip()
        if re.match(r"\.(version|target|address_size|file|section|loc|pragma)\b", part):
            continue
        pending = f"{pending} {part}".strip()
        while piece := _first(pending):
            found.append((piece.rstrip(";").strip(), line))
            pending = pending[len(piece) :].strip()
    return found


def _first(text: str) -> str:
    """The first whole statement of the text, or nothing."""
    for pattern in (
        r"[{}]",
        r"[\w$]+:(?!:)",
        r"[^;{}]*\.entry[^{;]*(?=\{)",
        r"\.(?:visible|extern|weak|global|const)[^;]*;",
        r"[^;]*;",
    ):
        if match := re.match(pattern, text):
            return match[0]
    return ""


def _entry(statement: str) -> Kernel:
    match = re.search(rf"\.entry\s+({NAME})\s*\((.*?)\)(.*)", statement, re.S)
    assert match, statement
    params = []
    for text in filter(None, map(str.strip, match[2].split(","))):
        kind = re.search(r"\.([busf](?:8|16|32|64))\b", text)
        name = re.search(r"([\w$]+)(?:\[(\d+)\])?$", text)
        assert kind, text
        assert name, text
        params.append(Parameter(name[1], kind[1], int(name[2] or 1)))
    threads = re.search(r"\.reqntid\s+(\d+)", match[3])
    return Kernel(match[1], params, int(threads[1]) if threads else None)


def _variable(
    statement: str, constants: dict[str, np.ndarray], extern: dict[str, Variable]
) -> None:
    pattern = (
        rf".*?\.(global|const|shared)\s+(?:\.align\s+(\d+)\s+)?\.(\w+)\s+({NAME})(?:\[(\d*)\])?"
    )
    match = re.match(pattern + r"\s*(?:=\s*(.*))?$", statement, re.S)
    if not match:
        return
    space, align, kind, name, count, values = match.groups()
    if space == "shared":
        extern[name] = Variable(int(count or 0) * SIZES[kind], int(align or 16))
        return
    numbers = [int(v, 0) for v in re.findall(r"-?\w+", values or "")]
    size = SIZES[kind]
    data = b"".join((v % (1 << 8 * size)).to_bytes(size, "little") for v in numbers)
    constants[name] = np.frombuffer(data.ljust(int(count or 1) * size, b"\0"), np.uint8)


def _body(kernel: Kernel, statement: str, line: int) -> None:
    if statement.endswith(":"):
        kernel.labels[statement[:-1]] = len(kernel.code)
    elif statement.startswith(".reg"):
        _registers(kernel, statement)
    elif match := re.match(
        r"\.(shared|local)\s+(?:\.align\s+(\d+)\s+)?\.(\w+)\s+([\w$]+)(?:\[(\d+)\])?", statement
    ):
        space, align, kind, name, count = match.groups()
        variables = kernel.shared if space == "shared" else kernel.local
        variables[name] = Variable(int(count or 1) * SIZES[kind], int(align or SIZES[kind]))
    elif statement and not statement.startswith("."):
        kernel.code.append(_instruction(statement, line))


def _registers(kernel: Kernel, statement: str) -> None:
    _, kind, names = statement.split(None, 2)
    for name in map(str.strip, names.split(",")):
        if many := re.match(rf"({NAME})<(\d+)>", name):
            for k in range(int(many[2])):
                kernel.registers[f"{many[1]}{k}"] = kind[1:]
        else:
            kernel.registers[name] = kind[1:]


def _instruction(statement: str, line: int) -> Instruction:
    guard = re.match(rf"@(!?)({NAME})\s+", statement)
    if guard:
        statement = statement[guard.end() :]
    opcode, _, operands = statement.partition(" ")
    split = [part.strip() for part in re.split(r",(?![^{\[]*[}\]])", operands) if part.strip()]
    made = Instruction(tuple(opcode.split(".")), split, line)
    if guard:
        made.guard, made.negated = guard[2], bool(guard[1])
    return made
