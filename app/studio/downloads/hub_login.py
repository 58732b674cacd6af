"""The login of this computer to the hub, as its client stores it; nothing else of the studio holds the token."""

from __future__ import annotations

from pathlib import Path

from trainers.errors import VelaturaError
from trainers.messages import Message as _

SETTINGS_PAGE = "settings/tokens"
"""The page of the hub that makes tokens."""
UNKNOWN_TOKEN = _("Hugging Face does not know this token; copy it anew from its page")
NO_HUB = _("there is no connection to Hugging Face; connect this computer to the internet, then try again")


def is_logged_in() -> bool:
    """Whether downloads are made with somebody's login."""
    from huggingface_hub import get_token

    return bool(get_token())


def log_in(token: str) -> None:
    """Store a token for all downloads of this computer, once the hub has confirmed it. VelaturaError otherwise."""
    from huggingface_hub import constants, login
    from huggingface_hub.errors import HTTPError, OfflineModeIsEnabled

    token = token.strip()
    if not token or not token.isascii() or not token.isprintable():
        raise VelaturaError(UNKNOWN_TOKEN)
    try:
        login(token=token)
    except (ValueError, HTTPError, OfflineModeIsEnabled) as error:
        refused = isinstance(error, ValueError) or getattr(error, "response", None) is not None
        # `from None`: the client's sentences may quote what was sent
        raise VelaturaError(UNKNOWN_TOKEN if refused else NO_HUB) from None
    for path in (constants.HF_TOKEN_PATH, constants.HF_STORED_TOKENS_PATH):
        if Path(path).is_file():
            Path(path).chmod(0o600)


def log_out() -> None:
    """Remove the stored token. VelaturaError if an environment variable gives it."""
    from huggingface_hub import logout

    try:
        logout()
    except OSError:
        raise VelaturaError(
            "the environment variable HF_TOKEN logs this computer in; remove it and start the studio again"
        ) from None


def hub_page(path: str) -> str:
    """The address of a page of the hub."""
    from huggingface_hub import constants

    return f"{constants.ENDPOINT}/{path}"
