"""The OpenMetrics text format, which Prometheus and others read."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from math import isnan

__all__ = ["Labels", "MetricsText", "Sample"]

Labels = Mapping[str, object]
#: What follows the name, labels, value.
Sample = tuple[str, Labels, float]


class MetricsText:
    """Families of samples, one after the other, each with its type, unit and help."""

    def __init__(self, labels: Labels) -> None:
        self._labels = labels
        self._lines: list[str] = []

    def family(
        self, name: str, kind: str, text: str, samples: Iterable[Sample], unit: str = ""
    ) -> None:
        """``samples``: what follows the name, labels, value."""
        name = f"klineagg_{name}"
        self._lines.append(f"# TYPE {name} {kind}")
        if unit:
            self._lines.append(f"# UNIT {name} {unit}")
        self._lines.append(f"# HELP {name} {text}")
        for suffix, labels, value in samples:
            self._lines.append(f"{name}{suffix}{self._told(labels)} {_number(value)}")

    def end(self) -> str:
        """All of it."""
        return "\n".join([*self._lines, "# EOF", ""])

    def _told(self, labels: Labels) -> str:
        pairs = {**self._labels, **labels}.items()
        told = ",".join(f'{name}="{_escaped(str(value))}"' for name, value in pairs)
        return f"{{{told}}}" if told else ""


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")


def _number(value: float) -> str:
    if isinstance(value, int):
        return str(value)
    return "NaN" if isnan(value) else repr(value)
