"""A snippet that counts visits to the page at ``/``, if the administrator wants one; embedded cells never have it."""

from __future__ import annotations

import base64
import hashlib
import html.parser
import pathlib
import re
from typing import TYPE_CHECKING

from attrs import frozen

from appliance.errors import ConfigError

if TYPE_CHECKING:
    from appliance.config import Config

#: Largest snippet.
MAX_BYTES = 65_536

#: An origin as a policy has it (Content Security Policy 3, host-source): scheme, host and perhaps a port.
_ORIGIN = re.compile(r"https?://[A-Za-z0-9.-]+(?::[0-9]{1,5})?")


@frozen
class Analytics:
    """What is put at the end of the page, and what its policy allows for it besides, as sources with a blank before."""

    snippet: str = ""
    scripts: str = ""
    others: str = ""


class _Scripts(html.parser.HTMLParser):
    """Collects addresses of scripts, and the text of those that are written out."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=False)
        self.addresses: list[str] = []
        self.texts: list[str] = []
        self._inside = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note a script."""
        if tag == "script":
            address = dict(attrs).get("src")
            if address is not None:
                self.addresses.append(address)
            else:
                self.texts.append("")
            self._inside = address is None

    def handle_data(self, data: str) -> None:
        """Keep the text of a script, as it is."""
        if self._inside:
            self.texts[-1] += data

    def handle_endtag(self, tag: str) -> None:
        """Note its end."""
        if tag == "script":
            self._inside = False


def load(config: Config) -> Analytics:
    """Return the configured snippet, an empty one when there is none. Raises `ConfigError`."""
    file, origins = config.web.analytics_file, config.web.analytics_origins
    for origin in origins:
        if not _ORIGIN.fullmatch(origin):
            raise ConfigError(f"web.analytics_origins: expected https://HOST, found {origin!r}")
    if not file:
        return Analytics()
    try:
        data = pathlib.Path(file).read_bytes()
        if len(data) > MAX_BYTES:
            raise ConfigError(f"web.analytics_file: {file} is larger than {MAX_BYTES} bytes")
        snippet = data.decode("utf-8")
    except (OSError, UnicodeDecodeError) as exc:
        raise ConfigError(f"web.analytics_file: {file} cannot be read as UTF-8 text: {exc}") from exc
    scripts = _Scripts()
    scripts.feed(snippet)
    scripts.close()
    for address in scripts.addresses:
        found = _ORIGIN.match(address)
        own = address.startswith("/") and not address.startswith("//")
        if not own and (found is None or found[0] not in origins):
            raise ConfigError(f"web.analytics_file: {address!r} is of no origin in web.analytics_origins")
    digests = [base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in scripts.texts]
    hosts = "".join(f" {origin}" for origin in origins)
    return Analytics(snippet, hosts + "".join(f" 'sha256-{digest}'" for digest in digests), hosts)
