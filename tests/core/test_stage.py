import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from core.deletion import rewriting
from core.errors import MGLMError
from core.manifest import MANIFEST_NAME, MARKER_NAME, read_manifest, sha256_file, write_atomically
from core.stage import Stage, open_stage, wait_until_free


def open_plan(output: Path, alpha: float = 0.3, *, overwrite: bool = False) -> Stage:
    return open_stage(output, schema="plan/1", config={"alpha": alpha}, inputs={"counts": "abc"}, overwrite=overwrite)


def make_plan(output: Path, alpha: float = 0.3) -> None:
    stage = open_plan(output, alpha, overwrite=True)
    (output / "plan.json").write_text("{}", "utf-8")
    (stage.work / "scratch").write_text("gone at the end", "utf-8")
    stage.finish(rows={"plan.json": 1}, facts={"languages": 2})


def test_a_finished_stage_is_not_redone_and_lists_its_files(tmp_path: Path) -> None:
    output = tmp_path / "plan"
    make_plan(output)
    stage = open_plan(output)
    assert stage.done
    manifest = read_manifest(output, "plan/1")
    assert [(entry.path, entry.rows, entry.bytes) for entry in manifest.files] == [("plan.json", 1, 2)]
    assert manifest.files[0].sha256 == sha256_file(output / "plan.json")
    assert not (output / "_work").exists()


def test_what_a_process_left_that_was_killed_after_its_last_word_goes_at_the_next_run(tmp_path: Path) -> None:
    output = tmp_path / "plan"
    open_plan(output)
    marker = (output / MARKER_NAME).read_text("utf-8")
    make_plan(output)
    (output / MARKER_NAME).write_text(marker, "utf-8")
    (output / "_work").mkdir()
    assert open_plan(output).done
    assert not (output / MARKER_NAME).exists()  # with it, nothing could be deleted from the stage ever again
    assert not (output / "_work").exists()


def test_additions_that_were_begun_outlast_a_look_at_what_is_finished(tmp_path: Path) -> None:
    def grown(**inputs: str) -> Stage:
        return open_stage(tmp_path / "documents", schema="documents/1", config={}, inputs=inputs, grows=True)

    grown(a="1").finish()
    (grown(a="1", b="2").work / "half").write_text("x", "utf-8")
    assert grown(a="1").done
    resumed = grown(a="1", b="2")
    assert resumed.resumed
    assert (resumed.work / "half").exists()


def test_additions_that_were_begun_can_be_given_up_and_then_one_can_delete(tmp_path: Path) -> None:
    directory = tmp_path / "documents"

    def grown(*, overwrite: bool = False, **inputs: str) -> Stage:
        return open_stage(directory, schema="documents/1", config={}, inputs=inputs, grows=True, overwrite=overwrite)

    grown(a="1").finish()
    (grown(a="1", b="2").work / "half").write_text("x", "utf-8")
    with (
        pytest.raises(MGLMError, match=r"begun in it\. .*with --overwrite; then delete"),
        rewriting(directory, "documents/1"),
    ):
        pass
    before = (directory / MANIFEST_NAME).read_bytes()
    assert grown(a="1", overwrite=True).done
    assert not (directory / "_work").exists()
    assert (directory / MANIFEST_NAME).read_bytes() == before
    with rewriting(directory, "documents/1"):
        pass


def test_times_stand_outside_the_content_hash(tmp_path: Path) -> None:
    make_plan(tmp_path / "a")
    make_plan(tmp_path / "b")
    first, second = (read_manifest(tmp_path / name, "plan/1") for name in "ab")
    assert first.content_hash() == second.content_hash()
    changed = first.model_copy(update={"config": {"alpha": 0.7}})
    assert changed.content_hash() != first.content_hash()
    assert first.model_copy(update={"made": {}}).content_hash() == first.content_hash()


def test_the_same_work_killed_before_its_end_is_resumed_with_its_files(tmp_path: Path) -> None:
    output = tmp_path / "plan"
    program = (
        "import os, sys; from pathlib import Path; from core.stage import open_stage\n"
        "output = Path(sys.argv[1])\n"
        "open_stage(output, schema='plan/1', config={'alpha': 0.3}, inputs={'counts': 'abc'})\n"
        "(output / 'half.json').write_text('x'); os.kill(os.getpid(), 9)\n"
    )
    subprocess.run([sys.executable, "-c", program, str(output)], check=False, cwd=Path(__file__).parents[2])
    assert (output / "half.json").exists()
    with pytest.raises(MGLMError, match="unfinished"):
        read_manifest(output, "plan/1")
    stage = open_plan(output)
    assert stage.resumed
    assert not stage.done
    assert (output / "half.json").exists()


def test_other_work_is_kept_unless_overwriting_is_asked_for(tmp_path: Path) -> None:
    output = tmp_path / "plan"
    make_plan(output)
    with pytest.raises(MGLMError, match=r"alpha was 0.3, now 0.7.*--overwrite"):
        open_plan(output, alpha=0.7)
    assert read_manifest(output, "plan/1").config == {"alpha": 0.3}
    assert not open_plan(output, alpha=0.7, overwrite=True).done
    assert not (output / "plan.json").exists()
    assert not (output / MANIFEST_NAME).exists()


def test_work_of_another_kind_is_never_replaced(tmp_path: Path) -> None:
    output = tmp_path / "plan"
    make_plan(output)
    for _ in range(2):
        with pytest.raises(MGLMError, match="found work of another kind, plan/1; expected shards/1"):
            open_stage(output, schema="shards/1", config={}, inputs={}, overwrite=True)
        assert (output / "plan.json").exists()
        (output / MANIFEST_NAME).unlink(missing_ok=True)  # and once more, unfinished
        (output / MARKER_NAME).write_text(json.dumps({"schema": "plan/1"}), "utf-8")


def test_what_a_stage_made_is_on_its_disk_before_the_manifest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names: list[str] = []
    fsync = os.fsync
    monkeypatch.setattr(os, "fsync", lambda of: names.append(Path(f"/proc/self/fd/{of}").readlink().name) or fsync(of))
    make_plan(tmp_path / "plan")
    assert names.index("plan.json") < next(place for place, name in enumerate(names) if MANIFEST_NAME in name)


def test_files_of_somebody_else_are_never_touched(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work", "utf-8")
    with pytest.raises(MGLMError, match="no mglm stage made"):
        open_plan(tmp_path, overwrite=True)
    assert (tmp_path / "thesis.txt").read_text("utf-8") == "years of work"
    assert os.listdir(tmp_path) == ["thesis.txt"]  # noqa: PTH208 - the whole content, hidden files included


def test_a_second_process_in_the_same_directory_is_refused(tmp_path: Path) -> None:
    output = tmp_path / "plan"
    stage = open_plan(output)
    with pytest.raises(MGLMError, match="another mglm process"):
        open_plan(output)
    stage.finish()
    assert open_plan(output).done


def test_readers_say_what_is_missing_and_which_command_makes_it(tmp_path: Path) -> None:
    make_plan(tmp_path / "plan")
    file = tmp_path / "file"
    file.write_text("", "utf-8")
    for directory, words in [
        (tmp_path / "none", "nothing there.*mglm corpus build"),
        (file, "a file"),
        (tmp_path, "no manifest.json"),
        (tmp_path / "plan", "plan/1.*documents/1.*mglm corpus build"),
    ]:
        with pytest.raises(MGLMError, match=f"(?i){words}"):
            read_manifest(directory, "documents/1")


def test_a_damaged_manifest_is_named(tmp_path: Path) -> None:
    (tmp_path / MANIFEST_NAME).write_text(json.dumps({"schema": "plan/1"}), "utf-8")
    with pytest.raises(MGLMError, match="not an mglm manifest"):
        read_manifest(tmp_path, "plan/1")


def test_waiting_ends_when_the_other_process_leaves_or_patience_does(tmp_path: Path) -> None:
    output = tmp_path / "plan"
    wait_until_free(output, 0.5)
    assert not output.exists()
    stage = open_plan(output)
    wait_until_free(output, 0.3)
    with pytest.raises(MGLMError, match="another mglm process"):
        open_plan(output)
    del stage  # as when its process dies
    wait_until_free(output, 0.3)
    assert open_plan(output).resumed


def test_a_package_installed_within_another_checkout_has_no_revision(tmp_path: Path) -> None:
    core = Path(__file__).parents[2] / "core"
    git = ["git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@example.org"]
    subprocess.run([*git, "init", "--quiet"], check=True)
    subprocess.run([*git, "commit", "--quiet", "--allow-empty", "--message", "another project"], check=True)
    revisions = []
    for parent in (tmp_path / "venv" / "site-packages", tmp_path):
        shutil.copytree(core, parent / "core", ignore=shutil.ignore_patterns("__pycache__"))
        program = "from core.manifest import git_revision; print(git_revision())"
        said = subprocess.run([sys.executable, "-c", program], cwd=parent, capture_output=True, text=True, check=True)
        revisions.append(said.stdout.strip())
    head = subprocess.run([*git, "rev-parse", "HEAD"], capture_output=True, text=True, check=True).stdout.strip()
    assert revisions == ["None", head]


def test_two_processes_of_one_number_can_write_a_file_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, fsync = tmp_path / "note.json", os.fsync

    def while_another_writes(file: int) -> None:  # in its own container, where processes are counted from 1 too
        monkeypatch.setattr(os, "fsync", fsync)
        write_atomically(path, "said")
        fsync(file)

    monkeypatch.setattr(os, "fsync", while_another_writes)
    write_atomically(path, "said")
    assert [(file.name, file.read_text()) for file in tmp_path.iterdir()] == [("note.json", "said")]
