import pytest

from core.progress import progress


def test_in_a_log_file_the_end_is_a_line_and_other_ranks_are_silent(capsys: pytest.CaptureFixture[str]) -> None:
    with progress("encoding", 3) as reporter:
        for _ in range(3):
            reporter.advance(note="loss 2.0")
    with progress("silent", 3, enabled=False) as reporter:
        reporter.advance(3)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.strip() == "encoding: 3/3 loss 2.0"
