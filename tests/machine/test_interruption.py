import os
import signal
import threading

import pytest

from dmtc.core.files import replacing
from dmtc.machine.interruption import SIGNALS, Interruption, RunStopped, ended_in_order


def test_a_signal_is_noted_and_handlers_are_put_back(capfd):
    before = [signal.getsignal(signum) for signum in SIGNALS]
    interruption = Interruption()
    with interruption.heeded():
        interruption.check("nowhere")
        os.kill(os.getpid(), signal.SIGTERM)
        assert interruption.signum == signal.SIGTERM
        with pytest.raises(RunStopped, match="stopped by SIGTERM at step 3") as caught:
            interruption.check("at step 3")
    assert caught.value.exit_code == 143
    assert [signal.getsignal(signum) for signum in SIGNALS] == before
    assert "SIGTERM: finishing the current step" in capfd.readouterr().err


def test_ctrl_c_again_stops_at_once_but_a_cluster_may_repeat_itself(capfd):
    interruption = Interruption()
    with interruption.heeded():
        for signum in (signal.SIGUSR1, signal.SIGTERM, signal.SIGTERM):
            os.kill(os.getpid(), signum)
        assert interruption.signum == signal.SIGUSR1
        with pytest.raises(KeyboardInterrupt) as caught:
            os.kill(os.getpid(), signal.SIGINT)
    assert not isinstance(caught.value, RunStopped)
    assert capfd.readouterr().err.count("finishing") == 1


def test_a_thread_heeds_nothing_and_runs_all_the_same():
    ran = []

    def run():
        with Interruption().heeded():
            ran.append(1)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert ran == [1]


def test_sigterm_ends_a_command_in_order(tmp_path):
    """What it was writing goes, and the exit code is that of the signal."""
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL

    def write() -> None:
        with ended_in_order(), replacing(tmp_path / "page.html") as unfinished:
            unfinished.write_text("half")
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(SystemExit) as caught:
        write()
    assert caught.value.code == 143
    assert list(tmp_path.iterdir()) == []
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_a_process_that_ignores_sigterm_goes_on_ignoring_it():
    before = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        with ended_in_order():
            os.kill(os.getpid(), signal.SIGTERM)
    finally:
        signal.signal(signal.SIGTERM, before)
