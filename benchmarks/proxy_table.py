"""Measure what a proxy is worth and write docs/results/proxyano.md: the table of ProxyAno's paper as our own.

    python benchmarks/proxy_table.py --normals DIR [DIR ...] --label-maps DIR [--steps 250] [--keep DIR]

Every arm trains the same network for the same number of steps on the same synthesised normals, then rebuilds the same
held-out normals, painted with anomalies of the pretask that no arm was trained on, and the bundled sample scans. An arm
that was measured with the same settings on the same scans is not trained again (docs/results/proxyano.json).
"""

import argparse
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from napari_anomaly import samples
from napari_anomaly.detector import checkpoint
from napari_anomaly.detector.second_opinion import Coarse, bundled, coarse, look, residual
from napari_anomaly.intensities import normalise
from napari_anomaly.networks.memory import ProxyNetwork
from napari_anomaly.preprocess import place, prepare, resample
from napari_anomaly.pretask.task import Difficulty
from napari_anomaly.progress import drain
from napari_anomaly.training.batch import Pool, paint_normal
from napari_anomaly.training.normals import Subject, make_normal
from napari_anomaly.training.proxy import Shown, start, step
from napari_anomaly.training.proxy_settings import ProxySettings
from napari_anomaly.training.settings import TrainSettings
from napari_anomaly.training.subjects import candidates, read_subjects

OUT = Path(__file__).parents[1] / "docs" / "results"
SAMPLES = ("ms-flair", "stroke-t2")
SMOOTHING_MM = 3.0
MULTIPLE = 16
NO_MEMORY: dict[str, Any] = {"memory_items": 0, "pseudo_anomalies": "none"}
MEMORY: dict[str, Any] = {"pseudo_anomalies": "none"}
PASTED: dict[str, Any] = {"pseudo_anomalies": "proxy"}
BOTH: dict[str, Any] = {"pseudo_anomalies": "both"}
SHIPPED = "the bundled weights ({} steps)"
ARMS: dict[str, dict[str, Any]] = {
    "self-reconstruction: autoencoder on the image": {"proxy": "image", **NO_MEMORY},
    "superpixel image, no memory": {"proxy": "superpixels", **NO_MEMORY},
    "superpixel image, memory": {"proxy": "superpixels", **MEMORY},
    "superpixel image, memory, pasted on the proxy": {"proxy": "superpixels", **PASTED},
    "superpixel image, memory, pasted on both": {"proxy": "superpixels", **BOTH},
    "supervoxel image (3D), memory, pasted on both": {"proxy": "supervoxels", **BOTH},
    "blurred image, memory, pasted on both": {"proxy": "blurred", **BOTH},
    "quantised image, memory, pasted on both": {"proxy": "quantised", **BOTH},
    "the image itself, memory, pasted on both": {"proxy": "image", **BOTH},
}


@dataclass(frozen=True, slots=True, eq=False)
class Case:
    """A scan with its truth, as ProxyAno sees it."""

    name: str
    scan: Coarse
    truth: Tensor


def main() -> None:
    """Train what is not known yet, measure, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--normals", type=Path, nargs="+", required=True)
    parser.add_argument("--label-maps", type=Path)
    parser.add_argument("--steps", type=int, default=250)
    parser.add_argument("--scans", type=int, default=60, help="synthesised normals to train on")
    parser.add_argument("--painted", type=int, default=16, help="painted held-out scans")
    parser.add_argument("--widths", type=int, nargs="+", default=list(ProxySettings().widths))
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--keep", type=Path, help="folder that keeps the synthesised scans for the next run")
    options = parser.parse_args()
    trained, painted = scans(options)
    digest = digest_of(trained, painted)
    known = OUT / "proxyano.json"
    rows = json.loads(known.read_text()) if known.exists() else []
    cases = [*painted, *real()]
    plain = {"name": "no network: distance from the median intensity"} | measure(None, cases)
    shipped = {"name": SHIPPED.format(bundled().card.provenance["steps"])} | measure(bundled().network, cases)
    for name, arm in ARMS.items():
        settings = ProxySettings(
            steps=options.steps, widths=tuple(options.widths), seed=options.seed, device="cpu", **arm
        )
        asked = settings.model_dump(mode="json") | {
            "scans": len(trained),
            "painted": len(painted),
            "digest": digest,
        }
        if any(row["settings"] == asked for row in rows):
            continue
        row = {"name": name, "settings": asked} | measure(train(settings, trained), cases)
        rows = [other for other in rows if other["name"] != name] + [row]
        known.write_text(json.dumps(rows, indent=1) + "\n")
        print(
            name,
            *(f"{key} {np.mean(row['figures'][key], axis=0).round(3)}" for key in row["figures"]),
            flush=True,
        )
        write([plain, *rows], shipped, options)
    write([plain, *rows], shipped, options)


def scans(options: argparse.Namespace) -> tuple[list[Coarse], list[Case]]:
    """Synthesised normals, and painted held-out ones; kept for the next run where a folder is given."""
    file = options.keep / "scans.safetensors" if options.keep else None
    if file and file.exists():
        return stored(file)
    settings = TrainSettings(normals=tuple(options.normals), label_maps=options.label_maps)
    found, held = (
        [item for _, item in read_subjects(part) if isinstance(item, Subject)]
        for part in candidates(settings)
    )
    pool = Pool(found, size=1, rng=np.random.default_rng(5), device=torch.device("cpu"))
    trained = []
    for _ in range(options.scans):
        pool.renew()
        normal = pool.draw()
        trained.append(coarse(normalise(normal.image.float(), normal.mask), normal.mask, multiple=MULTIPLE))
    painted = paint(held, options.painted)
    if file:
        keep(file, trained, painted)
    return trained, painted


def paint(held: Sequence[Subject], count: int) -> list[Case]:
    rng = np.random.default_rng(77)
    cases = []
    while len(cases) < count:
        subject = held[len(cases) % len(held)]
        normal = make_normal(subject, rng, torch.device("cpu"))
        spoiled = paint_normal(normal, rng, difficulty=Difficulty(), library=None)
        scan = coarse(normalise(spoiled.image, normal.mask), normal.mask, multiple=MULTIPLE)
        truth = coarse(spoiled.truth.float(), normal.mask, multiple=MULTIPLE).image >= 0.5
        if bool((truth & scan.mask).any()):
            cases.append(Case("painted", scan, truth & scan.mask))
    return cases


def real() -> list[Case]:
    """The bundled samples with the lesions that raters drew."""
    extraction = checkpoint.load(checkpoint.DEFAULT).extraction
    cases = []
    for name in SAMPLES:
        scan = samples.open_sample(name)
        prepared = prepare(scan, extraction, device=torch.device("cpu"))
        truth = torch.from_numpy(samples.sample_truth(name).astype(np.float32))
        placed = place(resample(truth, prepared.canonical), prepared.image.shape, prepared.centre)
        seen = coarse(prepared.image, prepared.mask, multiple=MULTIPLE)
        cases.append(
            Case(name, seen, (coarse(placed, prepared.mask, multiple=MULTIPLE).image >= 0.5) & seen.mask)
        )
    return cases


def digest_of(trained: Sequence[Coarse], painted: Sequence[Case]) -> str:
    """Tell scans that arms were trained and measured on from others, as precisely as they are kept."""
    digest = hashlib.sha256()
    for scan in [*trained, *(case.scan for case in painted)]:
        digest.update(scan.image.half().numpy().tobytes())
    for case in painted:
        digest.update(case.truth.numpy().tobytes())
    return digest.hexdigest()[:16]


def keep(file: Path, trained: Sequence[Coarse], painted: Sequence[Case]) -> None:
    """Write scans as one file of tensors."""
    tensors = {}
    for index, scan in enumerate(trained):
        tensors |= {f"trained/{index}/image": scan.image.half(), f"trained/{index}/mask": scan.mask}
    for index, case in enumerate(painted):
        tensors |= {f"painted/{index}/image": case.scan.image.half(), f"painted/{index}/mask": case.scan.mask}
        tensors[f"painted/{index}/truth"] = case.truth
    file.parent.mkdir(parents=True, exist_ok=True)
    save_file({key: value.contiguous() for key, value in tensors.items()}, file)


def stored(file: Path) -> tuple[list[Coarse], list[Case]]:
    """Read what `keep` wrote."""
    with safe_open(file, framework="pt") as handle:
        tensors = {key: handle.get_tensor(key) for key in handle.keys()}  # noqa: SIM118 (not a mapping)

    def scan(key: str) -> Coarse:
        return Coarse(tensors[f"{key}/image"].float(), tensors[f"{key}/mask"])

    counts = {
        kind: sum(key.startswith(kind) and key.endswith("image") for key in tensors)
        for kind in ("trained", "painted")
    }
    painted = [
        Case("painted", scan(f"painted/{index}"), tensors[f"painted/{index}/truth"])
        for index in range(counts["painted"])
    ]
    return [scan(f"trained/{index}") for index in range(counts["trained"])], painted


def train(settings: ProxySettings, scans: Sequence[Coarse]) -> ProxyNetwork:
    """Train one arm; nothing but its settings differs from the others."""
    shown = [Shown.of(scan, settings) for scan in scans]
    run = start(settings, torch.device("cpu"))
    while run.progress < 1:
        step(run, shown)
    return run.network.eval()


def measure(network: ProxyNetwork | None, cases: Sequence[Case]) -> dict[str, Any]:
    """Average precision of the residual by case; without a network, of the distance from the scan's median."""
    figures: dict[str, list[list[float]]] = {}
    for case in cases:
        rebuilt = flat(case.scan) if network is None else drain(look(network, case.scan)).image
        smooth, plain = (residual(case.scan, rebuilt, sigma) for sigma in (SMOOTHING_MM, 0.0))
        healthy = float(plain[case.scan.mask & ~case.truth].mean())
        row = [precision(smooth, case), precision(plain, case), healthy]
        figures.setdefault(case.name, []).append([round(value, 4) for value in row])
    return {"figures": figures}


def flat(scan: Coarse) -> Tensor:
    """The scan's median everywhere: what is bright or dark is unusual."""
    return torch.full_like(scan.image, float(scan.image[scan.mask].median()))


def precision(score: Tensor, case: Case) -> float:
    """Average precision over the voxels that were looked at."""
    truth = case.truth[case.scan.mask].numpy()
    ranked = truth[np.argsort(-score[case.scan.mask].numpy(), kind="stable")]
    hits = np.cumsum(ranked)
    return float((hits / np.arange(1, len(hits) + 1))[ranked].mean())


def write(rows: Sequence[dict[str, Any]], shipped: dict[str, Any], options: argparse.Namespace) -> None:
    """Write the document; arms that were not measured yet are named in it."""
    measured = {row["name"]: row for row in rows}
    names = [rows[0]["name"], *ARMS]
    text = table([measured[name] for name in names if name in measured] + [shipped], options)
    missing = [name for name in ARMS if name not in measured]
    text += "\n" + verdict(measured, shipped)
    if missing:
        text += "\nNot measured yet: " + "; ".join(missing) + ".\n"
    (OUT / "proxyano.md").write_text(text)


def verdict(measured: dict[str, dict[str, Any]], shipped: dict[str, Any]) -> str:
    """Say which arms the best one cannot be told from, and what the bundled weights are worth."""
    scores = {name: np.array(row["figures"]["painted"])[:, 0] for name, row in measured.items()}
    best = max(scores, key=lambda name: scores[name].mean())
    gaps = {name: scores[best] - score for name, score in scores.items() if name != best}
    alike = [name for name, gap in gaps.items() if gap.mean() < 2 * gap.std(ddof=1) / np.sqrt(len(gap))]
    own = np.mean(shipped["figures"]["painted"], axis=0)[0]
    plain = scores[next(iter(measured))].mean()
    real_cases = " and ".join(f"{shipped['figures'][name][0][0]:.3f} on {name}" for name in SAMPLES)
    told = f"Best is {best}. Within two standard errors of it: {'; '.join(alike) or 'none'}.\n"
    return told + (
        f"The bundled weights reach {own:.3f} on painted scans, where the distance from the median intensity reaches "
        f"{plain:.3f},\nand {real_cases}.\n"
    )


def table(rows: Sequence[dict[str, Any]], options: argparse.Namespace) -> str:
    """The document, with the difference of every arm to the best one on the same scans."""
    best = max(rows[:-1], key=lambda row: np.mean(row["figures"]["painted"], axis=0)[0])
    ahead = np.array(best["figures"]["painted"])[:, 0]
    count = len(ahead)
    lines = []
    for row in rows:
        own = np.array(row["figures"]["painted"])
        apart = own[:, 0] - ahead
        error = apart.std(ddof=1) / np.sqrt(count)
        first = f"**{own[:, 0].mean():.3f}**" if row is best else f"{own[:, 0].mean():.3f}"
        gap = "" if row is best else f"{apart.mean():+.3f} ± {error:.3f}"
        real_cases = " | ".join(f"{row['figures'][name][0][0]:.3f}" for name in SAMPLES)
        lines.append(
            f"| {row['name']} | {first} | {gap} | {own[:, 1].mean():.3f} | {own[:, 2].mean():.3f} | {real_cases} |"
        )
    return TEXT.format(
        rows="\n".join(lines),
        samples=" | ".join(SAMPLES),
        steps=options.steps,
        slices=ProxySettings().scans_per_step * ProxySettings().slices_per_scan,
        seed=options.seed,
        scans=options.scans,
        count=count,
        smoothing=SMOOTHING_MM,
        best=best["name"],
    )


TEXT = """# ProxyAno: what a proxy is worth

Zhou et al. 2021 (arXiv 2110.01761) say that an image rebuilt from itself teaches the identity, and that the superpixel
image, reached through a memory of normal patterns, is the best bridge. This is that table on our own scans.

    python benchmarks/proxy_table.py --normals DIR [DIR ...] --label-maps DIR --steps {steps}

Average precision over voxels of 2 mm of the residual |x - x_hat|, after a Gaussian of {smoothing} mm over the signed
difference (and without it: "unsmoothed"). Every arm has the same network and trains {steps} steps of {slices} slices,
seed {seed}, on the same {scans} synthesised normals. `painted`: {count} held-out normals with anomalies of the
detector's pretask, which no arm saw. The difference is to the best arm on the same scans, with its standard error.
`healthy`: mean unsmoothed residual outside the anomalies, in units of the brain's range of intensities (p5 to p95). The
samples are two real patients (voxels of 2 mm, lesions drawn by raters).

| between scan and reconstruction | painted | difference | unsmoothed | healthy | {samples} |
|---|---|---|---|---|---|---|
{rows}

Pasted: patches of the scan are pasted as pseudo-anomalies, half of them lighter or darker, on the normal proxy (as in
the paper), or on proxy and scan (ours: then the memory, too, learns to leave them out), and the normal scan is demanded
back; pasted voxels count as much as all others.
"""


if __name__ == "__main__":
    main()
