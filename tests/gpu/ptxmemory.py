"""Memories that notice what a kernel does wrong, and count what its accesses cost."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from ptxparse import PtxError, Variable

GLOBAL, SHARED, LOCAL = 0x7F00_0000_0000, 1 << 40, 1 << 41
WARP = 32
Stats = dict[tuple[int, str, int], list[int]]


class Memory:
    """Global memory: arrays with forbidden zones around each."""

    ZONE = 256

    def __init__(self) -> None:
        self.bytes = np.zeros(0, np.uint8)
        self.owned = np.zeros(0, np.bool_)
        self.constants: dict[str, int] = {}

    def add_bytes(self, data: bytes | np.ndarray, misalign: int = 0) -> int:
        """Places the data, as far past a 256-byte boundary as asked; returns its address."""
        raw = np.frombuffer(data, np.uint8) if isinstance(data, bytes) else data
        start = -(-len(self.bytes) // self.ZONE) * self.ZONE + self.ZONE + misalign
        room = np.zeros(start + len(raw) + self.ZONE - len(self.bytes), np.uint8)
        self.owned = np.concatenate([self.owned, room.astype(np.bool_)])
        self.bytes = np.concatenate([self.bytes, room])
        self.bytes[start : start + len(raw)] = raw
        self.owned[start : start + len(raw)] = True
        return GLOBAL + start

    def get_bytes(self, address: int, size: int) -> bytes:
        start = address - GLOBAL
        return self.bytes[start : start + size].tobytes()

    def add(self, array: np.ndarray, misalign: int = 0) -> int:
        return self.add_bytes(np.ascontiguousarray(array).view(np.uint8).ravel(), misalign)

    def get(self, address: int, like: np.ndarray) -> np.ndarray:
        data = np.frombuffer(self.get_bytes(int(address), like.nbytes), like.dtype)
        return data.reshape(like.shape).copy()


@dataclass
class Access:
    """One instruction's access by some threads: where, how wide, from which line."""

    address: np.ndarray
    size: int
    line: int
    thread: np.ndarray  # over all blocks
    block: np.ndarray
    warp: np.ndarray

    def fail(self, what: str, wrong: np.ndarray) -> None:
        if not wrong.any():
            return
        first = int(np.argmax(wrong))
        raise PtxError(
            f"{what}: {self.size} bytes at PTX line {self.line}, block {self.block[first]}, "
            f"thread {self.thread[first]}; {int(wrong.sum())} threads"
        )


def count(stats: Stats | None, access: Access, kind: str, cost: Any) -> None:
    """Adds requests, their cost and the bytes asked for."""
    if stats is not None:
        entry = stats.setdefault((access.line, kind, access.size), [0, 0, 0])
        entry[0] += len(np.unique(access.warp))
        entry[1] += int(cost)
        entry[2] += len(access.address) * access.size


def sectors(access: Access) -> int:
    """32-byte sectors that the warps touch."""
    sector = access.address.astype(np.int64) >> 5
    return len(np.unique(np.stack([access.warp, sector]), axis=1).T)


def wavefronts(access: Access) -> int:
    """Passes over the 32 banks of shared memory; wide accesses go in parts of a warp."""
    lanes = WARP * 4 // max(access.size, 4)  # so many lanes in one pass
    part = access.warp * WARP + access.thread % WARP // lanes
    words = [(access.address.astype(np.int64) >> 2) + k for k in range(max(access.size // 4, 1))]
    pairs = np.stack([np.tile(part, len(words)), np.concatenate(words)])
    distinct = np.unique(pairs, axis=1)
    bank = distinct[0] * WARP + distinct[1] % WARP
    found, conflicts = np.unique(bank, return_counts=True)
    deepest = np.zeros(int(found.max()) // WARP + 1, np.int64)
    np.maximum.at(deepest, found // WARP, conflicts)
    return int(deepest.sum())


def global_access(
    memory: Memory, access: Access, data: np.ndarray | None, stats: Stats | None
) -> np.ndarray | None:
    """Loads, or stores the rows of data."""
    access.fail("misaligned global access", access.address % np.uint64(access.size) != 0)
    start = access.address.astype(np.int64) - GLOBAL
    inside = (start >= 0) & (start + access.size <= len(memory.bytes))
    safe = np.where(inside, start, 0)
    owned = memory.owned[safe] & memory.owned[np.minimum(safe + access.size, len(memory.bytes)) - 1]
    what = "load" if data is None else "store"
    access.fail(f"global {what} out of bounds", ~(inside & owned))
    count(stats, access, "ld" if data is None else "st", sectors(access))
    place = start[:, None] + np.arange(access.size)
    if data is None:
        return memory.bytes[place]
    memory.bytes[place] = data
    return None


class SharedMemory:
    """Shared memory of several blocks, with the last reader and writer of each byte.

    Two threads may meet at a byte only with a barrier between: the block's for threads of different
    warps, a warp's own for lanes of one.
    """

    def __init__(self, blocks: int, warps: int, variables: dict[str, Variable], more: int) -> None:
        self.places: dict[str, int] = {}
        size = 0
        for name, variable in variables.items():
            size = -(-size // variable.align) * variable.align
            self.places[name] = SHARED + size
            size += variable.size
        shape = (blocks, max(size + more, 16))
        self.size = size + more
        self.bytes = np.zeros(shape, np.uint8)
        self.written = np.zeros(shape, np.bool_)
        # thread, block's barriers and warp's barriers passed, at the last write and the last read
        self.marks = {kind: np.full((3, *shape), -1, np.int32) for kind in ("write", "read")}
        self.block_epoch = np.zeros(blocks, np.int32)
        self.warp_epoch = np.zeros(warps, np.int32)

    def access(
        self, access: Access, data: np.ndarray | None, stats: Stats | None
    ) -> np.ndarray | None:
        access.fail("misaligned shared access", access.address % np.uint64(access.size) != 0)
        start = (access.address & np.uint64(0xFFFFFFFF)).astype(np.int64)
        access.fail("shared access out of bounds", start + access.size > self.size)
        count(stats, access, "lds" if data is None else "sts", wavefronts(access))
        at = (access.block[:, None], start[:, None] + np.arange(access.size))
        if data is None:
            access.fail("shared read of what was not written", ~self.written[at].all(1))
            access.fail("shared race, read after write", self._unordered(access, "write", at))
            self._mark(access, "read", at)
            return self.bytes[at]
        access.fail("shared race, write after write", self._unordered(access, "write", at))
        access.fail("shared race, write after read", self._unordered(access, "read", at))
        self.bytes[at] = data
        self.written[at] = True
        self._mark(access, "write", at)
        mine = self.marks["write"][0][at] == access.thread[:, None]
        access.fail(
            "shared race, one store to one place", (~mine & (self.bytes[at] != data)).any(1)
        )
        return None

    def _now(self, access: Access) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        block, warp = self.block_epoch[access.block], self.warp_epoch[access.warp]
        return access.thread[:, None].astype(np.int32), block[:, None], warp[:, None]

    def _unordered(self, access: Access, kind: str, at: Any) -> np.ndarray:
        thread, block, warp = self._now(access)
        other, other_block, other_warp = (mark[at] for mark in self.marks[kind])
        stranger = (other >= 0) & (other != thread) & (other_block == block)
        return (stranger & ((other // WARP != thread // WARP) | (other_warp == warp))).any(1)

    def _mark(self, access: Access, kind: str, at: Any) -> None:
        for mark, value in zip(self.marks[kind], self._now(access), strict=True):
            mark[at] = value
