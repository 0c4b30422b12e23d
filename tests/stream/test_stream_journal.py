"""The journal: a line for each bad image, whatever happens to the process or the disk."""

from __future__ import annotations

import fcntl
import json
import logging
import os
import resource
import signal
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from infeed.stream import BadImage, Journal, Quarantine


def bad(position: int, uri: str | None = None) -> BadImage:
    return BadImage(position, uri or f"{position}.jpg", "missing", "no such file")


def lines(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def test_a_line_says_what_when_and_why(tmp_path: Path) -> None:
    path = tmp_path / "new folder" / "bad.jsonl"
    Journal(path).add(bad(3, "图 - 副本.jpg"))
    (line,) = lines(path)
    when = datetime.fromisoformat(str(line.pop("when")))
    assert abs(datetime.now(UTC) - when) < timedelta(minutes=1)
    assert line == {
        "position": 3,
        "uri": "图 - 副本.jpg",
        "reason": "missing",
        "message": "no such file",
    }


def test_there_is_no_file_before_there_is_a_bad_image(tmp_path: Path) -> None:
    Quarantine(1, records=1, journal=Journal(tmp_path / "bad.jsonl"))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("uri", ["a\nb\x1b[2J\u2028.jpg", "\udcff.jpg", '"quoted".jpg'])
def test_no_name_breaks_a_line(tmp_path: Path, uri: str) -> None:
    journal = Journal(tmp_path / "bad.jsonl")
    journal.add(bad(0, uri))
    journal.add(bad(1))
    assert [line["uri"] for line in lines(journal.path)] == [uri, "1.jpg"]
    assert journal.path.read_bytes().isascii()


def test_what_is_in_the_file_stays_and_half_a_line_harms_only_itself(tmp_path: Path) -> None:
    path = tmp_path / "bad.jsonl"
    path.write_text('{"position": 1}\n' + "[" * 100_000 + '\n{"posit')
    Journal(path).add(bad(2))
    first, _, half, last = path.read_text().splitlines()
    assert json.loads(first) == {"position": 1}
    assert half == '{"posit'
    assert json.loads(last)["position"] == 2


def test_a_bad_image_is_written_once_and_so_is_a_recovered_one(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "bad.jsonl")
    quarantine = Quarantine(9, records=9, journal=journal)
    for _ in range(3):
        quarantine.add(bad(4))
        quarantine.add_recovered(BadImage(5, "5.jpg", "recovered", "two bytes too many"))
    assert [(line["position"], line["reason"]) for line in lines(journal.path)] == [
        (4, "missing"),
        (5, "recovered"),
    ]


def test_a_journal_that_cannot_be_written_is_said_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    journal = Journal(tmp_path / "bad.jsonl")
    journal.path.mkdir()  # of somebody else's, meanwhile
    with caplog.at_level(logging.WARNING):
        journal.add(bad(1))
        journal.add(bad(2))
    (record,) = caplog.records
    assert "could not be written to" in record.message
    assert "Is a directory" in record.message


def test_lines_are_there_after_a_kill(tmp_path: Path) -> None:
    program = (
        "import os, sys; from infeed.stream import BadImage, Journal\n"
        "journal = Journal(sys.argv[1])\n"
        "for n in range(10): journal.add(BadImage(n, 'x', 'io', 'm'))\n"
        "os.kill(os.getpid(), 9)"
    )
    path = tmp_path / "bad.jsonl"
    done = subprocess.run([sys.executable, "-c", program, path], check=False)
    assert done.returncode == -signal.SIGKILL
    assert [line["position"] for line in lines(path)] == list(range(10))


def test_two_processes_can_share_a_journal(tmp_path: Path) -> None:
    program = (
        "import sys; from infeed.stream import BadImage, Journal\n"
        "journal = Journal(sys.argv[1])\n"
        "for n in range(300): journal.add(BadImage(n, sys.argv[2] * 200, 'io', sys.argv[2]))"
    )
    path = tmp_path / "bad.jsonl"
    both = [subprocess.Popen([sys.executable, "-c", program, path, who]) for who in "ab"]
    assert [each.wait() for each in both] == [0, 0]
    written = lines(path)
    assert len(written) == 600
    for who in "ab":
        assert [w["position"] for w in written if w["message"] == who] == list(range(300))


def test_a_process_that_keeps_the_file_locked_does_not_stop_the_run(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "bad.jsonl")
    journal.add(bad(0))
    # Of another open file, which is all that a lock tells processes apart by.
    with journal.path.open() as locked:
        fcntl.flock(locked, fcntl.LOCK_EX)
        journal.add(bad(1))
    assert [line["position"] for line in lines(journal.path)] == [0, 1]


def test_a_later_change_of_the_working_folder_does_not_move_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    journal = Journal("bad.jsonl")
    (tmp_path / "elsewhere").mkdir()
    os.chdir(tmp_path / "elsewhere")
    journal.add(bad(0))
    assert (tmp_path / "bad.jsonl").exists()


def test_what_was_met_before_there_was_a_journal_is_written_unless_it_was_known(
    tmp_path: Path,
) -> None:
    before = Quarantine(9, records=9)
    before.add(bad(1))
    quarantine = Quarantine(9, records=9)
    quarantine.add(bad(1))
    quarantine.add(bad(2))
    quarantine.load_state_dict(before.state_dict())
    journal = Journal(tmp_path / "bad.jsonl")
    quarantine.write_to(journal)
    quarantine.write_to(Journal(tmp_path / "other.jsonl"))  # there is one
    quarantine.add(bad(3))
    assert [line["position"] for line in lines(journal.path)] == [2, 3]
    assert not (tmp_path / "other.jsonl").exists()


def test_what_the_file_names_already_is_not_named_again(tmp_path: Path) -> None:
    path = tmp_path / "bad.jsonl"
    Journal(path).add(bad(1))
    again = Journal(path)
    again.add(bad(1))
    again.add(bad(2))
    again.add(BadImage(1, "1.jpg", "io", "now it is something else"))
    assert [(line["position"], line["reason"]) for line in lines(path)] == [
        (1, "missing"),
        (2, "missing"),
        (1, "io"),
    ]


def test_a_line_that_was_cut_off_by_a_full_disk_does_not_spoil_the_next(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    journal = Journal(tmp_path / "bad.jsonl")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    old = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (50, limits[1]))
        with caplog.at_level(logging.WARNING):
            journal.add(bad(1))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, old)
    journal.add(bad(2))
    half, whole = journal.path.read_text().splitlines()
    assert len(half) == 50
    assert json.loads(whole)["position"] == 2
    assert "could not be written" in caplog.text


@pytest.mark.parametrize("path", ["", ".", "~nobody-of-that-name/x"])
def test_what_can_be_no_file_is_refused_at_once(path: str) -> None:
    with pytest.raises(ValueError, match="a list of bad images"):
        Journal(path)


def test_a_pipe_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ValueError, match="a list of bad images must be a file"):
        Journal(tmp_path / "pipe")
