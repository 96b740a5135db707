"""The interactive mode: one letter, one task, until the person leaves."""

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from membrane.errors import Declined, MembraneError, NameTaken, OutputUnwritable, UsageError
from membrane.login.membrane import Membrane
from membrane.terminal import tasks as requests
from membrane.terminal.console import View
from membrane.terminal.text import sentence

QUESTION = (
    "Please type 'enroll' or 'e' to enroll a new user, "
    "type 'verify' or 'v' to verify an enrolled user:"
)
"""As in the original; 'delete' or 'd', 'clear' or 'c' and 'file' or 'f' are not listed there
either. An empty line or 'q' leaves."""

LEAVE = {"", "q", "quit", "exit"}


class Interactive:
    """The interactive mode."""

    def __init__(self, membrane: Membrane, view: View) -> None:
        self._membrane = membrane
        self._view = view

    def run(self) -> int:
        """Ask what to do until the person leaves; return the exit code of the last task.

        One that the person took back is none: it makes no refused login good.
        """
        choices: dict[str, Callable[[], int]] = {
            "enroll": self._enroll,
            "verify": self._verify,
            "delete": self._delete,
            "clear": self._clear,
            "file": self._file,
        }
        letters = {name[0]: task for name, task in choices.items()}
        code = 0
        while (answer := self._next()) not in LEAVE:
            task = choices.get(answer) or letters.get(answer)
            if task is None:
                self._view.warn(f"{answer!r} is none of these.")
                continue
            try:
                code = task()
            except Declined as taken_back:
                self._view.note(sentence(taken_back))
            except MembraneError as error:
                self._view.error(str(error))
                code = error.exit_code
        return code

    def _next(self) -> str:
        try:
            return self._view.ask(QUESTION).lower()
        except Declined:
            return ""  # Ctrl-D leaves, as it leaves a shell

    def _tasks(self, *files: str) -> requests.Tasks:
        return requests.Tasks(self._membrane, self._view, files=files)

    def _enroll(self) -> int:
        tasks = self._tasks()
        name = self._view.ask("User name:")
        how: requests.How = "new"
        try:
            self._membrane.check_name_is_free(name)
        except NameTaken:
            if not self._view.confirm(f"{name} is enrolled already. Replace them?"):
                raise Declined(f"nothing was changed: {name} stays enrolled") from None
            how = "replace"
        own = self._view.confirm("Use a passphrase of your own, the same each time?")
        phrase = self._view.ask("Passphrase (leave empty to speak it):") if own else None
        tasks.enroll(name, how=how, phrase=phrase)
        return 0

    def _verify(self) -> int:
        tasks = self._tasks()
        name = self._view.ask("User name (leave empty to be found by your passphrase):")
        accepted = tasks.verify(name or None)
        with suppress(Declined):  # no answer is no recording, and changes no decision
            self._offer_to_save(tasks)
        return 0 if accepted else 1

    def _file(self) -> int:
        file = self._view.ask("Recording:")
        name = self._view.ask("User name (leave empty to be told whose voice it is):")
        tasks = self._tasks(file)
        accepted = tasks.verify(name) if name else tasks.identify(top_n=5)
        return 0 if accepted else 1

    def _delete(self) -> int:
        self._tasks().delete(self._view.ask("User name:"), agreed=False)
        return 0

    def _clear(self) -> int:
        self._tasks().clear(agreed=False)
        return 0

    def _offer_to_save(self, tasks: requests.Tasks) -> None:
        if tasks.last_heard is None or not self._view.confirm("Save the recording?"):
            return
        from membrane.audio.files import save_recording

        while name := self._view.ask("File (.wav or .flac; leave empty not to save it):"):
            path = Path(name).expanduser()
            if path.exists() and not self._view.confirm(f"{name} exists already. Replace it?"):
                continue
            try:
                save_recording(path, tasks.last_heard.samples)
            except (UsageError, OutputUnwritable) as error:
                self._view.warn(sentence(error))
            else:
                self._view.note(f"Saved as {name}.")
                return
