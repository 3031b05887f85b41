"""Numbers as people read them."""

from __future__ import annotations

_SIZES = (("TB", 10**12), ("GB", 10**9), ("MB", 10**6), ("kB", 10**3))


def percent(fraction: float) -> str:
    """An accuracy: 0.93216 is 93.22 %."""
    return f"{100 * fraction:.2f} %"


def duration(seconds: float) -> str:
    """A time in its two largest units, or seconds below two minutes."""
    whole = round(seconds)
    if whole < 120:
        return f"{whole} s"
    minutes, hours = whole // 60, whole // 3600
    if hours < 2:
        return f"{minutes} min"
    if hours < 48:
        return f"{hours} h {minutes % 60} min"
    return f"{hours // 24} d {hours % 24} h"


def size(num_bytes: int) -> str:
    """A number of bytes with a decimal unit."""
    for unit, scale in _SIZES:
        if num_bytes >= scale:
            return f"{num_bytes / scale:.3g} {unit}"
    return f"{num_bytes} bytes"


def decimal(value: float) -> str:
    """A number without trailing zeros: 1.15, 2."""
    return f"{value:.4f}".rstrip("0").rstrip(".")


def coefficient(value: float) -> str:
    """A coefficient with two decimals, or the four that it needs: 1.10, 1.0625."""
    rough, fine = f"{value:.2f}", f"{value:.4f}"
    return rough if float(rough) == float(fine) else fine


def magnitude(number: int) -> str:
    """A count with four digits and a unit, for columns: 7.370M."""
    for unit, scale in (("T", 10**12), ("G", 10**9), ("M", 10**6), ("K", 10**3)):
        if number >= scale:
            return f"{number / scale:#.4g}{unit}"
    return str(number)


def counted(number: int, noun: str) -> str:
    """1 trial, 1,000 trials."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
