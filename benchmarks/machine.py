"""Facts about the machine that a reader needs to judge the numbers."""

from __future__ import annotations

import os
import platform
import sys
from pathlib import Path

from benchmarks.peer import PeerUnavailable
from benchmarks.toolchain import CXX_FLAGS, cxx, first_line


def cores() -> int:
    """How many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _cpu_model() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith(("model name", "CPU part")):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _cpu_family() -> str:
    """Family and model numbers: hypervisors often hide the name."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return ""
    found = dict(line.split(":", 1) for line in reversed(lines) if ":" in line)
    numbers = {key.strip(): value.strip() for key, value in found.items()}
    if "cpu family" not in numbers:
        return ""
    guest = ", a virtual machine" if "hypervisor" in numbers.get("flags", "") else ""
    return f" (family {numbers['cpu family']}, model {numbers.get('model', '?')}{guest})"


def _caches() -> str:
    sizes = []
    for index in sorted(Path("/sys/devices/system/cpu/cpu0/cache").glob("index*")):
        try:
            level, kind, size = (
                (index / name).read_text().strip() for name in ("level", "type", "size")
            )
        except OSError:
            continue
        letter = {"Data": "d", "Instruction": "i"}.get(kind, "")
        sizes.append(f"L{level}{letter} {size}")
    return ", ".join(sizes) or "unknown"


def _memory_gib() -> float:
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / (1 << 30)


def _huge_pages() -> str:
    try:
        text = Path("/sys/kernel/mm/transparent_hugepage/enabled").read_text()
    except OSError:
        return "unknown"
    return text[text.index("[") + 1 : text.index("]")] if "[" in text else text.strip()


def _compiler() -> str:
    try:
        return first_line([cxx(), "--version"])
    except PeerUnavailable as reason:
        return str(reason)


def facts() -> dict[str, str]:
    """What is said about the machine above the tables, in this order."""
    import numpy as np

    python = f"{platform.python_version()} ({sys.implementation.name})"
    return {
        "CPU": _cpu_model() + _cpu_family(),
        "cores": str(cores()),
        "caches": _caches(),
        "memory": f"{_memory_gib():.1f} GiB, transparent huge pages: {_huge_pages()}",
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "Python": f"{python}, NumPy {np.__version__}",
        "C++ compiler of the bare loops": f"{_compiler()}; {' '.join(CXX_FLAGS)}",
    }


def load_average() -> float:
    """The one-minute load average: beyond the run's own share, somebody else was at work."""
    return os.getloadavg()[0]
