import math

import pytest
import torch

from napari_anomaly.training.tissue_task import (
    TISSUES,
    TissueHeads,
    plane_shares,
    tissue_loss,
    volume_shares,
)


def test_shares_of_slices_count_cells_of_two_pixels():
    tissue = torch.tensor([[[1, 1, 2, 0], [1, 3, 0, 0]]], dtype=torch.uint8)
    shares = plane_shares(tissue)
    assert shares.shape == (1, TISSUES, 1, 2)
    assert shares[0, :, 0, 0].tolist() == [0.75, 0.0, 0.25]
    assert shares[0, :, 0, 1].tolist() == [0.0, 0.25, 0.0]


def test_shares_of_a_volume_count_cells_of_six_voxels():
    tissue = torch.zeros(12, 12, 12, dtype=torch.uint8)
    tissue[:6], tissue[6:, :6] = 1, 3
    shares = volume_shares(tissue)
    assert shares.shape == (1, TISSUES, 2, 2, 2)
    assert shares[0, 0, 0].eq(1).all()
    assert shares[0, 2, 1, 0].eq(1).all()
    assert shares[0, :, 1, 1].eq(0).all()


def test_the_loss_is_the_cross_entropy_of_what_is_known():
    shares = torch.zeros(1, TISSUES, 10, 10)
    assert float(tissue_loss(torch.randn(1, TISSUES, 10, 10), shares)) == 0
    shares[:, 1] = 1
    undecided = float(tissue_loss(torch.zeros(1, TISSUES, 10, 10), shares))
    assert undecided == pytest.approx(math.log(3), rel=0.02)
    right = torch.zeros(1, TISSUES, 10, 10)
    right[:, 1] = 5
    assert float(tissue_loss(right, shares)) < 0.02 < undecided < float(tissue_loss(-right, shares))


def test_heads_answer_on_the_grid_of_the_features_and_learn():
    torch.manual_seed(0)
    heads = TissueHeads(6, 4)
    flat, deep = torch.randn(2, 6, 8, 8), torch.randn(1, 4, 4, 4, 4)
    shares = [functional_one_hot(flat[:, :3].argmax(1)), functional_one_hot(deep[:, :3].argmax(1))]
    optimiser = torch.optim.Adam(heads.parameters(), lr=0.1)
    losses = []
    for _ in range(60):
        logits = heads(flat, deep)
        assert [tuple(logit.shape) for logit in logits] == [(2, 3, 8, 8), (1, 3, 4, 4, 4)]
        loss = sum(tissue_loss(logit, share) for logit, share in zip(logits, shares, strict=True))
        optimiser.zero_grad()
        torch.autograd.backward(loss)
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < 0.3 * losses[0]


def functional_one_hot(index):
    """Put the classes first."""
    return torch.nn.functional.one_hot(index, TISSUES).movedim(-1, 1).float()
