"""Kill a batch at random moments until it is done, again and again, and compare what it wrote.

    python bench/crash_batch.py [--kills 50] [--rows 200k] [--source parquet] [--format parquet]

Prints how often it was killed and how many parts were gone on with; ends with 1 where bytes differ.
"""

from __future__ import annotations

import argparse
import random
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from cost import ENVIRONMENT, measure

from batch import CONFIG, RECIPE, table


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--rows", default="200k")
    parser.add_argument("--source", default="parquet")
    parser.add_argument("--format", default="parquet")
    chosen = parser.parse_args()
    mmp = shutil.which("mmp", path=str(Path(sys.executable).parent)) or "mmp"
    rng, n_kills, n_rounds = random.Random(3), 0, 0
    data = str(table(chosen.rows, chosen.source))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "configs").mkdir()
        (folder / "configs" / "local.yaml").write_text(CONFIG)
        measure([mmp, "train", "-r", str(RECIPE), "-d", str(table("10k"))], folder)
        words = ["batch-inference", "--run-id", "latest", "--part-rows", "5000", "-d", data]
        whole, broken = folder / f"whole.{chosen.format}", folder / f"broken.{chosen.format}"
        first = [mmp, *words, "-o", str(whole)]
        seconds = min(measure([*first, "--restart"], folder).wall_s for _ in range(3))
        while n_kills < chosen.kills:
            n_rounds += 1
            broken.unlink(missing_ok=True)
            n_kills += killed_until_done([mmp, *words, "-o", str(broken)], folder, seconds, rng)
            if broken.read_bytes() != whole.read_bytes():
                raise SystemExit(f"round {n_rounds}: the bytes differ after {n_kills} kills")
            print(f"round {n_rounds}: the same bytes after {n_kills} kills in all", flush=True)


def killed_until_done(command: list[str], folder: Path, seconds: float, rng: random.Random) -> int:
    """Run a command, killing it at random moments, until it ends; return how often it was killed."""
    n_kills = 0
    for _ in range(5):
        process = subprocess.Popen(
            command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=ENVIRONMENT
        )
        try:
            _, err = process.communicate(timeout=rng.uniform(0.2, 0.9) * seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            n_kills += 1
            continue
        if process.returncode:
            raise SystemExit(err.decode())
        return n_kills
    measure(command, folder)
    return n_kills


if __name__ == "__main__":
    main()
