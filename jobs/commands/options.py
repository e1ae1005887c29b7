"""Command-line options from dataclasses: a field `name: Annotated[type, typer.Option(...)]` becomes an option.

The options of a command are declared once, beside its job. `longtake --help` imports these dataclasses, so their
modules must not import heavy libraries.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import MISSING, Field, fields
from inspect import Parameter, Signature, signature
from typing import Annotated, Any, TypeVar, get_args, get_type_hints

T = TypeVar("T")
Command = Callable[..., int]


def options_of(config: type[T]) -> Callable[[Command], Command]:
    """Decorator for `command(options, *, ...)`: one option per field of `config`, then its own keywords."""

    def decorate(command: Command) -> Command:
        def call(**words: Any) -> int:
            rest = {name: words.pop(name) for name in list(words) if name in others}
            return command(from_words(config, words), **rest)

        own = signature(command, eval_str=True).parameters.values()
        others = {one.name: one for one in own if one.kind is Parameter.KEYWORD_ONLY}
        hints = get_type_hints(config, include_extras=True)
        options = [as_parameter(field, hints[field.name]) for field in fields(config)]  # type: ignore[arg-type]
        call.__name__, call.__doc__ = command.__name__, command.__doc__
        call.__signature__ = Signature([*options, *others.values()])  # type: ignore[attr-defined]
        return call

    return decorate


def as_parameter(field: Field[Any], hint: Any) -> Parameter:
    """The field as a parameter of a command. A tuple is a comma-separated list on the command line."""
    default = Parameter.empty if field.default is MISSING else field.default
    if isinstance(default, tuple):
        hint, default = Annotated[str, get_args(hint)[1]], ",".join(default)
    return Parameter(field.name, Parameter.KEYWORD_ONLY, default=default, annotation=hint)


def from_words(config: type[T], words: dict[str, Any]) -> T:
    """Build the dataclass from the values that typer parsed."""
    names = [field.name for field in fields(config) if isinstance(field.default, tuple)]  # type: ignore[arg-type]
    split = {name: tuple(part.strip() for part in words[name].split(",")) for name in names}
    return config(**(words | split))
