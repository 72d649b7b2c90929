"""Transfer in a small world: what tuning on one pair of languages does to the others, and what the switches change.

    python -m benchmarks.small_world [--of runs/world]

Writes the table of what `mglm world run` has left. Not speed but effects: figures are the same on any machine but for
rounding.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from benchmarks.record import write_record
from core.manifest import read_manifest
from mglm.transfer_run import RESULTS_NAME
from mglm.transfer_stages import MIXED, SOURCE, TARGET, TRAINED, UNTUNED, ZERO_SHOT

ORDER = (TRAINED, SOURCE, TARGET, ZERO_SHOT, MIXED, UNTUNED)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--of", type=Path, default=Path("runs/world"), help="output directory of mglm world run")
    output: Path = parser.parse_args().of
    if not (output / "transfer" / RESULTS_NAME).exists():
        sys.exit(f"error: no finished run in {output}; make one: mglm world run")
    results = json.loads((output / "transfer" / RESULTS_NAME).read_text("utf-8"))
    world = read_manifest(output / "world", "world/1")
    pretrained = read_manifest(output / "pretrain", "checkpoint/1")
    families = [f"{code} ({facts['script']}, {facts['order']})" for code, facts in world.facts["languages"].items()]
    moved = {
        name: ", ".join(f"{row['change']:.1%}" for row in rows if row["layer"] is not None)
        for name, rows in results["weights"].items()
    }
    upper = "; ".join(f"{name}: {changes}" for name, changes in moved.items())
    remarks = [
        f"Languages: {', '.join(families)}. {pretrained.facts['parameters']:,} parameters, "
        f"{pretrained.facts['steps']} steps of pretraining.",
        "ROUGE between 0 and 1 (-1: the words, -L: in their order). Right language: every word is one of the language "
        "asked for; trained language: of one that was tuned for instead.",
        "One world, one seed. configs/small_world.toml's strength of tuning (300 steps at 3e-3) was chosen after 150 "
        "steps at 5e-4 had shown no loss of prompts; blank infilling's rows are pretraining's, so the same requests "
        "go on in them.",
        f"Relative change of the layers' weights by tuning, from the input upwards: {upper}.",
    ]
    write_record(
        "small_world",
        "Transfer between made-up languages, and the switches against the lack of prompt transferring",
        ["tuned on", "setting", "pairs", "ROUGE-1", "ROUGE-L", "right language", "trained language"],
        table(results),
        remarks=remarks,
        at=pretrained.made["at"],
        revision=pretrained.made["git_revision"],
    )


def table(results: dict[str, Any]) -> list[list[Any]]:
    """Settings of each system, in the paper's order."""
    names = [system["name"] for system in results["systems"]]
    rows = sorted(results["settings"], key=lambda row: (names.index(row["system"]), ORDER.index(row["setting"])))
    return [
        [row["system"], row["setting"], row["pairs"], f"{row['rouge1']:.3f}", f"{row['rougeL']:.3f}",
         f"{row['in_asked']:.0%}", f"{row['in_trained']:.0%}"]
        for row in rows
    ]  # fmt: skip


if __name__ == "__main__":
    main()
