"""Decoders of our messages and formats, made one at a time.

msgspec (0.22) finds out what a type is made of when it is first decoded, and ends the process with a segmentation fault
when two threads do that for one type at once: a worker that had just started and found two units waiting died so. What
is known of a type stays with it, so it is enough that all types are made known here, behind one lock.

Rule of the file: nothing else in the product makes a decoder or converts (the linter forbids it); both may be used by
any number of threads at once afterwards.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable
from typing import Any, TypeVar, overload

import msgspec

_T = TypeVar("_T")

_making = threading.Lock()


@functools.cache
def _made(make: Callable[[Any], Any], kind: Any) -> Any:
    with _making:
        return make(kind)


@overload
def json_decoder(kind: type[_T]) -> msgspec.json.Decoder[_T]: ...


@overload
def json_decoder(kind: object) -> msgspec.json.Decoder[Any]: ...


def json_decoder(kind: object) -> msgspec.json.Decoder[Any]:
    """Return the decoder of JSON into this type or union of types; the same one every time."""
    decoder: msgspec.json.Decoder[Any] = _made(msgspec.json.Decoder, kind)
    return decoder


@overload
def msgpack_decoder(kind: type[_T]) -> msgspec.msgpack.Decoder[_T]: ...


@overload
def msgpack_decoder(kind: object) -> msgspec.msgpack.Decoder[Any]: ...


def msgpack_decoder(kind: object) -> msgspec.msgpack.Decoder[Any]:
    """Return the decoder of MessagePack into this type or union of types; the same one every time."""
    decoder: msgspec.msgpack.Decoder[Any] = _made(msgspec.msgpack.Decoder, kind)
    return decoder


@overload
def converted(value: object, kind: type[_T]) -> _T: ...


@overload
def converted(value: object, kind: object) -> Any: ...


def converted(value: object, kind: Any) -> Any:
    """Return plain values (dicts, lists, numbers) as this type. Raises ``msgspec.ValidationError``."""
    json_decoder(kind)
    return msgspec.convert(value, kind)
