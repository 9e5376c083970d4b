"""How values of TOML are read according to the annotation of their field."""

from __future__ import annotations

import dataclasses
import difflib
import math
import types
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from dnsproxy.options import OptionError, OptionErrors, Reader, Rules, did_you_mean, shown

LIST_OF = "a list, each element "
ANY_KIND = (str, int, float, bool, list, dict)
TableReader = Callable[[type], Reader]


class PartialList(OptionErrors):
    """A list with bad elements; `good` are the others, by their index."""

    def __init__(self, errors: Iterable[OptionError], good: dict[int, Any]) -> None:
        super().__init__(errors)
        self.good = good


def reader_for(annotation: Any, of_table: TableReader) -> Reader:
    """How a value with this annotation is read, dataclasses by `of_table`; TypeError when we do not know."""
    if annotation in _PLAIN:
        return _PLAIN[annotation]
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        readers = [extra for extra in arguments[1:] if isinstance(extra, Reader)]
        return readers[-1] if readers else reader_for(arguments[0], of_table)
    if origin is Literal:
        return _literal_reader(arguments)
    if origin is Union or origin is types.UnionType:
        return _union_reader([reader_for(each, of_table) for each in arguments if each is not types.NoneType])
    if origin is tuple and len(arguments) == 2 and arguments[1] is Ellipsis:
        return _list_reader(reader_for(arguments[0], of_table))
    if hasattr(annotation, "from_toml"):
        return _class_reader(annotation)
    if isinstance(annotation, type) and dataclasses.is_dataclass(annotation):
        return of_table(annotation)
    raise TypeError(f"an option cannot be of type {annotation!r}")


def _identity(value: Any, _folder: Path) -> Any:
    return value


def _read_float(value: float, _folder: Path) -> float:
    if not math.isfinite(value) or abs(value) > 1e300:
        raise ValueError(f"{shown(value)} is not finite; expected a number")
    return float(value)


_PLAIN: dict[Any, Reader] = {
    str: Reader((str,), "a string", _identity),
    bool: Reader((bool,), "true or false", _identity),
    int: Reader((int,), "a whole number", _identity),
    float: Reader((int, float), "a number", _read_float),
}


def _literal_reader(choices: tuple[Any, ...]) -> Reader:
    expected = alternatives(map(shown, choices))

    def parse(value: Any, _folder: Path) -> Any:
        for choice in choices:
            if type(choice) is type(value) and choice == value:
                return choice
        guess = did_you_mean(str(value), map(str, choices))
        raise ValueError(f"{shown(value)} is not known; {guess}expected {expected}")

    return Reader(tuple({type(choice) for choice in choices}), expected, parse, shown)


def _union_reader(members: list[Reader]) -> Reader:
    """Tries each member that takes this kind of value; the error of an only taker stands."""
    if len(members) == 1:
        return members[0]
    expected = alternatives(dict.fromkeys(member.expected for member in members))

    def parse(value: Any, folder: Path) -> Any:
        takers = [member for member in members if type(value) in member.kinds]
        for member in takers:
            try:
                return member.read(value, folder)
            except ValueError:
                if len(takers) == 1 and not isinstance(value, bool):
                    raise
        raise ValueError(f"{shown(value)} will not do; expected {expected}")

    def show(value: Any) -> str:
        if isinstance(value, bool | str):
            return shown(value)
        return next((member.show for member in members if member.show), shown)(value)

    return Reader(tuple({kind for member in members for kind in member.kinds}), expected, parse, show)


def _list_reader(element: Reader) -> Reader:
    def parse(value: list[Any], folder: Path) -> tuple[Any, ...]:
        good: dict[int, Any] = {}
        errors: list[OptionError] = []
        for index, inner in enumerate(value):
            try:
                good[index] = element.read(inner, folder)
            except ValueError as exc:
                errors += [error.in_element(index) for error in errors_in(exc)]
        if errors:
            raise PartialList(errors, good)
        return tuple(good.values())

    def show(value: tuple[Any, ...]) -> str:
        return "[" + ", ".join(map(element.show or shown, value)) + "]"

    return Reader((list,), LIST_OF + element.expected, parse, show)


def _class_reader(cls: Any) -> Reader:
    """For classes with `from_toml(value)`; a parameter annotated `str` (or so) gets no values of other kinds."""
    hints = [hint for name, hint in get_type_hints(cls.from_toml).items() if name != "return"]
    kinds = get_args(hints[0]) or (hints[0],) if hints else ()
    kinds = tuple(kind for kind in (get_origin(kind) or kind for kind in kinds) if kind in ANY_KIND) or ANY_KIND
    expected = getattr(cls, "expected", "") or f"a value for {cls.__name__}"
    return Reader(kinds, expected, lambda value, _: cls.from_toml(value), _show_text)


def _show_text(value: object) -> str:
    return shown(str(value))


def with_rules(reader: Reader, rules: Rules, default: Any) -> Reader:
    """The reader of a key with `one_or_more` and the rules for lists applied."""
    if list not in reader.kinds:
        return reader
    kinds, expected = reader.kinds, reader.expected
    if rules.one_or_more:
        kinds, expected = ANY_KIND, f"{expected.removeprefix(LIST_OF)}, or a list"
    may_be_empty = rules.may_be_empty if rules.may_be_empty is not None else default == ()

    def parse(value: Any, folder: Path) -> Any:
        if rules.one_or_more and not isinstance(value, list):
            return _read_bare(reader, value, folder)
        if value == [] and not may_be_empty:
            raise ValueError(f"is an empty list; expected {expected}")
        return reader.read(value, folder) if rules.may_repeat else _read_distinct(reader, value, folder)

    return Reader(kinds, expected, parse, reader.show)


def _read_bare(reader: Reader, value: Any, folder: Path) -> Any:
    try:
        return reader.read([value], folder)
    except OptionErrors as exc:
        raise OptionErrors(_at_list(error) for error in exc.errors) from None


def _at_list(error: OptionError) -> OptionError:
    bare = OptionError("", error.message, line=error.line)
    bare.path = error.path[1:]  # without the index of the list that is not there
    return bare


def _read_distinct(reader: Reader, value: Any, folder: Path) -> Any:
    """As `reader.read`; an element that is there already is an error too."""
    errors: list[OptionError] = []
    try:
        read = reader.read(value, folder)
        good = dict(enumerate(read)) if isinstance(read, tuple) else {}
    except PartialList as exc:
        errors, good = list(exc.errors), exc.good
    distinct: dict[Any, int] = {}
    for index, element in good.items():
        if distinct.setdefault(element, index) != index:
            errors.append(OptionError("", f"{shown(value[index])} is given twice; expected each once", index))
    if errors:
        raise PartialList(errors, {index: element for element, index in distinct.items()})
    return read


def errors_in(exc: ValueError) -> list[OptionError]:
    """What an exception of a reader or of `__post_init__` says, whichever of the three kinds it is."""
    if isinstance(exc, OptionErrors):
        return list(exc.errors)
    return [exc] if isinstance(exc, OptionError) else [OptionError("", str(exc))]


def suggestion(word: str, known: Iterable[str]) -> str:
    """`did you mean "policy"?`, or what could have stood there."""
    known = list(known)
    folded = {name.lower().replace("-", "_"): name for name in known}
    close = difflib.get_close_matches(word.lower().replace("-", "_"), folded, 1)
    if close:
        return f"did you mean {shown(folded[close[0]])}?"
    return f"expected {alternatives(map(shown, sorted(known)))}" if known else "expected none here"


def alternatives(words: Iterable[str]) -> str:
    """`a, b or c`."""
    words = list(words)
    return " or ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)
