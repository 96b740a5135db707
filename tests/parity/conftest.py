"""Keep these tests to the reference environment (`make parity`), and show their figures."""

from importlib.util import find_spec

collect_ignore_glob = [] if find_spec("resemblyzer") else ["test_*.py"]


def pytest_terminal_summary(terminalreporter):
    for report in terminalreporter.getreports("passed") + terminalreporter.getreports("failed"):
        for name, figure in report.user_properties:
            if name == "parity" and report.when == "call":
                terminalreporter.write_line(f"{report.nodeid.partition('::')[2]}: {figure}")
