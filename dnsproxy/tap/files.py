"""Files of frames, read from beginning to end in bounded memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from dnsproxy.dnstap.framestreams import MAX_FRAME
from dnsproxy.tap.damage import TRUNCATED, Damages, tell
from dnsproxy.tap.file_stream import FileStream
from dnsproxy.tap.frame import TapFrame
from dnsproxy.tap.octets import NotWhole, Octets


class TapFile:
    """A file of frames, or standard input (`-`), to be read once; `damages` is what was found in it so far."""

    def __init__(self, path: str, max_frame: int = MAX_FRAME, tell: Callable[[str], None] = tell) -> None:
        self.path = path
        self.damages = Damages(path, tell)
        self._stream = FileStream(self.damages, max_frame)
        self._octets: Octets | None = None

    @property
    def position(self) -> int:
        """Octets read of the file as it is on disk."""
        return 0 if self._octets is None else self._octets.position

    def batches(self) -> Iterator[list[TapFrame]]:
        """All good frames in the file's order, at once as many as a piece of it had; OSError when it cannot be read.

        Damage is told as it is found, and summed up when the iterator ends or is closed.
        """
        self._octets = Octets(self.path)
        try:
            yield from self._read(self._octets)
        finally:
            self._octets.close()
            self.damages.end()

    def frames(self) -> Iterator[TapFrame]:
        """As `batches`, one by one."""
        for batch in self.batches():
            yield from batch

    def _read(self, octets: Octets) -> Iterator[list[TapFrame]]:
        stream = self._stream
        try:
            for chunk in octets.chunks():
                frames = stream.receive_data(chunk)
                if frames:
                    yield frames
                if stream.is_over:
                    return
        except NotWhole as exc:
            self.damages.report(TRUNCATED, stream.received, str(exc))
            return
        stream.end()

    def __repr__(self) -> str:
        return f"<TapFile {self.path}, {self.damages.frames} frames>"
