"""Arguments of a request from its query string, urlencoded form or multipart form alike."""

from __future__ import annotations

import email.parser
import email.policy
import urllib.parse
from typing import TYPE_CHECKING, Any

import attrs

from appliance.errors import BadRequest, MissingArgument

if TYPE_CHECKING:
    from collections.abc import Mapping

#: Arguments of one request; the protocol knows fewer than twenty.
MAX_ARGUMENTS = 100


@attrs.frozen
class Arguments:
    """What a client asked for; unknown names are kept and ignored, as clients send many."""

    values: Mapping[str, tuple[str, ...]]

    def get(self, name: str, default: str = "") -> str:
        """Return the last value of an argument."""
        return self.values[name][-1] if name in self.values else default

    def all(self, name: str) -> tuple[str, ...]:
        """Return every value of an argument, those of the query first."""
        return self.values.get(name, ())

    def required(self, name: str) -> str:
        """Return the last value of an argument; raises `MissingArgument`."""
        if name not in self.values:
            raise MissingArgument(f"The argument {name} is missing.")
        return self.values[name][-1]

    def __contains__(self, name: str) -> bool:
        return name in self.values


def _pairs(data: bytes) -> list[tuple[str, str]]:
    """Return names and values of an urlencoded form; the standard is the URL standard, section 5.1."""
    try:
        return urllib.parse.parse_qsl(
            data.decode("utf-8"), keep_blank_values=True, errors="strict", max_num_fields=MAX_ARGUMENTS
        )
    except UnicodeDecodeError as exc:
        raise BadRequest("The arguments are not UTF-8.") from exc
    except ValueError as exc:
        raise BadRequest(f"There are more than {MAX_ARGUMENTS} arguments.") from exc


def _parts(content_type: str, body: bytes) -> list[tuple[str, str]]:
    """Return names and values of a multipart form (RFC 7578).

    Browsers send every line end as CR LF in it; a cell's are LF.
    """
    head = b"Content-Type: " + content_type.encode("utf-8", "surrogateescape") + b"\r\n\r\n"
    message = email.parser.BytesParser(policy=email.policy.HTTP).parsebytes(head + body)
    if not message.is_multipart():
        raise BadRequest("The multipart form has no parts: its boundary is missing or wrong.")
    pairs: list[tuple[str, str]] = []
    for part in message.iter_parts():
        name = part.get_param("name", header="content-disposition")
        if not isinstance(name, str) or part.is_multipart():
            raise BadRequest("A part of the multipart form has no name.")
        if len(pairs) >= MAX_ARGUMENTS:
            raise BadRequest(f"There are more than {MAX_ARGUMENTS} arguments.")
        payload: Any = part.get_payload(decode=True)
        try:
            pairs.append((name, payload.decode("utf-8").replace("\r\n", "\n")))
        except UnicodeDecodeError as exc:
            raise BadRequest("A part of the multipart form is not UTF-8.") from exc
    return pairs


def parse_arguments(query: bytes, content_type: str, body: bytes) -> Arguments:
    """Return the arguments of a request.

    A body of another type than the two of forms holds no arguments, whatever is in it: clients send ``{}`` as JSON.
    Raises `BadRequest`.
    """
    pairs = _pairs(query)
    kind = content_type.partition(";")[0].strip().lower()
    if body and kind == "application/x-www-form-urlencoded":
        pairs += _pairs(body)
    elif body and kind == "multipart/form-data":
        pairs += _parts(content_type, body)
    values: dict[str, tuple[str, ...]] = {}
    for name, value in pairs:
        values[name] = (*values.get(name, ()), value)
    return Arguments(values)
