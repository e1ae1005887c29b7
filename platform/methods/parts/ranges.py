"""Ranges of parameters, for `__post_init__` of a config. A parameter that is not set (None) is in every range."""

from longtake.platform.errors import ConfigError
from longtake.platform.methods.interface.plan import Window


def at_least(config: object, **least: float) -> None:
    """Raise ConfigError if a parameter is less than its least value."""
    for name, bound in least.items():
        value = getattr(config, name)
        if value is not None and not value >= bound:
            raise ConfigError(f"{name} = {value}: must be {bound} or more")


def within(config: object, **bounds: tuple[float, float]) -> None:
    """Raise ConfigError if a parameter lies outside its bounds, which are allowed."""
    for name, (least, most) in bounds.items():
        value = getattr(config, name)
        if value is not None and not least <= value <= most:
            raise ConfigError(f"{name} = {value}: must be from {least} to {most}")


def holds(window: Window, past: int, what: str) -> None:
    """Raise ConfigError if a window is not a sink, `past` frames and a block. `what` the past frames are."""
    due = window.sink + past + window.block
    if window.size != due:
        rule = f"{due}, the sum of sink {window.sink}, {past} ({what}) and block {window.block}"
        raise ConfigError(f"window = {window.size}: must be {rule}")
