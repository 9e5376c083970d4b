"""The inline table `anonymize` of a `[[dnstap]]` stanza."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final

from dnsproxy.config import OptionError, Reader, option, shown
from dnsproxy.dnstap.privacy import KeyFile, Prefixes

DEFAULT: Final = Prefixes()
FORM: Final = f"{{ipv4 = {DEFAULT.ipv4}, ipv6 = {DEFAULT.ipv6}}}, or {{key_file = PATH}}"


def _read_key_file(value: str, folder: Path) -> KeyFile:
    if not value or "\0" in value:
        raise ValueError(f"{shown(value)} is not a path; expected the name of a file")
    return KeyFile(str(folder / value))


Key = Annotated[
    KeyFile, Reader((str,), "the name of a file that holds a key", _read_key_file, lambda key: shown(key.path))
]


@dataclass(frozen=True)
class Anonymize:
    """How many leading bits of a client's address stay, or the key of its pseudonyms."""

    ipv4: int | None = option(None, minimum=0, maximum=32, help="bits that stay")
    ipv6: int | None = option(None, minimum=0, maximum=128, help="bits that stay")
    key_file: Key | None = option(None, help="16 octets or 32 hex digits, or 32 octets")

    def __post_init__(self) -> None:
        if self.key_file is not None and (self.ipv4 is not None or self.ipv6 is not None):
            raise OptionError("key_file", f"stands beside prefixes; expected either {FORM}")

    @property
    def is_empty(self) -> bool:
        """Whether nothing is said."""
        return self.ipv4 is None and self.ipv6 is None and self.key_file is None

    @property
    def how(self) -> Prefixes | KeyFile:
        """For `Privacy`; a prefix that is not given is the default."""
        if self.key_file is not None:
            return self.key_file
        return Prefixes(
            DEFAULT.ipv4 if self.ipv4 is None else self.ipv4, DEFAULT.ipv6 if self.ipv6 is None else self.ipv6
        )
