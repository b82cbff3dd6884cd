"""Frames of a video, evenly spaced over its length, as PNG: exactly the pixels that the decoder gives.

A JPEG would put its own traces over those that tell real from fake, and over one class alone where the other one came
as photographs. Frames are turned upright as the file says; pixels that it says are no squares stay as they are. The
group is the video.

Only what players know as files of videos is opened: a playlist, which can name any other file or an address, is none.
"""

import io
from bisect import bisect_right
from collections.abc import Iterator, Set
from contextlib import contextmanager
from dataclasses import dataclass

import av
import numpy as np
from av.container import InputContainer
from av.video.stream import VideoStream
from PIL import Image

from data.images import ENOUGH_PIXELS
from data.unpack.items import Archive, Asked, BadArchiveError, Found, Item, LeftOut, breaking, missing

DEMUXERS = "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,asf,flv,mpeg,mpegts,ogg,h264,hevc,m4v"  # as FFmpeg calls them
ERRORS = (av.FFmpegError, OSError, ValueError, MemoryError)
PNG_LEVEL = 1  # of 9: the fastest; frames of a whole data set are many
TURNS = {90: Image.Transpose.ROTATE_90, 180: Image.Transpose.ROTATE_180, 270: Image.Transpose.ROTATE_270}


@dataclass(frozen=True)
class _Times:
    """When frames are shown, in units of the stream, in order; keys: those from which decoding can begin.

    promised: how many frames the file says that it has, 0 = it does not say.
    """

    shown: np.ndarray
    keys: list[int]
    promised: int

    def evenly(self, count: int) -> list[int]:
        """`count` of them, or all where there are fewer: each nearest to the middle of its part of the length."""
        if len(self.shown) <= count:
            return self.shown.tolist()
        first, last = self.shown[[0, -1]]
        wanted = first + (np.arange(count) + 0.5) / count * (last - first)
        after = np.searchsorted(self.shown, wanted).clip(1, len(self.shown) - 1)
        nearer = wanted - self.shown[after - 1] <= self.shown[after] - wanted
        return sorted(set(self.shown[after - nearer].tolist()))

    def key(self, time: int) -> int:
        """From which of the keys decoding must begin for a frame."""
        return self.keys[max(0, bisect_right(self.keys, time) - 1)] if self.keys else int(self.shown[0])


def items(archive: Archive, asked: Asked, done: Set[int]) -> Found:
    """Its frames, but for those that are done.

    Raises:
        BadArchiveError: it cannot be opened, or not be decoded to its end.
    """
    with _stream(archive) as (container, stream):
        times = _times(container, stream)
        chosen = times.evenly(asked.frames)
        if missing(range(len(chosen)), done):
            yield from _frames(
                archive, container, stream, [(n, t) for n, t in enumerate(chosen) if n not in done], times
            )
    if len(times.shown) < times.promised:
        raise BadArchiveError(f"cut off: it says {times.promised} frames, and {len(times.shown)} are there")


@contextmanager
def _stream(archive: Archive) -> Iterator[tuple[InputContainer, VideoStream]]:
    """The file and the first stream of pictures in it, closed at the end."""
    with breaking(*ERRORS), _opened(archive) as container:
        if not container.streams.video:
            raise BadArchiveError("it holds no video")
        stream = container.streams.video[0]
        if stream.width * stream.height > ENOUGH_PIXELS:
            raise BadArchiveError(f"{stream.width}x{stream.height} pixels, over {ENOUGH_PIXELS:,}")
        yield container, stream


def _opened(archive: Archive) -> InputContainer:
    """By its whole path, which no protocol begins."""
    return av.open(str(archive.file.absolute()), options={"format_whitelist": DEMUXERS})


def _times(container: InputContainer, stream: VideoStream) -> _Times:
    """Of all frames, without decoding one: files tell wrong lengths, or none.

    Raises:
        BadArchiveError: not one frame.
    """
    with breaking(*ERRORS):
        found = [(packet.pts if packet.pts is not None else packet.dts, packet.is_keyframe)
                 for packet in container.demux(stream) if packet.size and not packet.is_discard]  # fmt: skip
    timed = [(time, key) for time, key in found if time is not None]
    if not timed:
        raise BadArchiveError("it holds no frame whose time is known")
    return _Times(np.unique([time for time, _ in timed]), sorted(time for time, key in timed if key), stream.frames)


def _frames(archive: Archive, container: InputContainer, stream: VideoStream, wanted: list[tuple[int, int]],
            times: _Times) -> Found:  # fmt: skip
    """Each frame that is wanted, or why it is none; wanted: number and time, in order."""
    stream.thread_type = "AUTO"
    decoded, key = iter(()), None
    for number, time in wanted:
        if times.key(time) != key:
            key = times.key(time)
            with breaking(*ERRORS):
                container.seek(key, stream=stream)
            decoded = container.decode(stream)
        with breaking(*ERRORS):
            frame = next((each for each in decoded if each.pts is not None and each.pts >= time), None)
        yield _item(number, time, frame, archive, stream)


def _item(number: int, time: int, frame: av.VideoFrame | None, archive: Archive,
          stream: VideoStream) -> Item | LeftOut:  # fmt: skip
    seconds = float((time - (stream.start_time or 0)) * stream.time_base)
    name, read = f"{number:04d}-{seconds:.3f}s", (number + 1) / (number + 2)
    if frame is None or frame.is_corrupt:
        return LeftOut(number, name, "damaged" if frame else "not to be decoded", read)
    with breaking(*ERRORS):
        image = frame.to_image()
    turned = image.transpose(TURNS[frame.rotation % 360]) if frame.rotation % 360 in TURNS else image
    buffer = io.BytesIO()
    turned.save(buffer, "PNG", compress_level=PNG_LEVEL)
    return Item(number, name, buffer.getvalue(), archive.place, archive.name, read)
