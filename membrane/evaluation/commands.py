"""The commands of error rates: `evaluate` and `calibrate`; parse, call, show."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from typer.core import TyperOption

from membrane.errors import UsageError
from membrane.terminal.console import View
from membrane.terminal.help import Helped
from membrane.terminal.options import AsJson, Database, Denoise, Encoder, Quiet, Security

if TYPE_CHECKING:
    from membrane.evaluation.conditions import Condition
    from membrane.evaluation.runs import Evaluations
    from membrane.settings import Settings

Given = Mapping[str, Any]
"""The options of a command by the names of its parameters."""


OF_THE_WORDS = ("transcripts", "digits", "recognizer")
OF_THE_VOICE = ("pairs", "trials", "enrolled", "by", "plots", "report", "cohort")
"""Options that the other kind of evaluation has no use for."""


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


class Lists(Helped):
    """A command whose options of numbers take several at once: ``--snr 20 10 5 0``."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Repeat such an option before each further number that follows its first value."""
        several = {
            name
            for option in self.params
            if isinstance(option, TyperOption) and option.multiple
            for name in option.opts
        }
        spread: list[str] = []
        option, values = "", 0
        for arg in args:
            if option and values and _is_number(arg):
                spread.append(option)
            elif not option or values:
                option, values = (arg if arg in several else ""), -1
            spread.append(arg)
            values += 1
        return super().parse_args(ctx, spread)


# ---- Options that the commands share

Folders = Annotated[
    list[Path] | None,
    typer.Argument(
        metavar="[FOLDER]...", help="Folders that hold one folder of recordings per speaker."
    ),
]
Enroll = Annotated[
    list[int] | None, typer.Option(min=1, help="Recordings that make a voiceprint (default: 3).")
]
Pairs = Annotated[
    bool, typer.Option("--pairs", help="Compare every recording with every other one.")
]
TrialList = Annotated[
    Path | None, typer.Option("--trials", help="Trial list, in the format of VoxCeleb or Kaldi.")
]
Root = Annotated[
    Path | None, typer.Option(help="Folder that the names in the trial list start from.")
]
AgainstEnrolled = Annotated[
    bool, typer.Option("--enrolled", help="Compare with the enrolled people.")
]
Labels = Annotated[
    Path | None, typer.Option(help="Table of labels (and speakers) for the recordings.")
]
Only = Annotated[Path | None, typer.Option(help="Use only the speakers and files in this list.")]
Without = Annotated[
    Path | None, typer.Option(help="Leave out the speakers and files in this list.")
]
Pieces = Annotated[
    list[float] | None,
    typer.Option(metavar="S...", help="Join or cut recordings to about this many seconds."),
]
Noise = Annotated[
    str | None, typer.Option(metavar="DIR", help="Add noise from a folder, or: pink, white.")
]
Babble = Annotated[
    Path | None, typer.Option(metavar="DIR", help="Add other people's speech from a folder.")
]
Snr = Annotated[
    list[float] | None,
    typer.Option(metavar="DB...", help="Level of the noise below the speech. Takes several."),
]
Reverb = Annotated[
    Path | None,
    typer.Option(metavar="DIR", help="Add the echo of rooms from a folder of responses."),
]
Seconds = Annotated[
    list[float] | None,
    typer.Option(
        metavar="S...",
        help="Cut probes to this much speech. Takes several.",
        rich_help_panel="Input",
    ),
]
Codec = Annotated[
    list[str] | None, typer.Option(help="Send probes through a codec, such as telephone.")
]
Normalise = Annotated[
    Literal["none", "centre", "as-norm"] | None,
    typer.Option(help="How to use strangers' voices (default: as calibrated)."),
]
CohortFolder = Annotated[
    Path | None, typer.Option("--cohort", metavar="DIR", help="Your own strangers for --normalise.")
]
Jobs = Annotated[
    int | None, typer.Option(min=1, help="Number of processes (default: one per core).")
]
Backend = Annotated[str | None, typer.Option(help="Another backend of joblib: dask or threading.")]
Scheduler = Annotated[str | None, typer.Option(help="Address of the Dask scheduler.")]
FailFast = Annotated[
    bool, typer.Option("--fail-fast", help="Stop at the first file that cannot be read.")
]
NoGate = Annotated[
    bool, typer.Option("--no-gate", help="Also score what the quality check would refuse.")
]
Resamples = Annotated[
    int, typer.Option(min=20, max=10_000, help="Resamples of the speakers for each interval.")
]
AsCsv = Annotated[bool, typer.Option("--csv", help="Print comma-separated values.")]


def register(app: typer.Typer) -> None:
    """Add the commands to an application."""
    app.command(cls=Lists)(evaluate)
    app.command(cls=Lists)(calibrate)


def evaluate(
    folders: Folders = None,
    enroll: Enroll = None,
    pairs: Pairs = False,
    trials: TrialList = None,
    root: Root = None,
    enrolled: AgainstEnrolled = False,
    labels: Labels = None,
    by: Annotated[
        list[str] | None, typer.Option(help="Break the results down by this label.")
    ] = None,
    only: Only = None,
    without: Without = None,
    pieces: Pieces = None,
    noise: Noise = None,
    babble: Babble = None,
    snr: Snr = None,
    reverb: Reverb = None,
    seconds: Seconds = None,
    codec: Codec = None,
    phrases: Annotated[
        bool,
        typer.Option(
            "--phrases",
            help="Measure the word check instead of the voice.",
            rich_help_panel="Input",
        ),
    ] = False,
    transcripts: Annotated[
        Path | None, typer.Option(help="The words of each recording, for --phrases.")
    ] = None,
    digits: Annotated[
        int | None,
        typer.Option(
            min=1, max=20, help="Join this many single digits to a phrase, for --phrases."
        ),
    ] = None,
    recognizer: Annotated[
        list[str] | None, typer.Option(help="Engine that checks the words. Repeat for more.")
    ] = None,
    plots: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Draw plots into this folder, as PNG and SVG."),
    ] = None,
    report: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write one HTML page with everything.")
    ] = None,
    security: Security = None,
    threshold: Annotated[
        float | None,
        typer.Option(
            min=-1, max=1, help="Accept at this cosine or higher, without the calibration."
        ),
    ] = None,
    normalise: Normalise = None,
    cohort: CohortFolder = None,
    denoise: Denoise = None,
    encoder: Encoder = None,
    database: Database = None,
    jobs: Jobs = None,
    backend: Backend = None,
    scheduler: Scheduler = None,
    no_gate: NoGate = False,
    fail_fast: FailFast = False,
    resamples: Resamples = 200,
    as_json: AsJson = False,
    as_csv: AsCsv = False,
    quiet: Quiet = False,
) -> None:
    """Measure error rates of known speakers.

    An option that takes several numbers takes them at once: --snr 20 10 5 0.
    """
    given = locals()
    _require_use(given)
    evaluations, chosen = _evaluations(given), _conditions(given)
    if phrases:
        evaluations.evaluate_phrases(
            chosen,
            transcripts=transcripts,
            digits=digits,
            recognizers=recognizer or (),
            as_csv=as_csv,
        )
        return
    evaluations.evaluate(
        chosen, by=by or (), resamples=resamples, as_csv=as_csv, plots=plots, report=report
    )


def calibrate(
    folders: Folders = None,
    enroll: Enroll = None,
    enrolled: AgainstEnrolled = False,
    labels: Labels = None,
    held_back: Annotated[
        Path | None, typer.Option(help="List of speakers to report on but not to fit on.")
    ] = None,
    only: Only = None,
    without: Without = None,
    pieces: Pieces = None,
    noise: Noise = None,
    babble: Babble = None,
    snr: Snr = None,
    reverb: Reverb = None,
    seconds: Seconds = None,
    codec: Codec = None,
    security: Security = None,
    fmr: Annotated[
        float | None,
        typer.Option(
            min=1e-6, max=0.5, help="False match rate of the security level, such as 0.001."
        ),
    ] = None,
    extrapolate: Annotated[
        bool,
        typer.Option(
            "--extrapolate", help="Take rates that your data cannot show from the fitted model."
        ),
    ] = False,
    normalise: Normalise = None,
    cohort: CohortFolder = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what would change, and change nothing.")
    ] = False,
    output: Annotated[
        Path | None,
        typer.Option(help="Write the calibration to this file instead of the data folder."),
    ] = None,
    denoise: Denoise = None,
    encoder: Encoder = None,
    database: Database = None,
    jobs: Jobs = None,
    backend: Backend = None,
    scheduler: Scheduler = None,
    no_gate: NoGate = False,
    fail_fast: FailFast = False,
    resamples: Resamples = 200,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Fit scores and thresholds to your data.

    Shows what changes, and what that number of speakers can prove.
    """
    from membrane.evaluation.calibrating import Goal

    given = locals()
    evaluations = _evaluations(given)
    evaluations.calibrate(
        _conditions(given),
        Goal(evaluations.settings.security, fmr, extrapolate),
        held_back=held_back,
        resamples=resamples,
        output=output,
        dry_run=dry_run,
    )


# ---- From options to what they mean; a command need not have all of them


def _require_use(given: Given) -> None:
    """Refuse options that would be ignored: figures would not be what was asked for."""
    words = given["phrases"]
    for name in OF_THE_VOICE if words else OF_THE_WORDS:
        if given[name]:
            raise UsageError(f"--{name} {'does not go' if words else 'goes'} with --phrases")
    if given["enroll"] and (given["pairs"] or given["trials"] or given["enrolled"] or words):
        raise UsageError("--enroll goes with neither --pairs, --trials, --enrolled nor --phrases")
    if given["as_json"] and given["as_csv"]:
        raise UsageError("--json and --csv exclude each other")


def _evaluations(given: Given) -> Evaluations:
    from membrane.evaluation.runs import Evaluations, Selection

    material = Selection(
        # Absolute, because the workers of a cluster run elsewhere.
        folders=tuple(folder.absolute() for folder in given["folders"] or ()),
        enroll=tuple(given["enroll"] or (3,)),
        pairs=given.get("pairs", False),
        trial_list=given.get("trials"),
        root=_absolute(given.get("root")),
        database=given["enrolled"],
        labels=given["labels"],
        only=given["only"],
        without=given["without"],
        pieces_s=tuple(given["pieces"] or ()),
        cohort=_absolute(given["cohort"]),
    )
    if given["scheduler"] and given["backend"] != "dask":
        raise UsageError("--scheduler goes with --backend dask")
    return Evaluations(
        _settings(given),
        View(as_json=given["as_json"], quiet=given["quiet"]),
        material,
        gate=not given["no_gate"],
        how={
            "workers": given["jobs"],
            **{name: given[name] for name in ("backend", "scheduler", "fail_fast")},
        },
    )


def _conditions(given: Given) -> tuple[Condition, ...]:
    from membrane.evaluation.conditions import conditions

    noise = given["noise"]
    return conditions(
        noise=str(Path(noise).absolute()) if noise and Path(noise).is_dir() else noise,
        babble=_absolute(given["babble"]),
        snr=given["snr"] or (),
        reverb=_absolute(given["reverb"]),
        seconds=given["seconds"] or (),
        codec=given["codec"] or (),
    )


def _absolute(path: Path | None) -> Path | None:
    return None if path is None else path.absolute()


def _settings(given: Given) -> Settings:
    from membrane.settings import load_settings

    names = ("security", "threshold", "normalise", "encoder", "database")
    options = {name: given.get(name) for name in names}
    if given["denoise"] is not None:
        options["denoise"] = "always" if given["denoise"] else "never"
    if given.get("threshold") is not None:
        options["metric"] = "cosine"  # whatever the settings compare in
    return load_settings(**options)
