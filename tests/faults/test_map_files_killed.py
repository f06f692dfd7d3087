"""Processes killed while they write the results of a map: what is in the files then."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
from pathlib import Path

from tests.unit.test_mapping_resume import journal


def test_what_a_killed_process_had_written_is_there(tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    script = f"""
        import os, signal
        from pathlib import Path
        from parsl_pcm.mapping.sinks.opening import open_sink
        from parsl_pcm.mapping.sinks.rows import result_row
        from parsl_pcm.mapping.sinks.safe_file import Patience
        sink = open_sink(Path({str(path)!r}), patience=Patience(on_wait=print), is_tolerant=False)
        sink.write([result_row(index, None, None, index) for index in range(1000)])
        os.kill(os.getpid(), signal.SIGKILL)
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(script)], check=False)
    assert done.returncode < 0
    lines = path.read_text().splitlines()
    assert [json.loads(line)["index"] for line in lines] == list(range(1000))


def test_a_killed_process_leaves_whole_batches(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    script = f"""
        import os, signal, sqlite3
        from pathlib import Path
        from tests.unit.test_mapping_resume import journal
        kept = journal(Path({str(path)!r}))
        kept.add([(number, number, number) for number in range(1000)])
        kept._database.execute("BEGIN")
        kept._database.execute("INSERT INTO results VALUES (1, 'half')")
        os.kill(os.getpid(), signal.SIGKILL)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)], check=False, cwd=Path(__file__).parents[2]
    )
    assert done.returncode < 0
    kept = journal(path)
    assert len(kept) == 1000
    assert kept.get(0, 999) == (True, 999)
    kept.close()
