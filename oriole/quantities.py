"""Amounts as people read them: at most three digits that matter, and a unit."""


def bytes_in_words(count: int) -> str:
    """`12 B`, `3.4 KiB`, `250 MiB`."""
    amount, unit = float(count), "B"
    for larger in ("KiB", "MiB", "GiB", "TiB"):
        if round(amount) < 1024:
            break
        amount, unit = amount / 1024, larger
    return f"{amount:.1f} {unit}" if unit != "B" and amount < 99.95 else f"{amount:.0f} {unit}"


def duration_in_words(seconds: int) -> str:
    """`12 s`, `3 min`, `5 h 20 min`, `7 d 3 h`: its two largest units."""
    minutes, hours, days = seconds // 60, seconds // 3600, seconds // 86_400
    if minutes < 1:
        return f"{seconds} s"
    if hours < 1:
        return f"{minutes} min"
    if days < 1:
        return f"{hours} h {minutes % 60} min"
    return f"{days} d {hours % 24} h"
