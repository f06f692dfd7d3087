"""Which prompts are well formed: looked at before a model sees them, one by one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence


def error_in_prompt(prompt: object) -> str | None:
    """Say what is wrong with the form of a prompt; None if nothing is."""
    if isinstance(prompt, str):
        return _error_in_text("the prompt", prompt)
    if not isinstance(prompt, Sequence) or isinstance(prompt, (bytes, bytearray)):
        kind = type(prompt).__name__
        return f"a prompt is a text or a list of chat messages, got {kind}: {prompt!r:.80}"
    if not prompt:
        return "the chat is empty; give at least one message"
    return next(filter(None, map(_error_in_message, prompt)), None)


def _error_in_message(message: object) -> str | None:
    if not isinstance(message, Mapping):
        return f"a chat message is a dict with role and content, got {message!r:.80}"
    for field in ("role", "content"):
        value = message.get(field)
        if not isinstance(value, str):
            return f"the {field} of a chat message is a text, got {value!r:.80} in {message!r:.80}"
    return _error_in_text("a chat message", message["content"])


def _error_in_text(what: str, text: str) -> str | None:
    if not text:
        return f"{what} is empty"
    return None if is_unicode(text) else f"{what} is no valid Unicode text: {text!r:.80}"


def is_unicode(text: str) -> bool:
    """Return whether a text can be encoded; lone surrogates cannot."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
