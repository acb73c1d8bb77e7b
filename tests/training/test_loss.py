import math

import pytest
import torch
from torch.nn import functional

from napari_anomaly.training.loss import nt_xent, recall_loss, recall_weight, tail_loss, voxel_loss


@pytest.fixture
def truth():
    mask = torch.zeros(2, 1, 32, 32)
    mask[0, 0, 8:20, 8:20] = 1
    return mask


def logit(truth, sure):
    return sure * (2 * truth - 1)


def test_the_better_the_answer_the_lower_the_loss(truth):
    right, unsure, wrong = (float(voxel_loss(logit(truth, sure), truth)) for sure in (12.0, 0.0, -12.0))
    assert right < 0.01 < 0.5 < unsure < wrong


def test_nothing_found_costs_more_than_a_little_too_much(truth):
    larger = torch.zeros_like(truth)
    larger[0, 0, 7:21, 7:21] = 1
    nothing = torch.zeros_like(truth)
    assert voxel_loss(logit(larger, 5.0), truth) < 0.7 * voxel_loss(logit(nothing, 5.0), truth)


def test_a_missed_anomaly_costs_alike_however_small_it_is(truth):
    small = torch.zeros_like(truth)
    small[0, 0, 8:12, 8:12] = 1
    blind = torch.full_like(truth, -6.0)
    cost = [float(voxel_loss(blind, mask) - voxel_loss(logit(mask, 6.0), mask)) for mask in (small, truth)]
    assert cost[0] == pytest.approx(cost[1], rel=0.25)


def test_a_normal_scan_has_a_loss_too(truth):
    normal = torch.zeros_like(truth)
    assert float(voxel_loss(logit(normal, 12.0), normal)) == pytest.approx(0, abs=0.01)
    assert voxel_loss(logit(truth, 12.0), normal) > 0.5


def test_gradients_point_towards_the_truth(truth):
    start = torch.zeros_like(truth, requires_grad=True)
    torch.autograd.backward(voxel_loss(start, truth))
    assert (start.grad[truth > 0] < 0).all()
    assert (start.grad[truth == 0] > 0).all()


def test_the_few_loudest_normal_voxels_decide_the_tail(truth):
    quiet = logit(truth, 6.0)
    loud = quiet.clone()
    loud[1, 0, 4, 4:6] = 5.0
    # 2048 voxels less the anomaly and its rim: the tail is the two loudest
    assert float(tail_loss(loud, truth)) == pytest.approx(math.log1p(math.exp(5.0)), rel=1e-5)
    assert float(tail_loss(quiet, truth)) == pytest.approx(math.log1p(math.exp(-6.0)), rel=1e-3)
    assert float(tail_loss(loud, truth, share=0.5)) < 0.1


def test_the_rim_of_an_anomaly_is_not_of_the_tail(truth):
    wide = logit(functional.max_pool2d(truth, 7, stride=1, padding=3), 6.0)
    assert float(tail_loss(wide, truth)) < 0.01
    wider = logit(functional.max_pool2d(truth, 9, stride=1, padding=4), 6.0)
    assert float(tail_loss(wider, truth)) > 5
    volume = truth[:, :, None].expand(-1, -1, 8, -1, -1).contiguous()
    assert float(tail_loss(logit(functional.max_pool3d(volume, 3, 1, 1), 6.0), volume)) < 0.01
    everything = torch.ones_like(truth)
    assert float(tail_loss(everything, everything)) == 0


def test_missing_an_anomaly_costs_recall_and_a_false_alarm_does_not(truth):
    share = float(truth.mean())
    assert float(recall_loss(torch.zeros_like(truth), truth)) == pytest.approx(0.5 * share)
    assert float(recall_loss(torch.full_like(truth, 20.0), truth)) == pytest.approx(0, abs=1e-6)
    assert float(recall_loss(torch.full_like(truth, -20.0), truth)) == pytest.approx(share, rel=1e-5)


def test_recall_matters_first():
    weights = [recall_weight(progress) for progress in (0.0, 0.15, 0.3, 1.0)]
    assert weights == pytest.approx([1, 0.5, 0.05, 0.05])


def views(cells=64, length=64, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return functional.normalize(torch.randn(cells, length, generator=generator), dim=1)


def test_views_that_say_nothing_cost_log_n():
    same = functional.normalize(torch.ones(40, 64), dim=1)
    assert float(nt_xent(same, same)) == pytest.approx(math.log(40), abs=1e-4)
    # random directions are nearly as good as none
    assert float(nt_xent(views(40), views(40, seed=1))) == pytest.approx(math.log(40), abs=0.2)


def test_views_that_agree_cost_less_the_more_they_agree():
    flat, noise = views(), views(seed=1)
    costs = [
        float(nt_xent(flat, functional.normalize(flat + share * noise, dim=1))) for share in (0.0, 0.5, 2.0)
    ]
    assert costs[0] < costs[1] < costs[2] < math.log(64)
    assert float(nt_xent(flat, flat.roll(1, 0))) > math.log(64)


def test_both_views_count_the_same_and_their_order_does_not():
    flat, deep = views(), functional.normalize(views() + views(seed=1), dim=1)
    order = torch.randperm(64, generator=torch.Generator().manual_seed(2))
    cost = float(nt_xent(flat, deep))
    assert float(nt_xent(deep, flat)) == pytest.approx(cost, rel=1e-5)
    assert float(nt_xent(flat[order], deep[order])) == pytest.approx(cost, rel=1e-5)
    assert float(nt_xent(flat[order], deep)) != pytest.approx(cost, rel=1e-2)
