"""The code that runs rules, and the rule for the settings of every method."""

import dataclasses
from collections.abc import Callable, Iterable
from typing import Any

from fedrec.config.methods import KINDS
from fedrec.models.base import Model

MODELS = KINDS["models"]


def run_rules(rules: Iterable[Callable[..., None]], subject: type, *more: Any) -> None:
    """Run rules on a method.

    Raises:
        AssertionError: a rule is broken; the message has the rule's name and requirement.
    """
    for rule in rules:
        try:
            rule(subject, *more)
        except Exception as error:
            name, asks = rule.__name__.replace("_", " "), (rule.__doc__ or "").strip()
            told = f" ({type(error).__name__}: {error})" if str(error) else ""
            raise AssertionError(f"{subject.__name__}: {name}: {asks}{told}") from error


def models_of(model: Callable[[], Model] | None) -> list[Callable[[], Model]]:
    """Return the given model, or all available ones."""
    return [model] if model else list(MODELS.values())


def hyper_parameters_are_frozen_strict_and_described(method: type) -> None:
    """It must use `fedrec.settings.settings`; each field needs a default and a `description`."""
    fields = vars(method).get("__pydantic_fields__")
    assert fields is not None, "decorate it with `fedrec.settings.settings`"
    assert refuses(method, no_such_field=1), "it accepts a field that it does not have"
    assert method() == method(), "two instances with the same settings are not equal"
    for field in dataclasses.fields(method):
        assert refuses(setattr, method(), field.name, None), f"`{field.name}` can be changed"
        assert fields[field.name].description, f"`{field.name}` has no description"


def refuses(attempt: Callable[..., Any], *args: Any, **named: Any) -> bool:
    """Return whether a call raises an error."""
    try:
        attempt(*args, **named)
    except (ValueError, TypeError, AttributeError):
        return True
    return False
