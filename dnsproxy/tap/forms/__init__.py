"""How messages are printed: the form that options choose, each in a module of its own, imported when it is chosen."""

from __future__ import annotations

import argparse
from typing import Protocol

from dnsproxy.tap.errors import WrongUsage
from dnsproxy.tap.frame import TapFrame


class Form(Protocol):
    """What a message becomes."""

    def write(self, frame: TapFrame) -> str:
        """Whole lines, or nothing for a message that the form passes over.

        Octets that are no UTF-8 are surrogates, as `surrogateescape` makes them, and are printed as they were.
        """


def is_chosen(options: argparse.Namespace) -> bool:
    """Whether an option names a form."""
    return bool(_named(options))


def chosen(options: argparse.Namespace, color: bool = False) -> Form:
    """The form that is to be used, by default the one for people; WrongUsage for several, and for a wrong template."""
    named = _named(options)
    if len(named) > 1:
        raise WrongUsage(f"{' and '.join(named)} are different forms; expected one of them")
    if not named:
        from dnsproxy.tap.forms.people import People

        return People(options.utc, color)
    return _bind(options) if named == ["--bind"] else _other(named[0], options)


def _named(options: argparse.Namespace) -> list[str]:
    """The forms named; -y is a part of --bind where that is named, or implied by -p or -x."""
    bind = options.bind or options.packet or options.hex
    named = {
        "-q": options.quiet,
        "-y": options.yaml and not bind,
        "-j": options.dnstap_json,
        "--bind": bind,
        "--json": options.json,
        "--querylog": options.querylog,
        "--format": options.format is not None,
    }
    return [option for option, is_named in named.items() if is_named]


def _bind(options: argparse.Namespace) -> Form:
    if options.yaml:
        from dnsproxy.tap.forms.bind_yaml import BindYaml

        return BindYaml()
    if options.hex or options.packet:
        from dnsproxy.tap.forms.bind_text import BindHex, BindText

        return BindHex(utc=options.utc) if options.hex else BindText(utc=options.utc)
    from dnsproxy.tap.forms.bind_short import BindShort

    return BindShort(utc=options.utc)


def _other(option: str, options: argparse.Namespace) -> Form:
    if option == "--json":
        from dnsproxy.tap.forms.json_lines import JsonLines

        return JsonLines(options.wire, options.frame)
    if option == "-q":
        from dnsproxy.tap.forms.quiet import Quiet

        return Quiet(options.utc)
    if option == "-j":
        from dnsproxy.tap.forms.dnstap_json import DnstapJson

        return DnstapJson()
    if option == "-y":
        from dnsproxy.tap.forms.dnstap_yaml import DnstapYaml

        return DnstapYaml()
    if option == "--querylog":
        from dnsproxy.tap.forms.querylog import QueryLog

        return QueryLog(options.utc)
    from dnsproxy.tap.forms.template import TemplateForm

    return TemplateForm(options.format)
