"""The commands, in the words of the domain: parse, call, show."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from membrane import __version__
from membrane.errors import StoreDamaged, UsageError
from membrane.evaluation import commands as evaluation
from membrane.terminal.console import View, at_terminal
from membrane.terminal.help import Helped
from membrane.terminal.options import (
    Adapt,
    AsJson,
    Database,
    Denoise,
    Device,
    Encoder,
    Explain,
    KeepUntil,
    MetricName,
    Model,
    PromptKind,
    Quiet,
    Recognizer,
    Results,
    SaveTo,
    Scorer,
    Seconds,
    Security,
    ShowScores,
    Threshold,
    Username,
    WithFile,
    WithFiles,
    Yes,
)
from membrane.training import commands as training

if TYPE_CHECKING:
    from membrane.login.membrane import Membrane
    from membrane.terminal.tasks import Tasks

app = typer.Typer(
    name="membrane",
    help="Voice login for the terminal: is it their voice, and did they say what was asked?",
    epilog="Exit codes: 0 accepted or done, 1 refused, 2 usage, 3 the recording cannot be judged, "
    "4 name taken or unknown, 5 database, 6 microphone, engine or weights, 7 output, "
    "130 interrupted.",
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # a table of Rich's hides half of each option in sixty columns
    context_settings={"help_option_names": ["-h", "--help"]},
)
weights = typer.Typer(help="Model files: list, fetch or verify them.", rich_markup_mode=None)
app.add_typer(weights, name="weights")
log = typer.Typer(help="The decision log: show it or verify it.", rich_markup_mode=None)
app.add_typer(log, name="log")


def _membrane(*, denoise: bool | None = None, explain: bool = False, **options: Any) -> Membrane:
    from membrane.login.membrane import Membrane
    from membrane.settings import load_settings

    if denoise is not None:
        options["denoise"] = "always" if denoise else "never"
    ask = View().secret if at_terminal() else None
    return Membrane(load_settings(**options), explains=explain, ask=ask, processes=0)


def _tasks(
    view: View,
    *,
    files: Sequence[str] | None = None,
    seconds: float | None = None,
    save_to: Path | None = None,
    keep_until: str | None = None,
    **options: Any,
) -> Tasks:
    from membrane.terminal.tasks import Tasks

    return Tasks(
        _membrane(**options),
        view,
        files=tuple(files or ()),
        seconds=seconds,
        save_to=save_to,
        keep_until=keep_until or "",
    )


def _name(username: str | None, remedy: str) -> str:
    """Return the name that was given, or the login name at a terminal."""
    if username is not None:
        return username
    if not at_terminal():
        raise UsageError(f"without a terminal, {remedy} must say whose login it is")
    from getpass import getuser

    try:
        return getuser()
    except (ImportError, KeyError, OSError):
        raise UsageError(f"this login has no name: {remedy} must say whose it is") from None


def _refuse(*problems: tuple[bool, str]) -> None:
    """Refuse options that do not go together: the first problem that is one."""
    for is_one, message in problems:
        if is_one:
            raise UsageError(message)


def _exit(accepted: bool) -> None:
    raise typer.Exit(0 if accepted else 1)


# ---- Commands


@app.callback(invoke_without_command=True)
def membrane(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Show the version.")] = False,
) -> None:
    """Answer without a command: the version, or the interactive mode."""
    if version:
        View().line(f"membrane {__version__}")
        raise typer.Exit
    if context.invoked_subcommand is not None:
        return
    if not at_terminal():
        raise UsageError("without a terminal a command is needed: see membrane --help")
    from membrane.terminal.interactive import Interactive

    raise typer.Exit(Interactive(_membrane(), View()).run())


@app.command(cls=Helped)
def enroll(
    username: Username = None,
    with_file: WithFiles = None,
    phrase: Annotated[
        str | None, typer.Option(help="Passphrase to enrol with (empty: say it first).")
    ] = None,
    phrases: Annotated[int, typer.Option(min=1, max=20, help="Number of phrases to ask for.")] = 3,
    add: Annotated[bool, typer.Option("--add", help="Add phrases to an enrolled person.")] = False,
    replace: Annotated[bool, typer.Option("--replace", help="Replace an enrolled person.")] = False,
    reencode: Annotated[
        bool, typer.Option("--reencode", help="Switch to another encoder, using saved recordings.")
    ] = False,
    consent: Annotated[
        bool, typer.Option("--consent", help="State that the person has agreed.")
    ] = False,
    keep_until: KeepUntil = None,
    prompt: PromptKind = None,
    device: Device = None,
    seconds: Seconds = None,
    save_recording: SaveTo = None,
    denoise: Denoise = None,
    encoder: Encoder = None,
    recognizer: Recognizer = None,
    model: Model = None,
    scorer: Scorer = None,
    database: Database = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Enrol a person from phrases or recordings.

    At the microphone, Membrane asks for fresh phrases or for a passphrase.
    """
    _refuse(
        (
            add and (replace or phrase is not None),
            "--add goes with neither --replace nor --phrase",
        ),
        (
            reencode and (add or replace or phrase is not None),
            "--reencode goes with neither --add, --replace nor --phrase",
        ),
        (
            reencode and keep_until is not None,
            "--keep-until does not go with --reencode: use it with --add",
        ),
    )
    if keep_until is not None:
        from membrane.login.retention import parse_date

        keep_until = parse_date(keep_until)
    name = _name(username, "--username")
    tasks = _tasks(
        View(as_json=as_json, quiet=quiet),
        files=with_file,
        seconds=seconds,
        save_to=save_recording,
        keep_until=keep_until,
        prompt=prompt,
        device=device,
        denoise=denoise,
        encoder=encoder,
        recognizer=recognizer,
        model=model,
        scorer=scorer,
        database=database,
    )
    if reencode:
        _exit(tasks.reencode(name))
    tasks.enroll(
        name,
        how="add" if add else "replace" if replace else "new",
        phrase=phrase,
        count=phrases,
        consent=consent,
    )


@app.command(cls=Helped)
def verify(
    username: Username = None,
    anyone: Annotated[
        bool, typer.Option("--anyone", help="Find the person by their passphrase.")
    ] = False,
    with_file: WithFile = None,
    expect: Annotated[
        str | None, typer.Option(help="Words that the recording must contain.")
    ] = None,
    attempts: Annotated[
        int | None, typer.Option(min=1, max=10, help="Number of phrases to try.")
    ] = None,
    security: Security = None,
    metric: MetricName = None,
    threshold: Threshold = None,
    prompt: PromptKind = None,
    device: Device = None,
    seconds: Seconds = None,
    save_recording: SaveTo = None,
    results: Results = None,
    denoise: Denoise = None,
    encoder: Encoder = None,
    recognizer: Recognizer = None,
    model: Model = None,
    scorer: Scorer = None,
    database: Database = None,
    explain: Explain = False,
    show_scores: ShowScores = False,
    adapt: Adapt = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Let a person in by voice and words.

    At the microphone, Membrane asks for a fresh phrase. In a recording it checks the words if
    --expect or the person's passphrase says what they should be.
    """
    _refuse(
        (
            anyone and (username is not None or expect is not None),
            "--anyone goes with neither --username nor --expect",
        ),
        (
            expect is not None and not with_file,
            "--expect goes with --with-file: at the microphone the phrase is chosen",
        ),
        (
            expect is not None and not expect.strip(),
            "--expect holds no word: say what the recording must hold",
        ),
    )
    name = None if anyone else _name(username, "--username or --anyone")
    _exit(
        _tasks(
            View(as_json=as_json, quiet=quiet),
            files=with_file,
            seconds=seconds,
            save_to=save_recording,
            explain=explain,
            scores="show" if show_scores else None,
            adapt="on" if adapt else None,
            attempts=attempts,
            security=security,
            metric=metric,
            threshold=threshold,
            prompt=prompt,
            device=device,
            results=results,
            denoise=denoise,
            encoder=encoder,
            recognizer=recognizer,
            model=model,
            scorer=scorer,
            database=database,
        ).verify(name, expected=expect or "")
    )


@app.command(cls=Helped)
def identify(
    with_file: WithFile = None,
    top: Annotated[int, typer.Option(min=1, help="Number of people to list.")] = 5,
    security: Security = None,
    metric: MetricName = None,
    threshold: Threshold = None,
    device: Device = None,
    seconds: Seconds = None,
    save_recording: SaveTo = None,
    results: Results = None,
    denoise: Denoise = None,
    encoder: Encoder = None,
    database: Database = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Tell which enrolled person speaks."""
    _exit(
        _tasks(
            View(as_json=as_json, quiet=quiet),
            files=with_file,
            seconds=seconds,
            save_to=save_recording,
            security=security,
            metric=metric,
            threshold=threshold,
            device=device,
            results=results,
            denoise=denoise,
            encoder=encoder,
            database=database,
        ).identify(top_n=top)
    )


@app.command(cls=Helped)
def compare(
    one: Annotated[str, typer.Argument(help="A recording.")],
    other: Annotated[str, typer.Argument(help="Another recording.")],
    security: Security = None,
    metric: MetricName = None,
    threshold: Threshold = None,
    results: Results = None,
    denoise: Denoise = None,
    encoder: Encoder = None,
    explain: Explain = False,
    as_json: AsJson = False,
) -> None:
    """Tell whether two voices are one person's."""
    _exit(
        _tasks(
            View(as_json=as_json),
            files=(one, other),
            explain=explain,
            security=security,
            metric=metric,
            threshold=threshold,
            results=results,
            denoise=denoise,
            encoder=encoder,
        ).compare()
    )


@app.command(cls=Helped)
def explain(
    one: Annotated[str, typer.Argument(help="A recording, or the name of an enrolled person.")],
    other: Annotated[str, typer.Argument(help="A recording.")],
    security: Security = None,
    metric: MetricName = None,
    threshold: Threshold = None,
    results: Results = None,
    denoise: Denoise = None,
    encoder: Encoder = None,
    database: Database = None,
    as_json: AsJson = False,
) -> None:
    """Show why two voices match or do not.

    This does not check the words.
    """
    _exit(
        _tasks(
            View(as_json=as_json),
            files=(one, other),
            explain=True,
            security=security,
            metric=metric,
            threshold=threshold,
            results=results,
            denoise=denoise,
            encoder=encoder,
            database=database,
        ).explain()
    )


@app.command(cls=Helped)
def transcribe(
    file: Annotated[str, typer.Argument(help="A recording (-: standard input).")],
    recognizer: Recognizer = None,
    model: Model = None,
    scorer: Scorer = None,
    denoise: Denoise = None,
    as_json: AsJson = False,
) -> None:
    """Show the words in a recording."""
    from membrane.audio.files import read_utterance

    membrane = _membrane(recognizer=recognizer, model=model, scorer=scorer, denoise=denoise)
    view = View(as_json=as_json)
    words = membrane.transcribe(read_utterance(file))
    if as_json:
        view.json({"file": file, "recognizer": membrane.settings.recognizer, "words": words})
    else:
        view.line(words)


@app.command("list", cls=Helped)
def list_people(database: Database = None, as_json: AsJson = False) -> None:
    """List the enrolled people."""
    from membrane.settings import load_settings
    from membrane.store.joblib_store import open_store

    settings = load_settings(database=database)
    ask = View().secret if at_terminal() else None
    sealed_only = settings.protection == "required"
    store = open_store(settings.database_path, ask=ask, sealed_only=sealed_only)
    View(as_json=as_json).people(store.gallery().summaries(), encoder=settings.encoder)


@app.command(cls=Helped)
def devices(as_json: AsJson = False) -> None:
    """List the microphones of this machine."""
    from membrane.audio.devices import list_devices

    View(as_json=as_json).devices(list_devices())


@app.command(cls=Helped)
def export(
    name: Annotated[str, typer.Argument(help="A person.")], database: Database = None
) -> None:
    """Show all data stored about a person."""
    from membrane.login.administer import exported

    View(as_json=True).json(exported(_membrane(database=database), name))


@app.command(cls=Helped)
def protect(
    key: Annotated[
        Literal["keyring", "environment", "passphrase"] | None,
        typer.Option(
            help="Where the key is: the system keyring (default), MEMBRANE_KEY or a passphrase. "
            "--rekey keeps the present place by default."
        ),
    ] = None,
    rekey: Annotated[bool, typer.Option("--rekey", help="Change the key.")] = False,
    renew: Annotated[
        bool,
        typer.Option(
            "--renew", help="Make stolen copies useless: transform all voiceprints again."
        ),
    ] = False,
    off: Annotated[bool, typer.Option("--off", help="Remove the encryption.")] = False,
    status: Annotated[
        bool, typer.Option("--status", help="Show the present state and change nothing.")
    ] = False,
    database: Database = None,
    as_json: AsJson = False,
) -> None:
    """Encrypt the voiceprint database.

    This covers names, voices, passphrases and the record of logins.
    """
    _refuse(
        (rekey + renew + off + status > 1, "choose one of --rekey, --renew, --off and --status")
    )
    view = View(as_json=as_json)
    if status:
        from membrane.login.protect import status as protection_of

        view.protection(protection_of(_membrane(database=database).store))
        return
    asked = {"rekey": rekey, "renew": renew, "unprotect": off}
    change = next((name for name, wanted in asked.items() if wanted), "protect")
    _tasks(view, database=database).protect(change, key)


@app.command(hidden=True, cls=Helped)
def delete(
    name: Annotated[str, typer.Argument(help="A person.")],
    yes: Yes = False,
    database: Database = None,
    quiet: Quiet = False,
) -> None:
    """Delete a person."""
    _tasks(View(quiet=quiet), database=database).delete(name, agreed=yes)


@app.command(hidden=True, cls=Helped)
def clear(yes: Yes = False, database: Database = None, quiet: Quiet = False) -> None:
    """Delete everybody."""
    _tasks(View(quiet=quiet), database=database).clear(agreed=yes)


@app.command(hidden=True, cls=Helped)
def unlock(
    name: Annotated[str | None, typer.Argument(help="A person.")] = None,
    anyone: Annotated[
        bool, typer.Option("--anyone", help="Logins by passphrase, without a name.")
    ] = False,
    database: Database = None,
    quiet: Quiet = False,
) -> None:
    """Let a person who failed too often try again now."""
    _refuse(((name is None) != anyone, "say whom to unlock: either a name or --anyone"))
    _tasks(View(quiet=quiet), database=database).unlock(name)


@app.command(hidden=True, cls=Helped)
def revert(
    name: Annotated[str, typer.Argument(help="A person.")],
    database: Database = None,
    quiet: Quiet = False,
) -> None:
    """Remove what logins added to a voiceprint (--adapt)."""
    _tasks(View(quiet=quiet), database=database).revert(name)


@log.command("show", cls=Helped)
def show_log(database: Database = None, as_json: AsJson = False) -> None:
    """Show every decision, oldest first."""
    membrane = _membrane(database=database)
    names = membrane.store.gallery().names_by_id()
    View(as_json=as_json).log_entries(membrane.guard.log.entries(), names)


@log.command("verify", cls=Helped)
def verify_log(database: Database = None, as_json: AsJson = False) -> None:
    """Find removed, edited or cut lines."""
    from membrane.login.administer import checked_log

    check = checked_log(_membrane(database=database))
    View(as_json=as_json).log_check(check)
    if check.problems:
        raise StoreDamaged("the decision log is not whole: find out who may write beside it")


@weights.command("list", cls=Helped)
def list_weights(as_json: AsJson = False) -> None:
    """List the model files."""
    from membrane.models.registry import statuses

    View(as_json=as_json).models(statuses())


@weights.command("fetch", cls=Helped)
def fetch_weights(
    engine: Annotated[str, typer.Argument(help="The engine, such as deepspeech.")],
    quiet: Quiet = False,
) -> None:
    """Download the model files of an engine."""
    from membrane.models.fetching import fetch

    view = View(quiet=quiet)
    with view.progress(f"Fetching {engine}") as progress:
        paths = fetch(engine, progress=progress)
    for path in paths:
        view.line(str(path))


@weights.command("verify", cls=Helped)
def verify_weights(as_json: AsJson = False) -> None:
    """Check the size and hash of each model file."""
    from membrane.models.registry import require_undamaged, statuses

    found = statuses()
    View(as_json=as_json).models(found)
    require_undamaged(found)


evaluation.register(app)
training.register(app)
