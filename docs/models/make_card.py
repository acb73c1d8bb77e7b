"""Write the model card of a bundled detector from what the detector says of itself.

``python docs/models/make_card.py [NAME]``
"""

import sys
from pathlib import Path

from napari_anomaly.detector.calibration import ANY
from napari_anomaly.detector.checkpoint import DEFAULT, Card, load
from napari_anomaly.training.curve import draw_curve

HERE = Path(__file__).parent

CARD = """# {name} {version}

**What it is.** A joint embedding of a 2D and a 3D network (after Kang & Park 2022, arXiv 2212.10939) with the
silhouette of the brain as an input channel (after Kazemimoghadam et al. 2022), a tissue model of every scan
(outliers to a mixture with an atlas, after Van Leemput et al. 2001) as more of them, and a small network that finds the
brain in a whole head. Trained on normal scans only, to find anomalies that were painted on them. Research software,
not a medical device.

| | |
|---|---|
| looks at | {modality} |
| file | {size:.1f} MB, sha256 `{sha256}` |
| parameters, M | 2D {plane:.2f}, 3D {volume:.2f}, fusion and embedding {rest:.2f}, brain {extraction:.2f} |
| trained on | {trained} normals: {folders} |
| held out, for calibration | {held} |
| lesion outlines | {shapes} |
| training | {steps} steps in {minutes} minutes on {device}, torch {torch}; seed {seed}{began} |
| steps per second | {rate}; the generator of synthetic scans takes {generator:.0%} of the time |
| uses | '{best}', or what gave the better Dice on painted normals of a contrast (below), smoothed by {smoothing} mm |
| threshold, extent, smallest | by contrast (below): from held-out normals, plain and painted |

## Held-out normals, painted

Average precision over the voxels of the brain, mean over scans; the command that trains prints and keeps it.

| networks | smoothing, mm | average precision |
|---|---|---|
{table}

## Calibration

The network says which contrast it sees; scores are calibrated on the held-out normals that it takes for the same.
A finding reaches the threshold, the lowest that makes at most one false finding of 30 mm3 or more per normal scan, and
extends as far below it, in decades of the share of normal voxels, as gave the best Dice on painted scans, while false
findings take no more than 3 ml of a normal scan in the mean (a limit set with results on patients known). It ends at
the outline that promises the best Dice, given the raw score of even odds that served painted scans best
(`detector/outlines.py`).

| contrast | normals | uses | threshold | extent, decades | even odds | smallest, mm3 | false a scan | Dice, painted |
|---|---|---|---|---|---|---|---|---|
{contrasts}

The held-out scans are as hard as scans are, not as hard as training makes them: no leftovers of brain extraction are
added, and a real scan in its own contrast gets no noise and no gain beside its own. Other contrasts are synthesised
from T1 scans and label maps.

## Loss

![loss and Dice against steps]({name}.png)

## Real patients

[docs/results/real-cases.md](../results/real-cases.md): patients that took part in nothing, at the threshold above.

## Data and licences

- `t1_ds002748`: OpenNeuro ds002748 v1.0.5 (doi 10.18112/openneuro.ds002748.v1.0.5), CC0.
- `t1_ixi_2mm`: IXI, Hammersmith 3T, with DLMUSE labels, by way of NiChart, CC BY-SA 3.0.
- `flair`: py_synthsr (Apache-2.0) and torchio-data (MIT), one scan each; the second is held out.
- `synthseg`: label maps of BBillot/SynthSeg, Apache-2.0.
- `lesymap`: lesion outlines, LESYMAP (Apache-2.0).

## Train it again

```console
napari-anomaly train --name {name} --out {name}.safetensors --normals T1_DS002748 T1_IXI_2MM FLAIR \\
    --label-maps SYNTHSEG --lesion-shapes {shape_flags} {flags}{begin_flag}
```

The bundled weights came about in stages, {total} steps in all, which [what was tried](../results/training.md) lists:
the ceiling on what shines, venous sinuses, the removal of the scanner's gain and the weight on the loudest normal
voxels each came in on the way. Which weights ship was decided with the results on the patients below known.

## Where it fails

- It has seen {total} steps on a CPU, far from what it could learn. Small lesions (under 4 mm) and faint ones are
  missed; so are most small ones on T1 and T2.
- Findings extend up to {widest} decades below the threshold: a false one can take in ten millilitres or more of fluid
  around the brain.
- Only one real FLAIR scan and no real T2 scan of a healthy person took part; other contrasts are synthesised.
- Children, surgical cavities, implants and motion were never shown to it.
- Outlines of large lesions follow contrast, not anatomy: oedema and tumour are one finding.
"""


def contrast_row(name: str, row: dict, card: Card) -> str:
    way = card.by_contrast.get(name, card.best)
    own = card.calibrations[way][name]
    false = own.false_findings.expected(own.default_threshold, own.default_min_volume_mm3)
    title = "all together" if name == ANY else name
    smallest = own.default_min_volume_mm3
    even = "none" if own.even is None else f"{own.even:.1f}"
    drawn = f"{row['threshold']:.6f} | {own.hysteresis:.2f} | {even} | {smallest:.0f}"
    return f"| {title} | {row['scans']:.0f} | {way} | {drawn} | {false:.2f} | {row['painted_dice']:.3f} |"


def main() -> None:
    detector = load(sys.argv[1] if len(sys.argv) > 1 else DEFAULT)
    card, facts = detector.card, detector.provenance
    count = {
        part: sum(p.numel() for p in getattr(detector.network, part).parameters()) / 1e6
        for part in ("plane", "volume")
    }
    everything = sum(p.numel() for p in detector.network.parameters()) / 1e6
    from napari_anomaly.detector.checkpoint import bundled

    settings = facts["settings"]
    keys = ("minutes", "extraction_steps", "pool", "renew_every", "learning_rate", "seed")
    began = facts.get("began_with", {})
    lineage = (
        f"; begun with the weights of {began['name']} `{began['sha256'][:16]}`, {began['steps']} steps in "
        f"{began['minutes']:.0f} minutes"
        if began
        else ""
    )
    text = CARD.format(
        name=card.name,
        version=card.version,
        modality=card.modality,
        size=bundled()[card.name].stat().st_size / 2**20,
        sha256=detector.sha256,
        plane=count["plane"],
        volume=count["volume"],
        rest=everything - count["plane"] - count["volume"],
        extraction=sum(p.numel() for p in detector.extraction.parameters()) / 1e6,
        trained=len(facts["trained_on"]),
        folders=", ".join(f"`{folder}`" for folder in facts["folders"]),
        held=", ".join(name.split(".")[0] for name in facts["held_out"]),
        shapes=", ".join(f"`{folder}`" for folder in facts["lesion_shapes"]),
        shape_flags=" ".join(folder.upper() for folder in facts["lesion_shapes"]),
        steps=facts["steps"],
        minutes=facts["minutes"],
        began=lineage,
        total=f"{facts['steps'] + began.get('steps', 0):,}",
        device=facts["device"],
        torch=facts["torch"],
        seed=settings["seed"],
        rate=facts["steps_per_second"],
        generator=facts["generator_share"],
        best=card.best,
        widest=max(own.hysteresis for ones in card.calibrations.values() for own in ones.values()),
        smoothing=card.smoothing_mm,
        contrasts="\n".join(contrast_row(name, row, card) for name, row in facts["contrasts"].items()),
        table="\n".join(
            f"| {row['networks']} | {row['smoothing_mm']} | {row['average_precision']:.3f} |"
            for row in facts["held_out_synthetic"]
        ),
        begin_flag=" --begin-with EARLIER" if began else "",
        flags=" ".join(f"--{key.replace('_', '-')} {settings[key]}" for key in keys),
    )
    (HERE / f"{card.name}.md").write_text(text, encoding="utf-8")
    draw_curve(facts["curve"], HERE / f"{card.name}.png")


if __name__ == "__main__":
    main()
