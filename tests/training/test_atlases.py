from napari_anomaly.anatomy import NAMES, STRUCTURES, label_of
from napari_anomaly.training.atlases import MIDDLE, UNKNOWN, freesurfer, muse, parts, truth_of
from napari_anomaly.training.contrast import CLASSES


def named(table, number):
    return table[number].name, table[number].side


def test_freesurfer_left_comes_before_right():
    table = freesurfer()
    assert named(table, 10) == ("thalamus", "left")
    assert named(table, 49) == ("thalamus", "right")
    assert named(table, 16) == ("brainstem", "")
    assert named(table, 24) == ("fluid around the brain", MIDDLE)


def test_muse_right_comes_before_left_except_the_basal_forebrain():
    table = muse()
    assert named(table, 51) == ("lateral ventricle", "right")
    assert named(table, 52) == ("lateral ventricle", "left")
    assert named(table, 81) == ("frontal white matter", "right")
    assert named(table, 183) == ("frontal cortex", "left")  # precentral gyrus
    assert named(table, 176) == ("parietal cortex", "right")  # postcentral gyrus
    assert named(table, 95) == ("corpus callosum", MIDDLE)
    assert table[75].side == "left"


def test_every_region_has_a_tissue_and_a_structure_that_exist():
    for region in (*freesurfer().values(), *muse().values()):
        assert region.tissue in CLASSES
        assert region.name == "" or region.name in NAMES
        for side in ("left", "right"):
            assert truth_of(region, side) == UNKNOWN or 0 < truth_of(region, side) < len(STRUCTURES)


def test_both_atlases_agree_on_the_tissue_of_a_structure():
    whole = {structure.name: structure.part_of for structure in STRUCTURES}
    by_tissue = {(region.tissue, region.side): region.name for region in freesurfer().values()}
    for region in muse().values():
        if region.name and region.side in ("left", "right"):
            assert whole[by_tissue[region.tissue, region.side]] == whole[region.name]


def test_the_midplane_decides_where_an_atlas_does_not():
    fluid = freesurfer()[24]
    assert truth_of(fluid, "left") == label_of("fluid around the brain", "left")
    assert truth_of(fluid, "right") == label_of("fluid around the brain", "right")
    assert truth_of(freesurfer()[10], "right") == label_of("thalamus", "left")


def test_lobes_are_one_for_freesurfer():
    partition = parts()
    assert partition[NAMES.index("temporal cortex")] == NAMES.index("frontal cortex")
    assert partition[NAMES.index("corpus callosum")] == NAMES.index("frontal white matter")
    assert partition[NAMES.index("thalamus")] == NAMES.index("thalamus")
