"""How rules are run, and what the hyper-parameters of every method must keep to."""

import dataclasses
from collections.abc import Callable, Iterable
from typing import Any

from fedrec.config.methods import KINDS
from fedrec.models.base import Model

MODELS = KINDS["models"]


def run_rules(rules: Iterable[Callable[..., None]], subject: type, *more: Any) -> None:
    """Run rules on a method.

    Raises:
        AssertionError: a rule is broken; it names the rule and says what it asks for.
    """
    for rule in rules:
        try:
            rule(subject, *more)
        except Exception as error:
            name, asks = rule.__name__.replace("_", " "), (rule.__doc__ or "").strip()
            told = f" ({type(error).__name__}: {error})" if str(error) else ""
            raise AssertionError(f"{subject.__name__}: {name}: {asks}{told}") from error


def models_of(model: Callable[[], Model] | None) -> list[Callable[[], Model]]:
    """The model that was given, or every one that there is."""
    return [model] if model else list(MODELS.values())


def hyper_parameters_are_frozen_strict_and_described(method: type) -> None:
    """A class of `fedrec.settings.settings`; every field has a default and a `description`."""
    fields = vars(method).get("__pydantic_fields__")
    assert fields is not None, "decorate it with `fedrec.settings.settings`"
    assert refuses(method, no_such_field=1), "it takes a field that it does not have"
    assert method() == method(), "two of the same settings are not equal"
    for field in dataclasses.fields(method):
        assert refuses(setattr, method(), field.name, None), f"`{field.name}` can be changed"
        assert fields[field.name].description, f"`{field.name}` has no description"


def refuses(attempt: Callable[..., Any], *args: Any, **named: Any) -> bool:
    """Whether a call is an error."""
    try:
        attempt(*args, **named)
    except (ValueError, TypeError, AttributeError):
        return True
    return False
