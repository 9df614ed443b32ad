"""Executes PTX for sm_80 with NumPy, all threads of many blocks at once.

It stops at accesses out of bounds, misaligned or to shared memory not yet written, at races in
shared memory, and at barriers that not all threads reach. It counts 32-byte sectors for each global
access and passes over the banks for each shared one. It cannot show timings, the ordering between
blocks, or what the assembler makes of the PTX.
"""

from __future__ import annotations

import operator
import re
import struct
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from ptxmemory import (
    LOCAL,
    WARP,
    Access,
    Memory,
    SharedMemory,
    Stats,
    global_access,
)
from ptxparse import SIZES, Instruction, Kernel, Parameter, PtxError, parse

__all__ = ["Kernel", "Memory", "PtxError", "launch", "parse"]

RAW = {1: np.uint8, 2: np.uint16, 4: np.uint32, 8: np.uint64}
SIGNED = {1: np.int8, 2: np.int16, 4: np.int32, 8: np.int64}
FLOAT = {2: np.float16, 4: np.float32, 8: np.float64}
ROUND = {"rni": np.rint, "rzi": np.trunc, "rmi": np.floor, "rpi": np.ceil}
RUNNING, WAITING, DONE = range(3)
SMALLEST = np.float32(2.0**-126)


def dtype_of(kind: str) -> Any:
    """The NumPy type for a PTX type; bfloat16 and pairs as bits."""
    if kind == "pred":
        return np.bool_
    size = SIZES[kind]
    if kind in ("f16", "f32", "f64"):
        return FLOAT[size]
    return SIGNED[size] if kind[0] == "s" else RAW[size]


def bits(x: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(x).view(RAW[x.dtype.itemsize])


def flushed(x: np.ndarray) -> np.ndarray:
    return np.where(np.abs(x) < SMALLEST, np.copysign(np.float32(0), x), x)


def wide(x: np.ndarray, kind: str) -> np.ndarray:
    """float16 or the bits of bfloat16, as float32."""
    if kind == "bf16":
        return (x.astype(np.uint32) << np.uint32(16)).view(np.float32)
    return x.astype(np.float32)


def narrow(x: np.ndarray, kind: str) -> np.ndarray:
    """float32 to the bits of float16 or bfloat16, to nearest even."""
    if kind == "f16":
        return bits(x.astype(np.float16))
    whole = bits(x)
    half = (whole + np.uint32(0x7FFF) + ((whole >> np.uint32(16)) & np.uint32(1))) >> 16
    return np.where(np.isnan(x), np.uint16(0x7FFF), half.astype(np.uint16))


def names(operand: str) -> list[str]:
    """ "{a, b}" or "a|b" or "a" as a list."""
    return [part.strip() for part in re.split(r"[,|]", operand.strip("{} "))]


def divided(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Quotient rounded towards zero."""
    if x.dtype.kind == "u":
        return x // y
    quotient = np.abs(x) // np.abs(y)
    return np.where((x < 0) != (y < 0), -quotient, quotient)


def high_half(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    width = 8 * x.dtype.itemsize
    product = x.astype(object) * y.astype(object)
    return np.array([int(p) >> width for p in product], object).astype(x.dtype)


BINARY: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "add": operator.add,
    "sub": operator.sub,
    "and": operator.and_,
    "or": operator.or_,
    "xor": operator.xor,
    "min": np.fmin,
    "max": np.fmax,
}
COMPARE: dict[str, Callable[[Any, Any], np.ndarray]] = {
    "eq": operator.eq,
    "ne": operator.ne,
    "lt": operator.lt,
    "le": operator.le,
    "gt": operator.gt,
    "ge": operator.ge,
    "lo": operator.lt,
    "ls": operator.le,
    "hi": operator.gt,
    "hs": operator.ge,
}
# Those that hardware answers approximately unless they say .rn.
UNARY: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "sqrt": np.sqrt,
    "rcp": lambda x: 1 / x,
    "rsqrt": lambda x: 1 / np.sqrt(x),
    "ex2": np.exp2,
    "lg2": np.log2,
    "sin": np.sin,
    "cos": np.cos,
    "tanh": np.tanh,
}


class Execution:
    """Some blocks of a launch, their threads in step wherever control flow lets them."""

    def __init__(
        self,
        kernel: Kernel,
        grid: tuple[int, int, int],
        block: tuple[int, int, int],
        blocks: range,
        params: dict[str, bytes],
        memory: Memory,
        dyn_shared: int,
        stats: Stats | None,
        approx_ulp: float,
    ) -> None:
        self.kernel, self.params, self.memory = kernel, params, memory
        self.stats, self.approx_ulp = stats, approx_ulp
        self.size = block[0] * block[1] * block[2]
        every = np.arange(self.size * len(blocks))
        self.count = len(every)
        self.thread, self.block = every % self.size, every // self.size
        self.warps = -(-self.size // WARP)
        self.warp = self.block * self.warps + self.thread // WARP
        self.special = self._special(grid, block, np.asarray(blocks)[self.block])
        variables = kernel.shared
        self.shared = SharedMemory(len(blocks), self.warps * len(blocks), variables, dyn_shared)
        self.places = dict(self.shared.places) | memory.constants
        size = 0
        for name, variable in kernel.local.items():
            size = -(-size // variable.align) * variable.align
            self.places[name] = LOCAL + size
            size += variable.size
        self.local = np.zeros((self.count, max(size, 8)), np.uint8)
        self.registers: dict[str, np.ndarray] = {}
        self.carry = np.zeros(self.count, np.bool_)
        self.executed = 0
        self.every = np.arange(self.count)

    def _special(
        self, grid: tuple[int, int, int], block: tuple[int, int, int], number: np.ndarray
    ) -> dict[str, np.ndarray]:
        found = {"%laneid": self.thread % WARP, "%warpid": self.thread // WARP}
        for name, index, shape in (("tid", self.thread, block), ("ctaid", number, grid)):
            axes = (index % shape[0], index // shape[0] % shape[1], index // (shape[0] * shape[1]))
            for axis, value, length in zip("xyz", axes, shape, strict=True):
                found[f"%{name}.{axis}"] = value
                found[f"%n{name}.{axis}"] = np.full(self.count, length)
        return {name: value.astype(np.uint32) for name, value in found.items()}

    # Operands

    def read(self, operand: str, kind: str, who: np.ndarray) -> np.ndarray:
        """The operand's value for the threads, as NumPy's type for a PTX type."""
        dtype = dtype_of(kind)
        value = self.special.get(operand)
        if value is None and operand in self.kernel.registers:
            value = self._register(operand)
        if value is None:
            return np.full(len(who), self._constant(operand, kind), RAW[SIZES[kind]]).view(dtype)
        if len(who) < self.count:
            value = value[who]
        if kind == "pred":
            return value
        raw = RAW[SIZES[kind]]
        return (value if value.dtype == raw else value.astype(raw)).view(dtype)

    def _register(self, name: str) -> np.ndarray:
        if name not in self.registers:
            kind = self.kernel.registers[name]
            wrong = 0xCDCDCDCDCDCDCDCD & ((1 << 8 * SIZES[kind]) - 1)  # shows if used unset
            raw = np.bool_ if kind == "pred" else RAW[SIZES[kind]]
            self.registers[name] = np.full(self.count, False if kind == "pred" else wrong, raw)
        return self.registers[name]

    def _constant(self, text: str, kind: str) -> int:
        mask = (1 << 8 * SIZES[kind]) - 1
        if text in self.places:
            return self.places[text] & mask
        if match := re.match(r"0[fFdD]([0-9a-fA-F]+)$", text):
            return int(match[1], 16)
        return int(text.rstrip("U"), 0) & mask

    def write(self, name: str, value: np.ndarray, who: np.ndarray) -> None:
        if name == "_":
            return
        register = self._register(name)
        if register.dtype != np.bool_:
            size = register.dtype.itemsize
            if value.dtype.itemsize != size:  # widened as its type says
                value = value.astype(SIGNED[size] if value.dtype.kind == "i" else RAW[size])
            value = bits(value)
        register[slice(None) if len(who) == self.count else who] = value

    def address(self, operand: str, who: np.ndarray) -> np.ndarray:
        match = re.match(r"\[\s*([^\s+\]]+)\s*(?:\+\s*(-?\w+))?\s*\]", operand)
        assert match, operand
        kind = self.kernel.registers.get(match[1], "u64")
        base = self.read(match[1], "u64" if SIZES[kind] == 8 else "u32", who).astype(np.uint64)
        return base + np.uint64(int(match[2] or "0", 0) % 2**64)

    def access(
        self,
        space: str,
        address: np.ndarray,
        size: int,
        who: np.ndarray,
        line: int,
        data: np.ndarray | None = None,
    ) -> Any:
        one = Access(address, size, line, self.thread[who], self.block[who], self.warp[who])
        if space == "shared" or (space == "generic" and (address >> np.uint64(40) == 1).all()):
            return self.shared.access(one, data, self.stats)
        if space != "local":
            return global_access(self.memory, one, data, self.stats)
        at = (who[:, None], (address.astype(np.int64) & (LOCAL - 1))[:, None] + np.arange(size))
        if data is None:
            return self.local[at]
        self.local[at] = data
        return None

    # Control flow

    def run(self) -> None:
        place = np.zeros(self.count, np.int64)
        state = np.full(self.count, RUNNING)
        code, labels = self.kernel.code, set(self.kernel.labels.values())
        while not (state == DONE).all():
            active = np.flatnonzero(state == RUNNING)
            if not len(active):
                self._pass_barrier(state, place)
                continue
            at = int(place[active].min())  # those behind first, so that paths meet again
            who = active[place[active] == at]
            while True:
                here = code[at]
                self.executed += len(who)
                taken = who
                if here.guard:
                    held = self.read(here.guard, "pred", who)
                    taken = who[held != here.negated]
                name = here.opcode[0]
                at += 1
                if name == "bra":
                    place[who] = at
                    place[taken] = self.kernel.labels[here.operands[0]]
                    break
                if name in ("ret", "exit"):
                    place[who] = at
                    state[taken] = DONE
                    break
                if name in ("bar", "barrier") and "warp" not in here.opcode:
                    state[who] = WAITING
                    place[who] = at
                    break
                if len(taken):
                    getattr(self, f"do_{name}", self.do_unknown)(here, taken)
                if at in labels:
                    place[who] = at
                    break

    def _pass_barrier(self, state: np.ndarray, place: np.ndarray) -> None:
        waiting = np.flatnonzero(state == WAITING)
        for block in np.unique(self.block[waiting]):
            mine = waiting[self.block[waiting] == block]
            lines = {self.kernel.code[k - 1].line for k in np.unique(place[mine])}
            if len(mine) != self.size or len(lines) > 1:
                raise PtxError(
                    f"barrier at PTX lines {lines}: {len(mine)} of {self.size} threads of a block"
                )
            self.shared.block_epoch[block] += 1
        state[waiting] = RUNNING

    # Instructions

    def do_unknown(self, i: Instruction, who: np.ndarray) -> None:
        raise PtxError(f"{'.'.join(i.opcode)} at PTX line {i.line} is not known here")

    def do_ld(self, i: Instruction, who: np.ndarray) -> None:
        into, kind = names(i.operands[0]), i.opcode[-1]
        size = SIZES[kind]
        if "param" in i.opcode:
            match = re.match(r"\[\s*([\w$]+)\s*(?:\+\s*(\d+))?\s*\]", i.operands[1])
            assert match
            start = int(match[2] or 0)
            raw = self.params[match[1]][start : start + size * len(into)]
            rows = np.broadcast_to(np.frombuffer(raw, np.uint8), (len(who), len(raw)))
        else:
            address = self.address(i.operands[1], who)
            rows = self.access(_space(i), address, size * len(into), who, i.line)
        for k, name in enumerate(into):
            part = np.ascontiguousarray(rows[:, k * size : (k + 1) * size])
            self.write(name, part.view(dtype_of(kind)).ravel(), who)

    def do_st(self, i: Instruction, who: np.ndarray) -> None:
        kind, values = i.opcode[-1], names(i.operands[1])
        parts = [self.read(name, kind, who) for name in values]
        rows = np.concatenate([bits(v).view(np.uint8).reshape(len(who), -1) for v in parts], 1)
        address = self.address(i.operands[0], who)
        self.access(_space(i), address, rows.shape[1], who, i.line, rows)

    def do_ldmatrix(self, i: Instruction, who: np.ndarray) -> None:
        rows = self.address(i.operands[1], who).reshape(-1, WARP)
        lane = np.arange(WARP)
        for k, name in enumerate(names(i.operands[0])):
            start = rows[:, 8 * k : 8 * k + 8]
            if "trans" in i.opcode:
                pair = [
                    start[:, 2 * (lane % 4) + h] + np.uint64(2) * (lane // 4).astype(np.uint64)
                    for h in (0, 1)
                ]
                parts = [self.access("shared", a.ravel(), 2, who, i.line) for a in pair]
                found = np.concatenate(parts, 1)
            else:
                address = start[:, lane // 4] + np.uint64(4) * (lane % 4).astype(np.uint64)
                found = self.access("shared", address.ravel(), 4, who, i.line)
            self.write(name, np.ascontiguousarray(found).view(np.uint32).ravel(), who)

    def do_mov(self, i: Instruction, who: np.ndarray) -> None:
        kind, (into, source) = i.opcode[-1], i.operands
        raw = dtype_of(kind)
        if into.startswith("{"):
            value, parts = self.read(source, kind, who), names(into)
            width = 8 * SIZES[kind] // len(parts)
            for k, name in enumerate(parts):
                self.write(name, (value >> raw(width * k)).astype(RAW[width // 8]), who)
        elif source.startswith("{"):
            parts = names(source)
            width = 8 * SIZES[kind] // len(parts)
            pieces = [self.read(name, f"b{width}", who).astype(raw) for name in parts]
            shifted = [piece << raw(width * k) for k, piece in enumerate(pieces)]
            self.write(into, np.bitwise_or.reduce(shifted), who)
        else:
            self.write(into, self.read(source, kind, who), who)

    do_cvta = do_mov

    def _float_result(self, i: Instruction, value: np.ndarray) -> np.ndarray:
        if "ftz" in i.opcode:
            value = flushed(value)
        if "sat" in i.opcode:
            value = np.where(np.isnan(value), value.dtype.type(0), np.clip(value, 0, 1))
        return value

    def _inputs(self, i: Instruction, who: np.ndarray, kind: str = "") -> list[np.ndarray]:
        kind = kind or i.opcode[-1]
        found = [self.read(name, kind, who) for name in i.operands[1:]]
        return [flushed(x) for x in found] if "ftz" in i.opcode and kind == "f32" else found

    def do_binary(self, i: Instruction, who: np.ndarray) -> None:
        kind, name = i.opcode[-1], i.opcode[0]
        x, y = self._inputs(i, who)
        function = BINARY[name]
        if name in ("min", "max") and "NaN" in i.opcode:
            function = np.minimum if name == "min" else np.maximum
        if kind in ("f16", "bf16"):
            value = narrow(function(wide(x, kind), wide(y, kind)), kind)
        else:
            value = function(x, y)
        if kind in ("f32", "f64"):
            value = self._float_result(i, value)
        if "cc" in i.opcode:
            self.carry[who] = bits(value) < bits(x)
        self.write(i.operands[0], value, who)

    do_add = do_sub = do_and = do_or = do_xor = do_min = do_max = do_binary

    def do_addc(self, i: Instruction, who: np.ndarray) -> None:
        x, y = self._inputs(i, who)
        value = x + y
        total = value + self.carry[who].astype(value.dtype)
        if "cc" in i.opcode:
            self.carry[who] = (bits(value) < bits(x)) | (bits(total) < bits(value))
        self.write(i.operands[0], total, who)

    def _product(self, i: Instruction, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        if "wide" in i.opcode:
            table = SIGNED if x.dtype.kind == "i" else RAW
            double = table[2 * x.dtype.itemsize]
            return x.astype(double) * y.astype(double)
        return high_half(x, y) if "hi" in i.opcode else x * y

    def do_mul(self, i: Instruction, who: np.ndarray) -> None:
        x, y = self._inputs(i, who)
        value = self._product(i, x, y)
        if i.opcode[-1][0] == "f":
            value = self._float_result(i, value)
        self.write(i.operands[0], value, who)

    def do_mad(self, i: Instruction, who: np.ndarray) -> None:
        kind = i.opcode[-1]
        if kind[0] == "f":  # fused: the kernels have none
            self.do_unknown(i, who)
        x, y = (self.read(name, kind, who) for name in i.operands[1:3])
        product = self._product(i, x, y)
        sum_kind = f"{kind[0]}{8 * product.dtype.itemsize}"
        value = product + self.read(i.operands[3], sum_kind, who)
        if "cc" in i.opcode:
            self.carry[who] = bits(value) < bits(product)
        self.write(i.operands[0], value, who)

    def do_madc(self, i: Instruction, who: np.ndarray) -> None:
        x, y, z = self._inputs(i, who)
        value = self._product(i, x, y) + z + self.carry[who].astype(x.dtype)
        self.write(i.operands[0], value, who)

    def do_div(self, i: Instruction, who: np.ndarray) -> None:
        x, y = self._inputs(i, who)
        if x.dtype.kind == "f":
            value = x / y
            if "rn" not in i.opcode:
                value = self._approximate(x.astype(np.float64) / y)
            self.write(i.operands[0], self._float_result(i, value), who)
            return
        if (y == 0).any():
            raise PtxError(f"division by zero at PTX line {i.line}")
        self.write(i.operands[0], divided(x, y), who)

    def do_rem(self, i: Instruction, who: np.ndarray) -> None:
        x, y = self._inputs(i, who)
        if (y == 0).any():
            raise PtxError(f"division by zero at PTX line {i.line}")
        self.write(i.operands[0], np.fmod(x, y), who)

    def do_unary(self, i: Instruction, who: np.ndarray) -> None:
        (x,) = self._inputs(i, who)
        function = UNARY[i.opcode[0]]
        if "rn" in i.opcode:
            value = function(x)
        else:
            value = self._approximate(function(x.astype(np.float64)))
        self.write(i.operands[0], self._float_result(i, value), who)

    do_sqrt = do_rcp = do_rsqrt = do_ex2 = do_lg2 = do_sin = do_cos = do_tanh = do_unary

    def _approximate(self, exact: np.ndarray) -> np.ndarray:
        """float32, off by up to approx_ulp, the same for the same value."""
        value = exact.astype(np.float32)
        mixed = (bits(value) * np.uint32(2654435761)) >> np.uint32(8)
        shift = (mixed / 2.0**23 - 1) * self.approx_ulp * 2.0**-23
        return (value * (1 + shift)).astype(np.float32)

    def do_neg(self, i: Instruction, who: np.ndarray) -> None:
        (x,) = self._inputs(i, who)
        self.write(i.operands[0], -x, who)

    def do_abs(self, i: Instruction, who: np.ndarray) -> None:
        (x,) = self._inputs(i, who)
        self.write(i.operands[0], np.abs(x), who)

    def do_not(self, i: Instruction, who: np.ndarray) -> None:
        (x,) = self._inputs(i, who)
        self.write(i.operands[0], ~x, who)

    def do_shl(self, i: Instruction, who: np.ndarray) -> None:
        x = self.read(i.operands[1], i.opcode[-1], who)
        distance = self.read(i.operands[2], "u32", who)
        width = 8 * x.dtype.itemsize
        near = np.minimum(distance, width - 1).astype(x.dtype)
        if i.opcode[0] == "shl":
            value = np.where(distance < width, x << near, 0)
        else:  # what is shifted in is the sign, or zeros
            value = np.where(
                distance < width,
                x >> near,
                x >> x.dtype.type(width - 1) if x.dtype.kind == "i" else 0,
            )
        self.write(i.operands[0], value.astype(x.dtype), who)

    do_shr = do_shl

    def do_shf(self, i: Instruction, who: np.ndarray) -> None:
        low, high, distance = self._inputs(i, who, "u32")
        both = (high.astype(np.uint64) << np.uint64(32)) | low
        distance = (distance & 31).astype(np.uint64)
        moved = (both << distance) >> np.uint64(32) if "l" in i.opcode else both >> distance
        self.write(i.operands[0], moved.astype(np.uint32), who)

    def do_bfe(self, i: Instruction, who: np.ndarray) -> None:
        x = self.read(i.operands[1], i.opcode[-1], who)
        first, length = (self.read(n, "u32", who).astype(np.int64) for n in i.operands[2:])
        width = 8 * x.dtype.itemsize
        end = np.minimum(first + length, width)
        up = (x << (width - end).astype(x.dtype)).astype(x.dtype)
        value = up >> (width - (end - first)).clip(0, width - 1).astype(x.dtype)
        self.write(i.operands[0], np.where(length == 0, 0, value).astype(x.dtype), who)

    def do_bfi(self, i: Instruction, who: np.ndarray) -> None:
        kind = i.opcode[-1]
        x, into = (self.read(n, kind, who).astype(np.uint64) for n in i.operands[1:3])
        first, length = (self.read(n, "u32", who).astype(np.uint64) for n in i.operands[3:])
        mask = ((np.uint64(1) << length) - np.uint64(1)) << first
        value = (into & ~mask) | ((x << first) & mask)
        self.write(i.operands[0], value.astype(dtype_of(kind)), who)

    def do_prmt(self, i: Instruction, who: np.ndarray) -> None:
        x, y, selector = self._inputs(i, who, "u32")
        pool = np.stack([x, y], 1).view(np.uint8)
        chosen = (selector[:, None] >> (np.uint32(4) * np.arange(4, dtype=np.uint32))) & 7
        picked = np.take_along_axis(pool, chosen.astype(np.int64), 1)
        self.write(i.operands[0], np.ascontiguousarray(picked).view(np.uint32).ravel(), who)

    def do_selp(self, i: Instruction, who: np.ndarray) -> None:
        kind = i.opcode[-1]
        x, y = (self.read(name, kind, who) for name in i.operands[1:3])
        self.write(i.operands[0], np.where(self.read(i.operands[3], "pred", who), x, y), who)

    def do_setp(self, i: Instruction, who: np.ndarray) -> None:
        kind, how = i.opcode[-1], i.opcode[1]
        x, y = (self.read(name, kind, who) for name in i.operands[1:3])
        if kind[0] != "f":
            held = COMPARE[how](x, y)
        else:
            if "ftz" in i.opcode:
                x, y = flushed(x), flushed(y)
            nan = np.isnan(x) | np.isnan(y)
            if how in ("num", "nan"):
                held = nan == (how == "nan")
            elif len(how) == 3:  # "unordered or ..."
                held = COMPARE[how[:2]](x, y) | nan
            else:
                held = COMPARE[how](x, y) & ~nan
        if i.opcode[2] in ("and", "or", "xor"):
            other = self.read(i.operands[3].lstrip("!"), "pred", who)
            held = BINARY[i.opcode[2]](held, other ^ i.operands[3].startswith("!"))
        for name, value in zip(names(i.operands[0]), (held, ~held), strict=False):
            self.write(name, value, who)

    def do_cvt(self, i: Instruction, who: np.ndarray) -> None:
        to, source = i.opcode[-2:]
        if to in ("f16x2", "bf16x2"):
            high, low = (narrow(self.read(n, "f32", who), to[:-2]) for n in i.operands[1:3])
            value = (high.astype(np.uint32) << np.uint32(16)) | low
        else:
            value = self._converted(i, to, source, self.read(i.operands[1], source, who))
        self.write(i.operands[0], value, who)

    def _converted(self, i: Instruction, to: str, source: str, x: np.ndarray) -> np.ndarray:
        if to == "bf16" or source == "bf16":
            return narrow(x, "bf16") if to == "bf16" else wide(x, source)
        if "ftz" in i.opcode and source == "f32":
            x = flushed(x)
        whole = next((ROUND[part] for part in i.opcode if part in ROUND), None)
        dtype = dtype_of(to)
        if to[0] == "f":
            x = whole(x) if whole else x
            return self._float_result(i, x.astype(dtype))
        if source[0] != "f":
            return x.astype(dtype)
        assert whole
        limits = np.iinfo(dtype)
        rounded = np.where(np.isnan(x), 0, whole(x.astype(np.longdouble)))
        return np.clip(rounded, limits.min, limits.max).astype(dtype)

    def do_shfl(self, i: Instruction, who: np.ndarray) -> None:
        x, b, c, mask = (self.read(n, "u32", who) for n in i.operands[1:5])
        lane, warp = self.thread[who] % WARP, self.warp[who]
        b, c = b.astype(np.int64), c.astype(np.int64)
        shown = self._shown(i, x, mask, who)
        segment, clamp = (c >> 8) & 31, c & 31
        first, last = lane & segment, (lane & segment) | (clamp & ~segment)
        how = i.opcode[2]
        source = {
            "bfly": lane ^ b,
            "idx": first | (b & ~segment & 31),
            "up": lane - b,
            "down": lane + b,
        }[how]
        valid = source >= last if how == "up" else source <= last
        into = names(i.operands[0])
        self.write(into[0], shown[warp, np.where(valid, source, lane)], who)
        if len(into) > 1:
            self.write(into[1], valid, who)

    def do_redux(self, i: Instruction, who: np.ndarray) -> None:
        x, mask = (self.read(n, "u32", who) for n in i.operands[1:3])
        if "add" not in i.opcode or (mask != 0xFFFFFFFF).any():
            self.do_unknown(i, who)
        shown = self._shown(i, x, mask, who)
        self.write(i.operands[0], shown.sum(1, dtype=np.uint32)[self.warp[who]], who)

    def _shown(self, i: Instruction, x: np.ndarray, mask: np.ndarray, who: np.ndarray) -> Any:
        """What the lanes of each warp show each other: (warps, lanes)."""
        lane, warp = self.thread[who] % WARP, self.warp[who]
        present = np.zeros(int(warp.max()) + 1, np.uint32)
        np.bitwise_or.at(present, warp, (1 << lane).astype(np.uint32))
        if ((present[warp] & mask) != mask).any():
            where = f"{i.opcode[0]}.sync at PTX line {i.line}"
            raise PtxError(f"{where}: lanes of its mask are elsewhere")
        shown = np.zeros((len(present), WARP), np.uint32)
        shown[warp, lane] = x
        return shown

    def do_bar(self, i: Instruction, who: np.ndarray) -> None:
        self.shared.warp_epoch[np.unique(self.warp[who])] += 1


def _space(i: Instruction) -> str:
    parts = [part.split("::")[0] for part in i.opcode]  # shared::cta is shared
    return next((k for k in ("global", "shared", "local", "const") if k in parts), "generic")


def _packed(parameter: Parameter, value: Any) -> bytes:
    if isinstance(value, bytes):
        return value
    kind = parameter.type
    if isinstance(value, float) or kind[0] == "f":
        return struct.pack("<d" if SIZES[kind] == 8 else "<f", value)
    return int(value % (1 << 8 * SIZES[kind])).to_bytes(SIZES[kind], "little")


def launch(
    kernel: Kernel,
    grid: Sequence[int],
    block: Sequence[int],
    params: Sequence[Any],
    memory: Memory,
    *,
    dyn_shared: int = 0,
    stats: Stats | None = None,
    approx_ulp: float = 0.0,
    together: int = 1 << 15,
    blocks: range | None = None,
) -> int:
    """Runs a kernel.

    Args:
        kernel: What `parse` gave.
        grid: Blocks, up to three axes.
        block: Threads of one, likewise.
        params: Numbers, addresses in `memory`, or bytes for structures.
        memory: Holds the arrays, before and after.
        dyn_shared: Bytes of shared memory beyond the declared.
        stats: Collects, by (PTX line, "ld", "st", "lds" or "sts", bytes a thread), requests,
            sectors or bank passes, and bytes asked for.
        approx_ulp: Error put on every .approx instruction.
        together: Threads emulated at once.
        blocks: Those of the grid that run; all if not given.

    Returns:
        Instructions executed, counted for each thread.

    Raises:
        PtxError: The kernel does what it must not, or uses what is not known here.
    """
    grid_3 = tuple((*grid, 1, 1)[:3])
    block_3 = tuple((*block, 1, 1)[:3])
    size = block_3[0] * block_3[1] * block_3[2]
    if kernel.threads not in (None, size):
        raise PtxError(f"{kernel.name} wants blocks of {kernel.threads} threads, not {size}")
    for name, data in kernel.constants.items():
        if name not in memory.constants:
            memory.constants[name] = memory.add_bytes(data)
    packed = {p.name: _packed(p, v) for p, v in zip(kernel.params, params, strict=True)}
    executed, step = 0, max(1, together // size)
    blocks = blocks or range(grid_3[0] * grid_3[1] * grid_3[2])
    with np.errstate(all="ignore"):
        for first in range(blocks.start, blocks.stop, step):
            part = range(first, min(first + step, blocks.stop))
            one = Execution(
                kernel, grid_3, block_3, part, packed, memory, dyn_shared, stats, approx_ulp
            )
            one.run()
            executed += one.executed
    return executed
