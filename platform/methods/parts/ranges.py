"""Ranges of parameters, for `__post_init__` of a config. A parameter that is not set (None) is in every range."""

from longtake.platform.errors import ConfigError


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
