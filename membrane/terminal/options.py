"""Options that several commands share, in the words that `--help` shows."""

from pathlib import Path
from typing import Annotated, Literal

import typer

Username = Annotated[
    str | None, typer.Option("-u", "--username", help="Person (default: your login name).")
]
WithFile = Annotated[
    list[str] | None,
    typer.Option(
        "-f", "--with-file", metavar="FILE", help="Judge this recording (-: standard input)."
    ),
]
WithFiles = Annotated[
    list[str] | None,
    typer.Option(
        "-f", "--with-file", metavar="FILE", help="Recording to enrol from. Repeat for more."
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
Quiet = Annotated[bool, typer.Option("-q", "--quiet", help="Print only the result.")]
Database = Annotated[Path | None, typer.Option(help="Voiceprint database to use.")]
Device = Annotated[str | None, typer.Option(help="Microphone: its number or part of its name.")]
Seconds = Annotated[
    float | None,
    typer.Option(min=0.5, max=60, help="Record this many seconds instead of stopping at silence."),
]
SaveTo = Annotated[
    Path | None, typer.Option("--save-recording", help="Save what you say (.wav or .flac).")
]
Results = Annotated[Path | None, typer.Option(help="Append every decision to this CSV file.")]
Security = Annotated[
    Literal["convenient", "balanced", "strict"] | None,
    typer.Option(help="How often strangers may pass: 1 %, 0.1 % (default) or 0.01 %."),
]
MetricName = Annotated[
    Literal["cosine", "euclidean"] | None, typer.Option(help="How to compare two voices.")
]
Threshold = Annotated[
    float | None,
    typer.Option(help="Accept at this cosine or higher (euclidean: this distance or lower)."),
]
Denoise = Annotated[
    bool | None,
    typer.Option("--denoise/--no-denoise", help="Remove noise (default: only if it is noisy)."),
]
Encoder = Annotated[
    str | None,
    typer.Option(help="Voice encoder for new enrolments; people already enrolled keep theirs."),
]
Recognizer = Annotated[
    Literal["pocketsphinx", "deepspeech"] | None, typer.Option(help="Engine that checks the words.")
]
Model = Annotated[Path | None, typer.Option(help="Your own DeepSpeech model.")]
Scorer = Annotated[Path | None, typer.Option(help="Your own DeepSpeech scorer.")]
PromptKind = Annotated[
    Literal["digits", "words"] | None, typer.Option("--prompt", help="What to ask for.")
]
Explain = Annotated[
    bool, typer.Option("--explain", help="Show the reasons. For the owner of the database only.")
]
ShowScores = Annotated[
    bool, typer.Option("--show-scores", help="Show the scores. For the owner of the database only.")
]
Adapt = Annotated[
    bool, typer.Option("--adapt", help="Let a very clear login refresh an old voiceprint.")
]
KeepUntil = Annotated[
    str | None,
    typer.Option(metavar="DATE", help="Warn when the record is older than this day (YYYY-MM-DD)."),
]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask for confirmation.")]
