import nibabel as nib
import numpy as np
import pytest
import torch
from scipy import ndimage

from napari_anomaly.preprocess import FIELD, HEAD, HEAD_MM
from napari_anomaly.training import leftovers, normals
from napari_anomaly.training.acquisition import acquire
from napari_anomaly.training.contrast import CLASSES, CSF, FAMILIES, draw_contrast
from napari_anomaly.training.normals import (
    deep_white,
    deformation,
    enhance_vessels,
    jitter_mask,
    load_body,
    load_head,
    load_labels,
    load_stripped,
    load_volume,
    make_normal,
    recolour,
    spacing_for,
    strip_sloppily,
    synthesise,
)
from small_subjects import (
    GREY,
    SIDES,
    VENTRICLE,
    WHITE,
    class_map,
    egg,
    label_subject,
    real_subject,
    write_volume,
)

CPU = torch.device("cpu")
SUBJECTS = {
    "labels": label_subject(),
    "t1": real_subject("t1"),
    "flair": real_subject("flair"),
    "own": real_subject("own"),
}


def rng(seed=0):
    return np.random.default_rng(seed)


# ----- files


@pytest.mark.parametrize("codes", ["RAS", "LPS", "SLA", "PIR"])
def test_a_file_is_read_superior_posterior_left_whatever_its_order(tmp_path, codes):
    wanted = np.arange(4 * 5 * 6, dtype=np.float32).reshape(4, 5, 6)
    write_volume(tmp_path / "ras.nii", wanted)
    image = nib.load(tmp_path / "ras.nii")
    turn = nib.orientations.ornt_transform(
        nib.io_orientation(image.affine), nib.orientations.axcodes2ornt(codes)
    )
    nib.save(image.as_reoriented(turn), tmp_path / "other.nii")
    voxels = load_volume(tmp_path / "other.nii", spacing=1.0)
    assert np.array_equal(voxels, wanted)
    assert not np.array_equal(voxels[::-1], wanted)


def test_a_file_is_brought_to_the_spacing_asked_for(tmp_path):
    inside = egg((20, 24, 28), 0.7).astype(np.float32)
    path = write_volume(tmp_path / "a.nii", inside, spacing=2.0)
    fine, coarse = (load_volume(path, spacing=spacing) for spacing in (1.0, 4.0))
    assert (fine.shape, coarse.shape) == ((40, 48, 56), (10, 12, 14))
    for voxels, spacing in ((fine, 1.0), (coarse, 4.0)):
        middle = (np.array(ndimage.center_of_mass(voxels)) + 0.5) * spacing
        assert middle == pytest.approx([20, 24, 28], abs=0.3)
        assert voxels.sum() * spacing**3 == pytest.approx(inside.sum() * 8, rel=0.15)


def test_labels_are_never_mixed(tmp_path):
    labels = np.where(egg((20, 24, 28), 0.7), 40, 0).astype(np.int16)
    path = write_volume(tmp_path / "a.nii", labels, spacing=1.7)
    assert set(np.unique(load_volume(path, spacing=1.0, labels=True))) == {0, 40}
    assert len(np.unique(load_volume(path, spacing=1.0))) > 2


def test_a_label_map_becomes_a_subject_around_its_brain(tmp_path):
    numbers = np.zeros((100, 110, 120), np.int16)
    for share, number in ((0.9, 514), (0.8, 24), (0.7, 42), (0.5, 41), (0.2, 43)):
        numbers[egg(numbers.shape, share)] = number
    numbers[0, 0, 0] = 999
    subject = load_labels(write_volume(tmp_path / "brain-7.nii.gz", numbers))
    assert (subject.name, subject.kind) == ("brain-7", "labels")
    assert tuple(subject.voxels.shape) == tuple(subject.mask.shape) == FIELD
    assert tuple(subject.head.shape) == tuple(subject.head_mask.shape) == HEAD
    middle = tuple(side // 2 for side in FIELD)
    assert subject.voxels[middle] == VENTRICLE
    # the corner holds a number that no class has
    assert set(subject.voxels.unique().tolist()) == {0, WHITE, GREY, VENTRICLE, CSF, CLASSES[514]}

    brain = subject.mask
    assert brain[middle]
    assert not (brain & (subject.voxels == CLASSES[514])).any()
    assert brain[subject.voxels == GREY].all()
    volume = float(brain.sum())
    assert np.isin(numbers, (41, 42, 43)).sum() <= volume < (numbers > 0).sum()
    assert float(subject.head_mask.sum()) * HEAD_MM**3 == pytest.approx(volume, rel=0.1)
    wide = [float(torch.nonzero(part).float().mean(0)[0]) for part in (brain, subject.head_mask)]
    assert (wide[0] - FIELD[0] / 2) / HEAD_MM == pytest.approx(wide[1] - HEAD[0] / 2, abs=1)


def test_a_stripped_scan_is_brain_where_it_is_not_0(tmp_path):
    inside = egg((60, 70, 64), 0.8)
    voxels = np.where(inside, rng().uniform(400, 900, inside.shape), 0).astype(np.float32)
    voxels[28:32, 33:37, 30:34] = 0
    subject = load_stripped(write_volume(tmp_path / "sub-1_T1w.nii.gz", voxels))
    assert (subject.name, subject.kind, subject.head) == ("sub-1_T1w", "t1", None)
    assert float(subject.mask.sum()) == pytest.approx(inside.sum(), rel=0.03)
    assert subject.mask[tuple(side // 2 for side in FIELD)]
    assert subject.voxels.dtype == torch.float16
    low, high = np.quantile(subject.voxels[subject.mask].float(), (0.05, 0.95))
    assert (low, high) == pytest.approx((0, 1), abs=0.05)


def test_a_head_with_brain_labels_keeps_both(tmp_path):
    labels = np.where(egg((60, 70, 64), 0.6), 3, 0).astype(np.int16)
    voxels = np.where(egg((60, 70, 64), 0.9), 100, 0).astype(np.float32) + 100 * (labels > 0)
    subject = load_head(
        write_volume(tmp_path / "a_FLAIR.nii", voxels),
        write_volume(tmp_path / "a_DLMUSE.nii", labels),
        kind="flair",
    )
    assert subject.kind == "flair"
    assert float(subject.mask.sum()) == pytest.approx((labels > 0).sum(), rel=0.02)
    assert float(subject.head_mask.sum()) * HEAD_MM**3 == pytest.approx((labels > 0).sum(), rel=0.1)
    assert subject.head.max() == 200
    assert float((subject.head > 50).sum()) > 2 * float(subject.head_mask.sum())


def test_a_body_is_its_silhouette(tmp_path):
    voxels = np.where(egg((60, 70, 64), 0.8), 100, 0).astype(np.float32)
    subject = load_body(write_volume(tmp_path / "knee.nii.gz", voxels))
    assert (subject.name, subject.kind, subject.head) == ("knee", "own", None)
    # found on a grid of 2 mm, hence up to 3 mm wider, and nothing is lost
    assert (
        (voxels > 0).sum()
        < float(subject.mask.sum())
        < ndimage.binary_dilation(np.pad(voxels > 0, 4), iterations=4).sum()
    )
    assert subject.mask[subject.voxels > 0.5].all()


def test_a_body_larger_than_the_field_of_view_is_seen_in_coarser_voxels(tmp_path):
    voxels = np.where(egg((60, 70, 64), 0.8), 100, 0).astype(np.float32)
    small = write_volume(tmp_path / "small.nii.gz", voxels)
    large = tmp_path / "large.nii.gz"
    image = nib.load(small)
    nib.save(nib.Nifti1Image(image.get_fdata(), image.affine @ np.diag([6.0, 6.0, 6.0, 1.0])), large)
    assert spacing_for([small]) == 1.0
    spacing = spacing_for([small, large])
    # 360 mm from head to foot, 420 from front to back and 384 from side to side
    assert spacing == max(
        np.ceil(4 * 6 * n / field) / 4 for n, field in zip((60, 70, 64), FIELD, strict=True)
    )
    whole = load_body(large, spacing=spacing)
    litres = float(whole.mask.sum()) * spacing**3 / 1e6
    assert litres == pytest.approx((voxels > 0).sum() * 6**3 / 1e6, rel=0.15)
    cut = load_body(large, spacing=1.0)
    assert cut.mask.sum() / 1e6 < 0.5 * litres


# ----- normals


@pytest.fixture(autouse=True)
def clean_extraction(monkeypatch):
    """Nothing is left around the brain unless a test asks for it: crescents dwarf a phantom."""
    monkeypatch.setattr(leftovers, "CRESCENTS", 0.0)
    monkeypatch.setattr(leftovers, "BITES", 0.0)


@pytest.mark.parametrize(("kind", "left"), [("t1", True), ("flair", True), ("own", False)])
def test_extraction_leaves_things_around_brains_only(monkeypatch, kind, left):
    clean = [make_normal(SUBJECTS[kind], rng(seed), CPU) for seed in range(4)]
    monkeypatch.setattr(leftovers, "CRESCENTS", 1.0)
    messy = [make_normal(SUBJECTS[kind], rng(seed), CPU) for seed in range(4)]
    # the grain of the noise differs, and what is 0 is not brain
    gained = [
        int(((m.image != 0) & (c.image == 0) & ~c.mask).sum()) for c, m in zip(clean, messy, strict=True)
    ]
    assert (max(gained) > 20) == left


@pytest.mark.parametrize("kind", SUBJECTS)
def test_a_normal_is_normalised_tissue_and_follows_its_seed(kind):
    one, same, other = (make_normal(SUBJECTS[kind], rng(seed), CPU) for seed in (1, 1, 2))
    assert tuple(one.image.shape) == tuple(one.mask.shape) == SIDES
    assert one.image.dtype == torch.float16
    assert not one.image[~one.mask].any()
    low, high = np.quantile(one.image[one.mask].float(), (0.05, 0.95))
    assert (low, high) == pytest.approx((0, 1), abs=0.05)
    assert float(one.mask.sum()) == pytest.approx(float(SUBJECTS[kind].mask.sum()), rel=0.4)
    assert torch.equal(one.image, same.image)
    assert torch.equal(one.mask, same.mask)
    assert not torch.equal(one.image, other.image)


def test_contrasts_vary_where_they_may():
    made = {
        kind: {make_normal(subject, rng(seed), CPU).family for seed in range(6 if kind == "labels" else 4)}
        for kind, subject in SUBJECTS.items()
    }
    assert len(made["labels"]) > 2
    assert len(made["t1"]) > 1
    assert (made["flair"], made["own"]) == ({"flair"}, {"free"})


@pytest.mark.parametrize("family", FAMILIES)
def test_the_contrast_asked_for_is_made_where_it_can_be(family):
    made = {
        kind: make_normal(subject, rng(1), CPU, family=family).family for kind, subject in SUBJECTS.items()
    }
    assert made == {"labels": family, "t1": family, "flair": "flair", "own": "free"}


def moved(voxels, seed):
    """Bring voxels to where a normal of that seed has them: the deformation is drawn first."""
    grid = deformation(SIDES, rng(seed), CPU)[None]
    image = torch.as_tensor(voxels)[None, None].float()
    return torch.nn.functional.grid_sample(image, grid, mode="nearest", align_corners=True)[0, 0].long()


@pytest.mark.parametrize(
    ("kind", "stripped"), [("t1", {True}), ("flair", {True}), ("own", {False}), ("labels", {True, False})]
)
def test_what_brain_extraction_takes_away_is_0_even_within_the_mask(monkeypatch, kind, stripped):
    monkeypatch.setattr(normals, "SLOPPY", 0.0)
    seen = set()
    for seed in range(8):
        normal = make_normal(SUBJECTS[kind], rng(seed), CPU)
        beyond = normal.mask & (moved(SUBJECTS[kind].mask, seed) == 0)
        if beyond.any():
            seen.add(not normal.image[beyond].any())
    assert seen == stripped


@pytest.mark.parametrize("kind", SUBJECTS)
def test_white_matter_lies_within_the_brain(kind):
    normal = make_normal(SUBJECTS[kind], rng(1), CPU)
    assert (normal.white.dtype, normal.white.shape) == (torch.bool, normal.mask.shape)
    assert normal.white.any()
    assert not (normal.white & ~normal.mask).any()


@pytest.mark.parametrize("kind", ["labels", "t1"])
def test_white_matter_moves_with_the_brain(kind):
    normal = make_normal(SUBJECTS[kind], rng(1), CPU)
    right, still = moved(class_map(SIDES), 1) == WHITE, torch.from_numpy(class_map(SIDES)) == WHITE
    share = float(right[normal.white].float().mean())
    assert share > max(0.95, float(still[normal.white].float().mean()))
    assert float(normal.white[right].float().mean()) > 0.8


def test_an_image_can_be_changed_and_the_rest_stays():
    normal = make_normal(SUBJECTS["t1"], rng(), CPU)
    other = normal.with_image(normal.image + 1)
    assert torch.equal(other.image, normal.image + 1)
    assert other.mask is normal.mask
    assert other.white is normal.white
    assert other.family == normal.family


@pytest.mark.parametrize("family", ["t1", "t2", "flair"])
def test_synthesised_tissue_has_the_drawn_intensity(family):
    classes = torch.from_numpy(class_map(SIDES)).long()
    contrast = draw_contrast(family, rng(4))
    image = synthesise(classes, family, rng(4), CPU)
    for index in (GREY, VENTRICLE):
        assert float(image[classes == index].mean()) == pytest.approx(float(contrast.mean[index]), abs=0.03)
    # white matter next to the ventricle may be brighter
    assert float(image[classes == WHITE].median()) == pytest.approx(float(contrast.mean[WHITE]), abs=0.05)
    assert not image[classes == 0].any()
    assert torch.equal(image, synthesise(classes, family, rng(4), CPU))


def medians(image):
    classes = torch.from_numpy(class_map(SIDES))
    return [float(image[classes == index].median()) for index in (VENTRICLE, GREY, WHITE)]


def test_a_t1_scan_is_recoloured_to_the_order_of_its_family():
    subject = SUBJECTS["t1"]
    seen = {}
    for seed in range(30):
        image, family = recolour(subject.voxels.float(), subject.mask, "t1", rng(seed))
        seen.setdefault(family, []).append(medians(image))
        assert image.isfinite().all()
    assert {"t1", "t2", "flair"} <= set(seen)
    assert all(fluid < grey < white for fluid, grey, white in seen["t1"])
    assert all(white < grey for _, grey, white in seen["flair"])
    assert all(fluid > grey > white - 0.05 for fluid, grey, white in seen["t2"])


@pytest.mark.parametrize(("kind", "family"), [("flair", "flair"), ("own", "free"), ("t1", "t1")])
def test_a_scan_that_stays_as_it_is_keeps_its_order(kind, family):
    before = SUBJECTS["flair"].voxels.float()
    after, made = recolour(before, SUBJECTS["flair"].mask, kind, rng(), family="t1")
    order = before.flatten().argsort()
    assert made == family
    assert (after.flatten()[order].diff() >= -1e-6).all()
    assert not torch.allclose(after, before, atol=1e-3)


# ----- white matter and vessels


def test_white_matter_of_a_t1_scan_is_told_by_its_intensity():
    subject, classes = SUBJECTS["t1"], torch.from_numpy(class_map(SIDES))
    white = deep_white(subject.voxels.float(), subject.mask, "t1")
    assert not (white & ~subject.mask).any()
    assert float((classes[white] == WHITE).float().mean()) > 0.97
    assert float(white[classes == WHITE].float().mean()) > 0.8
    # vessels and fat are brighter than any white matter
    vessel = subject.voxels.float()
    place = (slice(22, 27), slice(46, 51), slice(70, 75))
    assert white[place].all()
    vessel[place] = 2.0
    assert not deep_white(vessel, subject.mask, "t1")[place].any()


@pytest.mark.parametrize("kind", ["flair", "own"])
def test_white_matter_of_other_scans_is_told_by_its_depth(kind):
    subject, classes = SUBJECTS[kind], torch.from_numpy(class_map(SIDES))
    white = deep_white(subject.voxels.float(), subject.mask, kind)
    depth = torch.from_numpy(ndimage.distance_transform_edt(subject.mask.numpy()))
    assert int(white.sum()) > 1000
    assert depth[white].min() > 8
    assert not (white & (classes == VENTRICLE)).any()


def test_vessels_only_brighten_and_stay_within_the_brain():
    subject = SUBJECTS["t1"]
    before, mask = subject.voxels.float(), subject.mask
    depth = torch.from_numpy(ndimage.distance_transform_edt(mask.numpy()))
    shallow, deep = [], []
    for seed in range(4):
        gain = enhance_vessels(before, mask, rng(seed)) - before
        assert gain.min() >= 0
        assert not gain[~mask].any()
        assert gain.max() > 0.2
        # tubes, and not a glow
        assert float((gain[mask] > 0.2).float().mean()) < 0.1
        shallow.append(float(gain[mask & (depth < 6)].mean()))
        deep.append(float(gain[depth > 12].mean()))
    assert np.mean(shallow) > 2 * np.mean(deep) > 0
    assert torch.equal(before, subject.voxels.float())


def test_vessels_follow_their_seed():
    image, mask = SUBJECTS["t1"].voxels.float(), SUBJECTS["t1"].mask
    one, same, other = (enhance_vessels(image, mask, rng(seed)) for seed in (1, 1, 2))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)


# ----- acquisition


def test_a_scanner_adds_noise_and_takes_detail_by_its_seed():
    image = SUBJECTS["t1"].voxels.float()
    before = image.clone()
    made = [acquire(image, rng(seed), CPU) for seed in range(12)]
    assert torch.equal(image, before)
    assert torch.equal(acquire(image, rng(3), CPU), made[3])
    for one in made:
        assert one.shape == image.shape
        assert one.isfinite().all()
        assert torch.corrcoef(torch.stack((one.flatten(), image.flatten())))[0, 1] > 0.8
    assert len({float(one.sum()) for one in made}) > 8


@pytest.mark.parametrize(("kind", "family"), [("t1", "t1"), ("flair", "flair"), ("own", "free")])
def test_a_real_scan_as_it_is_has_no_noise_but_its_own(monkeypatch, kind, family):
    noises = []

    def noisy(image, rng, device):
        noises.append(rng)
        return acquire(image, rng, device)

    monkeypatch.setattr(normals, "acquire", noisy)
    made = [make_normal(SUBJECTS[kind], rng(seed), CPU, family=family, harder=False) for seed in range(3)]
    assert not noises
    assert {one.family for one in made} == {family}
    make_normal(SUBJECTS[kind], rng(0), CPU, family=family)
    make_normal(SUBJECTS["labels"], rng(0), CPU, family=family, harder=False)
    make_normal(SUBJECTS["t1"], rng(0), CPU, family="t2", harder=False)
    assert len(noises) == 3


def test_a_mask_grows_or_shrinks_by_up_to_two_voxels():
    mask = torch.zeros(20, 20, 20, dtype=torch.bool)
    mask[6:14, 6:14, 6:14] = True
    sides = {round(float(jitter_mask(mask, rng(seed)).sum()) ** (1 / 3), 3) for seed in range(40)}
    assert sides == {4, 6, 8, 10, 12}


def test_a_deformation_is_small_smooth_and_mirrors_half_the_time():
    sides = (24, 28, 32)
    grids = [deformation(sides, rng(seed), CPU) for seed in range(40)]
    mirrored = [bool(grid[12, 14, 31, 0] < grid[12, 14, 0, 0]) for grid in grids]
    assert 8 < sum(mirrored) < 32
    assert torch.equal(grids[5], deformation(sides, rng(5), CPU))
    for grid, turned in zip(grids, mirrored, strict=True):
        assert grid.shape == (*sides, 3)
        x = -grid[..., 0] if turned else grid[..., 0]
        for axis, values in enumerate((grid[..., 2], grid[..., 1], x)):
            # no fold: along its own axis a place always lies beyond the one before
            assert (values.diff(dim=axis) > 0).all()
        assert grid[12, 14, 16].abs().max() < 0.3


@pytest.mark.parametrize("kind", ["labels", "t1"])
def test_tissues_are_known_whatever_the_contrast(kind):
    subject = label_subject() if kind == "labels" else real_subject()
    for seed, family in enumerate(("t2", "flair", "t1")):
        normal = make_normal(subject, np.random.default_rng(seed), CPU, family=family)
        assert normal.tissue.dtype == torch.uint8
        assert not (normal.tissue.bool() & ~normal.mask).any()
        shares = [float((normal.tissue[normal.mask] == number).float().mean()) for number in range(4)]
        # of the egg .45 is white matter, .46 grey, .08 fluid, before it is deformed and its mask jittered
        assert shares[0] < 0.35
        assert 0.3 < shares[1] < 0.75
        assert 0.15 < shares[2] < 0.6
        assert 0.02 < shares[3] < 0.2


def test_tissues_of_a_flair_scan_are_not_known():
    normal = make_normal(real_subject("flair"), np.random.default_rng(0), CPU)
    assert not normal.tissue.any()


def test_a_mirrored_normal_is_mirrored_whole():
    normal = make_normal(label_subject(), np.random.default_rng(0), CPU)
    mirrored = normal.mirrored()
    for name in ("image", "mask", "white", "tissue"):
        assert torch.equal(getattr(mirrored, name), getattr(normal, name).flip(-1))
    assert not torch.equal(mirrored.image, normal.image)
    assert mirrored.family == normal.family


def test_a_sloppy_extraction_leaves_patches_around_the_whole_brain():
    brain = label_subject().mask
    extra = []
    for seed in range(8):
        kept = strip_sloppily(brain, np.random.default_rng(seed))
        assert (kept & brain).sum() == brain.sum()
        extra.append(float((kept & ~brain).sum()) / float(brain.sum()))
        reach = torch.nn.functional.max_pool3d(brain[None, None].float(), 11, stride=1, padding=5)[0, 0] > 0
        assert not (kept & ~reach).any()
    assert min(extra) < max(extra)
    assert 0.005 < np.mean(extra) < 0.4
