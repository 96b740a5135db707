"""Make the shipped calibrations of an encoder, and the cohort of strangers, from ../shared/speech.

    python scripts/make_calibration.py [--encoder NAME]

Runs `membrane calibrate` on the speakers and noises that are not held back, and reports on those
that are. Strangers: the speakers of librispeech-single and every other one of speechocean762. With
AS-norm, which looks for the strangers most like a voice, none of them may be fitted on, so that its
calibration rests on the few who are left.

An encoder that has no calibration yet needs its thresholds first:
`python -m benchmarks.thresholds --encoder NAME --write`, and once more afterwards.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

from membrane.settings import Settings
from membrane.voice.calibration import load_calibration

ROOT = Path(__file__).resolve().parents[1]
SPEECH = ROOT.parent / "shared" / "speech"
CORPORA = ("librispeech", "librispeech-single", "speechocean762", "fsdd")
HELD_BACK = SPEECH / "heldback.txt"
CONDITIONS = ("--snr", "20", "10", "--seconds", "2", "3", "5")


def main() -> None:
    """Fit a calibration for each normalisation, the default one last, so that it comes first."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--encoder", default=Settings.encoder)
    encoder = parser.parse_args().encoder
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        strangers = dict(strangers_of(held_back()))
        link(work / "strangers", strangers.items())
        link(work / "noise", (("", file) for file in choosing_noises(held_back())))
        others = work / "others.txt"
        others.write_text("\n".join([*held_back(), *strangers]), encoding="utf-8")
        common = ["--encoder", encoder, "--noise", str(work / "noise"), *CONDITIONS]
        common += ["--cohort", str(work / "strangers"), "--extrapolate"]
        common += ["--output", str(ROOT / "weights" / f"{encoder}.calibration.toml")]
        calibrate(*common, "--normalise", "as-norm", "--without", str(others))
        calibrate(*common, "--normalise", "none", "--held-back", str(HELD_BACK))
        calibrate(*common, "--normalise", "centre", "--held-back", str(HELD_BACK))
    tidy(ROOT / "weights" / f"{encoder}.calibration.toml", encoder)


def tidy(path: Path, encoder: str) -> None:
    """Say how the calibrations are made, without this machine's folders; anybody may read them."""
    for normalisation in ("as-norm", "none", "centre"):
        made = load_calibration(encoder, normalisation, path=path)
        command = f"python scripts/make_calibration.py --encoder {encoder}"
        provenance = {**made.provenance, "command": command}
        replace(made, provenance=provenance).save(path)
    path.with_name(f"{path.name}.previous").unlink()
    path.chmod(0o644)


def held_back() -> list[str]:
    """Return the speakers and noises that are for reporting only."""
    return HELD_BACK.read_text(encoding="utf-8").split()


def strangers_of(kept: list[str]) -> Iterator[tuple[str, Path]]:
    """Yield the name of each stranger, as ``corpus/speaker``, and their recordings."""
    for file in sorted((SPEECH / "librispeech-single").glob("*.flac")):
        if f"librispeech-single/{file.name}" not in kept:
            yield f"librispeech-single/{file.name}", file
    folders = sorted(path for path in (SPEECH / "speechocean762").iterdir() if path.is_dir())
    usable = [path for path in folders if f"speechocean762/{path.name}" not in kept]
    for folder in usable[::2]:
        yield f"speechocean762/{folder.name}", folder


def choosing_noises(kept: list[str]) -> Iterator[Path]:
    """Yield the noises that are not held back."""
    for file in sorted((SPEECH / "noise").glob("*.flac")):
        if f"noise/{file.name}" not in kept:
            yield file


def link(folder: Path, things: Iterable[tuple[str, Path]]) -> None:
    """Make links to recordings: in a folder for each speaker, or, without a name, side by side."""
    for name, path in things:
        place = folder / name.replace("/", "-") if name else folder
        place.mkdir(parents=True, exist_ok=True)
        (place / path.name).symlink_to(path)


def calibrate(*options: str) -> None:
    """Run the command on the corpora."""
    command = [sys.executable, "-m", "membrane", "calibrate", *options]
    command += ["--pieces", "3", "7", "--enroll", "1", "3"]
    subprocess.run([*command, *(str(SPEECH / corpus) for corpus in CORPORA)], cwd=ROOT, check=True)


if __name__ == "__main__":
    main()
