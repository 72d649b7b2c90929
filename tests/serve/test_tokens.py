from pathlib import Path

import pytest

from core.errors import MGLMError
from serve.config import ServeConfig
from serve.tokens import VARIABLE, Tokens, is_loopback, read_tokens

GOOD = "x" * 16


def test_tokens_come_from_file_and_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "tokens"
    file.write_text(f"# a comment\n\n  {GOOD}1  \n{GOOD}2\n", "utf-8")
    monkeypatch.setenv(VARIABLE, f"{GOOD}3\n{GOOD}4")
    tokens = read_tokens(ServeConfig(token_file=str(file)))
    for number in (1, 2, 3, 4):
        assert tokens.accept(f"Bearer {GOOD}{number}")
        assert tokens.accept(f"bearer  {GOOD}{number}")
    for header in (None, "", GOOD, f"Bearer {GOOD}", f"Basic {GOOD}1", f"Bearer {GOOD}1 {GOOD}2", "Bearer \udcff"):
        assert not tokens.accept(header)


def test_without_tokens_nothing_is_accepted_and_nothing_asked_for() -> None:
    assert not Tokens([])
    assert not Tokens([]).accept("Bearer ")


def test_only_this_machine_may_do_without_tokens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    for host in ("127.0.0.1", "::1", "localhost", "127.8.9.1"):
        assert is_loopback(host)
        assert not read_tokens(ServeConfig(host=host))
    for host in ("0.0.0.0", "::", "192.168.1.7", "summaries.example", "localhost.example"):
        assert not is_loopback(host)
        with pytest.raises(MGLMError, match="no tokens"):
            read_tokens(ServeConfig(host=host))
        assert not read_tokens(ServeConfig(host=host, auth=False))


def test_an_empty_token_file_opens_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    file = tmp_path / "tokens"
    file.write_text("# none yet\n", "utf-8")
    with pytest.raises(MGLMError, match="no token"):
        read_tokens(ServeConfig(token_file=str(file)))
