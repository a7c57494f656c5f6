"""Processes of a run: their lines, their ends, and that none is left."""

import os
import signal
import subprocess
import sys
import time
import uuid

import psutil
import pytest

from jobs.engine import pipe_ends, process
from jobs.engine.process import ProcessGroup, exit_code_of, is_alive, kill_marked, marked_processes

PYTHON_ENV = {"PATH": os.environ["PATH"]}


@pytest.fixture
def mark():
    """A mark no other run has; whatever still carries it at the end is killed, and that is a failure."""
    value = f"{uuid.uuid4()}:0"
    yield value
    assert kill_marked(value) == 0, "the run left a process behind"


@pytest.fixture
def group(mark, tmp_path):
    """A run's processes; closed at the end."""
    made = ProcessGroup(mark=mark, environment=PYTHON_ENV, folder=str(tmp_path))
    yield made
    made.close()


def start(group, code, *, stdin=b"", out=None, err=None):
    """Start a small Python program."""
    return group.start(
        [sys.executable, "-c", code],
        name="program",
        stdin=stdin,
        on_stdout=(out if out is not None else []).append,
        on_stderr=(err if err is not None else []).append,
    )


def until(condition, seconds=10.0):
    """Wait for a condition, up to a deadline."""
    limit = time.monotonic() + seconds
    while time.monotonic() < limit:
        if condition():
            return True
        time.sleep(0.02)
    return False


def test_lines_of_both_pipes_arrive_and_the_exit_code_is_kept(group):
    out, err = [], []
    child = start(
        group,
        "import sys; print('one'); print('two', file=sys.stderr); print('no end', end=''); sys.exit(3)",
        out=out,
        err=err,
    )

    assert group.pump(seconds=10)
    assert out == ["one", "no end"]
    assert err == ["two"]
    assert exit_code_of(child.returncode) == 3
    assert child.peak_memory_bytes > 1_000_000


def test_a_million_lines_arrive_in_order(group):
    out = []
    start(group, "for n in range(1_000_000): print(n)", out=out)

    assert group.pump(seconds=60)
    assert len(out) == 1_000_000
    assert out[0] == "0"
    assert out[-1] == "999999"


def test_an_endless_line_is_cut_and_memory_stays_flat(group):
    sizes = []
    group.start(
        [sys.executable, "-c", "import sys\nfor _ in range(64): sys.stdout.write('x' * 1024 * 1024)"],
        name="program",
        stdin=b"",
        on_stdout=lambda line: sizes.append(len(line)),
        on_stderr=print,
    )

    assert group.pump(seconds=30)
    assert sum(sizes) == 64 * 1024 * 1024
    assert max(sizes) <= pipe_ends.LONGEST_LINE + pipe_ends.CHUNK


def test_bytes_that_are_no_utf8_do_not_stop_the_reader(group):
    out = []
    start(group, r"import sys; sys.stdout.buffer.write(b'caf\xe9\nnext\n')", out=out)

    assert group.pump(seconds=10)
    assert out == ["caf�", "next"]


def test_standard_input_reaches_the_child_even_when_it_is_long(group):
    out = []
    start(group, "import sys; print(len(sys.stdin.read()))", stdin=b"y" * 1_000_000, out=out)

    assert group.pump(seconds=10)
    assert out == ["1000000"]


def test_a_child_that_does_not_read_its_input_is_no_error(group):
    child = start(group, "import os; os._exit(0)", stdin=b"y" * 10_000_000)

    assert group.pump(seconds=10)
    assert child.returncode == 0


def descriptors():
    """What is open in this process."""
    return {
        number: os.readlink(f"/proc/self/fd/{number}") for number in os.listdir("/proc/self/fd") if alive_fd(number)
    }


def alive_fd(number):
    return os.path.islink(f"/proc/self/fd/{number}")


def test_a_child_that_does_not_read_holds_nobody_up(group):
    before = time.monotonic()
    child = start(group, "import time; time.sleep(60)", stdin=b"y" * 5_000_000)
    reading, writing = os.pipe()
    writer = group.writer(child, writing)
    writer.send(b"z" * 5_000_000)
    os.close(reading)

    assert not group.pump(seconds=0.2)
    assert time.monotonic() - before < 2


def test_what_a_child_reads_late_arrives_whole_and_in_order(group):
    reading, writing = os.pipe()
    out = []
    child = group.start(
        [sys.executable, "-c", f"import time; time.sleep(0.3); print(hash(open({reading}).read()) and 'read')"],
        name="program",
        on_stdout=out.append,
        on_stderr=out.append,
        pass_fds=[reading],
    )
    os.close(reading)
    writer = group.writer(child, writing)
    for number in range(20):
        writer.send(str(number % 10).encode() * 300_000)
    writer.finish()
    writer.send(b"after its end")

    assert group.pump(seconds=10)
    assert out == ["read"]
    assert writer.is_closed


def test_a_long_message_is_not_cut(group):
    out = []
    group.start(
        [sys.executable, "-c", "print('x' * 9_000_000); print('end')"],
        name="program",
        on_stdout=lambda line: out.append(len(line)),
        on_stderr=out.append,
        longest=pipe_ends.LONGEST_MESSAGE,
    )

    assert group.pump(seconds=10)
    assert out == [9_000_000, 3]


def test_what_a_descendant_writes_without_end_is_not_waited_for(group):
    start(group, "import time; time.sleep(60)")  # another side, for which the run goes on
    out = []
    child = start(group, "import subprocess; subprocess.Popen(['timeout', '8', 'yes'])", out=out)

    assert until(lambda: group.pump_once(seconds=0.1) and child.poll() and len(out) > 200_000)
    before = time.monotonic()
    assert group.is_done([child])
    assert time.monotonic() - before < 4
    assert group.kill_left_behind(child) == 2


def test_what_left_its_session_is_found_by_whom_it_came_from(group):
    code = "import subprocess, sys; subprocess.Popen(['sleep', '60'], start_new_session=True)"
    one, other = start(group, code), start(group, code)

    assert until(lambda: one.poll() and other.poll())
    assert group.kill_left_behind(one) == 1
    assert group.kill_left_behind(one) == 0
    assert group.close() == 1


def test_no_descriptor_stays_open_after_a_run(mark, tmp_path):
    before = descriptors()
    for _ in range(5):
        group = ProcessGroup(mark=mark, environment=PYTHON_ENV, folder=str(tmp_path))
        child = start(group, "import time; print('x', end='', flush=True); time.sleep(60)", stdin=b"y" * 1_000_000)
        reading, writing = os.pipe()
        group.writer(child, writing).send(b"z" * 1_000_000)
        os.close(reading)
        group.pump(seconds=0.1)
        with pytest.raises(OSError):
            group.start(["/no/such/program"], name="none", on_stderr=print)
        group.close()

    assert descriptors() == before


def test_the_environment_is_built_from_nothing(group, monkeypatch):
    monkeypatch.setenv("ELTSITE_KEY", "must not be seen")
    out = []
    start(group, "import os; print(sorted(k for k in os.environ if k != 'LC_CTYPE'))", out=out)

    assert group.pump(seconds=10)
    assert out == [str(sorted(["PATH", process.MARK, process.PART]))]


def test_pump_returns_in_time_while_a_child_lives(group):
    start(group, "import time; time.sleep(60)")
    before = time.monotonic()

    assert not group.pump(seconds=0.3)
    assert time.monotonic() - before < 2


def test_term_ends_an_obedient_child_with_code_143(group):
    child = start(group, "import time; time.sleep(60)")
    group.pump(seconds=0.2)
    group.signal(signal.SIGTERM)

    assert group.pump(seconds=5)
    assert exit_code_of(child.returncode) == 143


def test_a_grandchild_that_keeps_the_pipe_open_does_not_hold_the_run(group):
    out = []
    start(
        group,
        "import subprocess, sys; subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)']); print('done')",
        out=out,
    )
    before = time.monotonic()

    assert group.pump(seconds=20)
    assert out == ["done"]
    assert time.monotonic() - before < 10
    assert group.close() == 1


def test_a_double_fork_that_left_session_and_group_is_found_by_its_mark_and_killed(group, mark):
    start(
        group,
        "import os\n"
        "if os.fork() == 0:\n"
        "    os.setsid()\n"
        "    if os.fork() == 0:\n"
        "        os.closerange(0, 3)\n"
        "        import time; time.sleep(60)\n"
        "    os._exit(0)\n"
        "os.wait()\n",
    )
    assert group.pump(seconds=10)
    assert until(lambda: mark in marked_processes())

    assert group.close() == 1
    assert mark not in marked_processes()


def test_closing_ends_a_child_that_ignores_term(group, mark):
    out = []
    child = start(
        group,
        "import signal, time; signal.signal(15, signal.SIG_IGN); print('deaf', flush=True); time.sleep(60)",
        out=out,
    )
    assert until(lambda: group.pump(seconds=0.1) or out)
    group.signal(signal.SIGTERM)
    assert not group.pump(seconds=0.3)

    group.close()
    assert exit_code_of(child.returncode) == 137


def test_closing_leaves_no_zombie(tmp_path, mark):
    group = ProcessGroup(mark=mark, environment=PYTHON_ENV, folder=str(tmp_path))
    start(group, "import os\nif os.fork() == 0:\n    import time; time.sleep(60)\n")
    group.pump(seconds=5)
    group.close()

    assert not [child for child in psutil.Process().children() if child.status() == psutil.STATUS_ZOMBIE]


def test_a_reused_process_number_is_not_taken_for_the_old_process():
    with subprocess.Popen(["sleep", "60"]) as other:
        started = psutil.Process(other.pid).create_time()
        assert is_alive(other.pid, started)
        assert not is_alive(other.pid, started - 100)
        other.kill()
    assert not is_alive(other.pid, started)
