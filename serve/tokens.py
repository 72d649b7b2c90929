"""Bearer tokens: where they come from, and whether a request carries one. They are never logged."""

import hashlib
import hmac
import ipaddress
import os
from collections.abc import Sequence
from pathlib import Path

from core.errors import MGLMError
from serve.config import ServeConfig

VARIABLE = "MGLM_SERVE_TOKENS"
SHORTEST = 16  # characters: what is shorter can be guessed over a network


class Tokens:
    """The accepted tokens, as digests; an empty set means that none is asked for."""

    def __init__(self, tokens: Sequence[str]) -> None:
        self._digests = [_digest(token) for token in tokens]

    def __bool__(self) -> bool:
        return bool(self._digests)

    def accept(self, authorization: str | None) -> bool:
        """Whether this Authorization header carries one of them; takes as long for any other."""
        scheme, _, token = (authorization or "").partition(" ")
        given = _digest(token.strip())
        found = False
        for digest in self._digests:  # all of them, whether or not one fits
            found |= hmac.compare_digest(digest, given)
        return found and scheme.lower() == "bearer"


def read_tokens(config: ServeConfig) -> Tokens:
    """The tokens of the file and the environment.

    Raises:
        MGLMError: a token is too short, the file is missing or holds none, or the service would listen beyond this
            machine without any and `auth` was not switched off.
    """
    tokens = os.environ.get(VARIABLE, "").split()
    if config.token_file is not None:
        path = Path(config.token_file)
        if not path.is_file():
            raise MGLMError(f"token file {path}", found="no such file", expected="one token a line")
        try:
            lines = [line.strip() for line in path.read_text("utf-8").splitlines()]
        except (OSError, UnicodeDecodeError) as error:
            raise MGLMError(f"token file {path}", found=type(error).__name__, expected="readable UTF-8") from None
        listed = [line for line in lines if line and not line.startswith("#")]
        if not listed:
            raise MGLMError(f"token file {path}", found="no token", expected="one token a line")
        tokens += listed
    for number, token in enumerate(tokens, start=1):
        if len(token) < SHORTEST or not token.isascii():
            raise MGLMError(
                f"token {number} of {len(tokens)}", found=f"{len(token)} characters",
                expected=f"at least {SHORTEST}, ASCII",
                action="make one: python -c 'import secrets; print(secrets.token_urlsafe(32))'",
            )  # fmt: skip
    if not config.auth:
        if tokens:
            raise MGLMError("--no-auth", found=f"{len(tokens)} tokens as well", action="drop one or the other")
        return Tokens([])
    if not tokens and not is_loopback(config.host):
        raise MGLMError(
            f"host {config.host}", found="no tokens",
            expected="tokens where others than this machine can reach the service",
            action=f"name --token-file FILE or set {VARIABLE}; --no-auth where everyone who reaches it may use it",
        )  # fmt: skip
    return Tokens(tokens)


def is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()
