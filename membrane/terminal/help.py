"""The help of a command: options under headings, and two examples at the end."""

from typing import Any

from typer.core import TyperCommand

HEADINGS = {
    "Input": "username anyone with_file expect phrase add replace reencode consent keep_until "
    "folders one other file name engine enroll pairs trials root enrolled labels only without "
    "pieces noise babble snr reverb codec transcripts digits rooms key rekey renew off yes",
    "Decision": "attempts security metric threshold top adapt fmr extrapolate normalise cohort "
    "held_back no_gate",
    "Microphone": "device seconds save_recording prompt phrases",
    "Output": "results explain show_scores by plots report output dry_run export status version "
    "as_json as_csv quiet help",
    "Advanced": "denoise encoder recognizer model scorer database jobs backend scheduler fail_fast "
    "resamples recipe steps seed initial resume workers tensorboard weights",
}
"""The headings in their order, and the names of the parameters under each."""

HEADING_OF = {name: heading for heading, names in HEADINGS.items() for name in names.split()}

EXAMPLES = {
    "enroll": ("membrane enroll", "membrane enroll -u ada --consent -f one.wav -f two.wav"),
    "verify": ("membrane verify", 'membrane verify -u ada -f login.wav --expect "4 7 1 9 0 2"'),
    "identify": ("membrane identify", "membrane identify -f who.wav --top 3 --json"),
    "compare": ("membrane compare one.wav other.wav", "membrane compare a.wav b.wav --explain"),
    "explain": ("membrane explain ada login.wav", "membrane explain one.wav other.wav"),
    "transcribe": ("membrane transcribe login.wav", "membrane transcribe - --json < login.wav"),
    "list": ("membrane list", "membrane list --json"),
    "devices": ("membrane devices", "membrane devices --json"),
    "export": ("membrane export ada", "membrane export ada > ada.json"),
    "protect": ("membrane protect", "membrane protect --status"),
    "delete": ("membrane delete ada", "membrane delete ada --yes"),
    "clear": ("membrane clear", "membrane clear --yes"),
    "unlock": ("membrane unlock ada", "membrane unlock --anyone"),
    "revert": ("membrane revert ada", "membrane revert ada -q"),
    "log show": ("membrane log show", "membrane log show --json"),
    "log verify": ("membrane log verify", "membrane log verify --json"),
    "weights list": ("membrane weights list", "membrane weights list --json"),
    "weights fetch": ("membrane weights fetch deepspeech", "membrane weights fetch deepspeech -q"),
    "weights verify": ("membrane weights verify", "membrane weights verify --json"),
    "evaluate": (
        "membrane evaluate recordings/",
        "membrane evaluate recordings/ --noise pink --snr 20 10 --report report.html",
    ),
    "calibrate": (
        "membrane calibrate recordings/ --dry-run",
        "membrane calibrate recordings/ --security balanced --fmr 0.01",
    ),
    "train": (
        "membrane train corpora/LibriSpeech --output run/",
        "membrane train corpora/LibriSpeech --output run/ --resume --export mine.onnx",
    ),
}
"""Two examples of each command."""


class Helped(TyperCommand):
    """A command that shows its help this way."""

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write each option under its heading."""
        under: dict[str, list[Any]] = {heading: [] for heading in HEADINGS}
        for param in self.get_params(ctx):
            record = param.get_help_record(ctx)
            if record is not None:
                panel = getattr(param, "rich_help_panel", None)
                under[panel or HEADING_OF[str(param.name)]].append(record)
        for heading, records in under.items():
            if records:
                with formatter.section(heading):
                    formatter.write_dl(records)

    def format_epilog(self, ctx: Any, formatter: Any) -> None:
        """Write the examples, each on a line of its own."""
        with formatter.section("Examples"):
            for example in EXAMPLES[ctx.command_path.partition(" ")[2]]:
                formatter.write(f"{'':{formatter.current_indent}}{example}\n")
