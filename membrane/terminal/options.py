"""Options that several commands share, in the words that `--help` shows."""

from pathlib import Path
from typing import Annotated, Literal

import typer

Username = Annotated[str | None, typer.Option("-u", "--username", help="Whose login it is.")]
WithFile = Annotated[
    list[str] | None,
    typer.Option(
        "-f", "--with-file", metavar="FILE", help="Judge a recording; - is standard input."
    ),
]
WithFiles = Annotated[
    list[str] | None,
    typer.Option("-f", "--with-file", metavar="FILE", help="Enrol from a recording; give several."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Answer with one JSON object.")]
Quiet = Annotated[bool, typer.Option("-q", "--quiet", help="Show no notes.")]
Database = Annotated[Path | None, typer.Option(help="The voiceprint database.")]
Device = Annotated[str | None, typer.Option(help="Microphone: a number or part of a name.")]
Seconds = Annotated[
    float | None, typer.Option(min=0.5, max=60, help="Record so long, instead of until silence.")
]
SaveTo = Annotated[
    Path | None, typer.Option("--save-recording", help="Keep what was heard (.wav or .flac).")
]
Results = Annotated[Path | None, typer.Option(help="Append every decision to a CSV file.")]
Security = Annotated[
    Literal["convenient", "balanced", "strict"] | None,
    typer.Option(help="False match rate of the voice: 1 %, 0.1 % (the default) or 0.01 %."),
]
MetricName = Annotated[
    Literal["cosine", "euclidean"] | None, typer.Option(help="How voices are compared.")
]
Threshold = Annotated[
    float | None, typer.Option(help="Least cosine, or greatest distance, that is accepted.")
]
Denoise = Annotated[
    bool | None, typer.Option("--denoise/--no-denoise", help="Take noise out; by default if noisy.")
]
Encoder = Annotated[
    str | None, typer.Option(help="Encoder of the voice; the enrolled keep theirs.")
]
Recognizer = Annotated[
    Literal["pocketsphinx", "deepspeech"] | None, typer.Option(help="Recognizer of the words.")
]
Model = Annotated[Path | None, typer.Option(help="DeepSpeech: a model of your own.")]
Scorer = Annotated[Path | None, typer.Option(help="DeepSpeech: a scorer of your own.")]
PromptKind = Annotated[
    Literal["digits", "words"] | None, typer.Option("--prompt", help="What is asked for.")
]
Explain = Annotated[
    bool, typer.Option("--explain", help="Show why: for the owner of the database only.")
]
ShowScores = Annotated[
    bool, typer.Option("--show-scores", help="Show how alike the voice is: for the owner.")
]
Adapt = Annotated[
    bool, typer.Option("--adapt", help="Let a very sure login renew an ageing voiceprint.")
]
KeepUntil = Annotated[
    str | None, typer.Option(metavar="DATE", help="Warn after that day (YYYY-MM-DD).")
]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask.")]
