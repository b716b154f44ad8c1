"""Read what processes have used so far: CPU seconds, which other work on the machine hardly moves, and peak memory."""

from __future__ import annotations

import os
from pathlib import Path

_TICKS_A_SECOND = os.sysconf("SC_CLK_TCK")


def cpu_s(pid: int) -> float:
    """CPU seconds of one process, in its own code and in the kernel's."""
    return sum(_times(pid)[:2]) / _TICKS_A_SECOND


def family_cpu_s(pid: int) -> float:
    """CPU seconds of a process and its children, those that have ended included: PostgreSQL and its backends."""
    ticks = sum(_times(pid))
    for folder in Path("/proc").glob("[1-9]*"):
        child = int(folder.name)
        try:
            if parent_of(child) == pid:
                ticks += sum(_times(child)[:2])
        except (FileNotFoundError, ProcessLookupError):  # it has just ended
            continue
    return ticks / _TICKS_A_SECOND


def parent_of(pid: int) -> int:
    """The process that started another. Errors: FileNotFoundError, when it is none of this machine."""
    return int(_fields(pid)[1])


def peak_mib(pid: int) -> int:
    """The most memory that a process ever had in RAM."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    return next(int(line.split()[1]) // 1024 for line in status.splitlines() if line.startswith("VmHWM"))


def _times(pid: int) -> list[int]:
    return [int(field) for field in _fields(pid)[11:15]]


def _fields(pid: int) -> list[str]:
    """The fields of proc(5)'s stat behind the process's name, which may hold anything: its state comes first."""
    return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
