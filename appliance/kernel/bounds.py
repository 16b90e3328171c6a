"""Makes messages fit into what the server takes, so that of something huge at least its two ends arrive.

This is a courtesy to visitors. The limits that hold are the server's: it drops a message that is larger than it takes.
"""

from __future__ import annotations

from typing import Any

#: Characters of one text; four bytes each at most, the server takes ten million.
MAX_TEXT_CHARACTERS = 2_500_000

#: Characters of all representations of one displayed object; mostly base64 and HTML, a byte each.
MAX_DATA_CHARACTERS = 9_000_000

_DISPLAY_TYPES = frozenset({"display_data", "update_display_data", "execute_result"})
_ERROR_TYPES = frozenset({"error", "execute_reply"})


def fitting_text(text: str) -> str:
    """Return ``text``, or its two ends and a line that tells its length when it is too long."""
    if len(text) <= MAX_TEXT_CHARACTERS:
        return text
    half = MAX_TEXT_CHARACTERS // 2
    return f"{text[:half]}\n...\n{text[-half:]}\n[This text had {len(text):,} characters: its middle is missing.]\n"


def fitting_content(msg_type: str, content: Any) -> Any:
    """Return the content of a message, with its texts made to fit when one is too long; the same object if none is."""
    if not isinstance(content, dict):
        return content
    if msg_type in _DISPLAY_TYPES and isinstance(content.get("data"), dict):
        data = _fitting_data(content["data"])
        return content if data is content["data"] else {**content, "data": data}
    if msg_type in _ERROR_TYPES and content.get("status", "error") == "error":
        return _fitting_error(content)
    return content


def _fitting_data(data: dict[str, Any]) -> dict[str, Any]:
    sizes = {mime: len(value) for mime, value in data.items() if isinstance(value, str)}
    if sizes.get("text/plain", 0) > MAX_TEXT_CHARACTERS:
        data = {**data, "text/plain": fitting_text(data["text/plain"])}
        sizes["text/plain"] = len(data["text/plain"])
    if sum(sizes.values()) <= MAX_DATA_CHARACTERS:
        return data
    largest = max(sizes, key=sizes.__getitem__)
    notice = f"[{largest} of {sizes[largest]:,} characters is too large to be shown.]"
    text = data.get("text/plain", "")
    return {"text/plain": f"{text}\n{notice}" if text else notice}


def _fitting_error(content: dict[str, Any]) -> dict[str, Any]:
    changed = content
    for name in ("ename", "evalue"):
        value = content.get(name)
        if isinstance(value, str) and len(value) > MAX_TEXT_CHARACTERS // 2:
            changed = {**changed, name: value[: MAX_TEXT_CHARACTERS // 2]}
    lines = content.get("traceback")
    if isinstance(lines, list) and sum(len(line) for line in lines if isinstance(line, str)) > MAX_TEXT_CHARACTERS // 2:
        text = "\n".join(line for line in lines if isinstance(line, str))
        changed = {**changed, "traceback": [fitting_text(text)]}
    return changed
