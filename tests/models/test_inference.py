import os
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from membrane.errors import ModelUnavailable
from membrane.models import registry as models
from membrane.models.inference import OnnxNetwork, load_session


@pytest.fixture
def network():
    return models.path_of("silero-vad")


def test_waiting_threads_sleep_and_there_are_few(network):
    options = load_session(network).get_session_options()
    assert options.get_session_config_entry("session.intra_op.allow_spinning") == "0"
    assert (options.intra_op_num_threads, options.inter_op_num_threads) == (1, 1)
    assert load_session(network, threads=2).get_session_options().intra_op_num_threads == 2


def test_a_session_computes(network):
    inputs = {
        "input": np.zeros((1, 576), dtype=np.float32),
        "state": np.zeros((2, 1, 128), dtype=np.float32),
        "sr": np.array(16000, dtype=np.int64),
    }
    probability, _ = load_session(network).run(None, inputs)
    assert 0 <= probability[0, 0] < 0.5


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: b"",
        lambda content: b"This is a text.",
        lambda content: content[: len(content) // 2],
        lambda content: content[:-5],
        lambda content: bytes(len(content)),
        lambda content: content[:1000] + bytes(1000) + content[2000:],
    ],
    ids=["empty", "text", "half", "cut", "zeros", "hole"],
)
def test_a_damaged_model_is_refused_in_one_line(network, tmp_path, damage):
    path = tmp_path / "model.onnx"
    path.write_bytes(damage(network.read_bytes()))
    with pytest.raises(ModelUnavailable, match="reinstall Membrane") as refused:
        load_session(path)
    assert "\n" not in str(refused.value)
    assert str(path) in str(refused.value)


def test_a_missing_model_is_refused(tmp_path):
    with pytest.raises(ModelUnavailable, match=r"missing\.onnx cannot be loaded"):
        load_session(tmp_path / "missing.onnx")


def test_a_missing_runtime_is_refused_in_one_line(network, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(ModelUnavailable, match="ONNX Runtime cannot be loaded"):
        load_session(network)


def test_a_refusal_prints_nothing_itself(tmp_path):
    path = tmp_path / "model.onnx"
    path.write_bytes(b"no model")
    code = (
        "import sys; from pathlib import Path\n"
        "from membrane.errors import ModelUnavailable\n"
        "from membrane.models.inference import load_session\n"
        "try: load_session(Path(sys.argv[1]))\n"
        "except ModelUnavailable: print('refused')"
    )
    shown = subprocess.run(
        [sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True
    )
    assert (shown.stdout.strip(), shown.stderr) == ("refused", "")


def test_the_library_is_told_to_call_nobody_before_it_is_loaded(network, environment):
    program = (
        "import os, sys\n"
        "class Watch:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name == 'onnxruntime':\n"
        "            print(os.environ.get('ORT_DISABLE_TELEMETRY'))\n"
        "sys.meta_path.insert(0, Watch())\n"
        "from pathlib import Path\n"
        "from membrane.models.inference import load_session\n"
        f"load_session(Path({str(network)!r}))\n"
    )
    environment.pop("ORT_DISABLE_TELEMETRY", None)
    told = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True
    )
    assert told.stdout.split() == ["1"]


def _in_child(act):
    """Return whether an act in a child of a fork ends well, within ten seconds."""
    pid = os.fork()
    if not pid:
        signal.alarm(10)
        os._exit(0 if act() else 1)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def _heard(network):
    inputs = {
        "input": np.ones((1, 576), dtype=np.float32),
        "state": np.zeros((2, 1, 128), dtype=np.float32),
        "sr": np.array(16000, dtype=np.int64),
    }
    return float(network.run(None, inputs)[0][0, 0])


def test_a_network_is_opened_once_by_many_threads_and_anew_in_a_child(network):
    opened = []
    shared = OnnxNetwork(lambda: opened.append(os.getpid()) or network)
    with ThreadPoolExecutor(8) as threads:
        answers = set(threads.map(lambda _: _heard(shared), range(40)))
    assert len(answers) == 1
    assert opened == [os.getpid()]
    assert _in_child(lambda: {_heard(shared)} == answers and opened[1:] == [os.getpid()])
    assert {_heard(shared)} == answers
    assert opened == [os.getpid()]


def test_children_of_a_process_whose_threads_open_networks_can_open_one(network):
    ended = threading.Event()

    def open_and_run():
        while not ended.is_set():
            _heard(OnnxNetwork(lambda: network))

    threads = [threading.Thread(target=open_and_run) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        children = [_in_child(lambda: _heard(OnnxNetwork(lambda: network)) < 1) for _ in range(20)]
    finally:
        ended.set()
        for thread in threads:
            thread.join()
    assert all(children)
