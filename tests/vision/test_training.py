"""The training loop: schedules, running means, checkpoints, what it does with too little time."""

import numpy as np
import pytest

from automl.budget import Deadline
from automl.errors import LearnerError
from tests.vision.needs import require_torchvision
from vision.config import Training

torch = pytest.importorskip("torch")
require_torchvision()

from torch import nn  # noqa: E402 - needs torch

from vision.networks.training import Job, frozen_layers, rate, train  # noqa: E402 - needs torch


class KilledError(Exception):
    pass


def problem(seed=0, n=64):
    rng = np.random.default_rng(seed)
    x = torch.tensor(rng.normal(size=(n, 5)), dtype=torch.float32)
    return x, (x[:, :1] - 2 * x[:, 1:2]).clone()


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(5, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.1), nn.Linear(8, 1))


def job(kill_at=None, judged=0.1):
    x, y = problem()
    seen = []

    def batches(epoch):
        order = torch.randperm(len(x))
        for k in range(4):
            if kill_at == (epoch, k):
                raise KilledError
            rows = order[k * 16 : (k + 1) * 16]
            yield x[rows], y[rows]

    def judge(net):
        seen.append(float((net(x) - y).square().mean()))
        return seen[-1], seen[-1]

    return Job(4, batches, lambda net, b: (net(b[0]) - b[1]).square().mean(), judge, judged), seen


PLAN = Training(number_of_epochs=6, learning_rate=0.05, average=0.9, early_stopping=False)


def run(net, made, path, plan=PLAN, seconds=None, report=lambda *_: False):
    return train(
        net,
        plan,
        made,
        seed=3,
        device=torch.device("cpu"),
        deadline=Deadline.after(seconds),
        checkpoint=path,
        report=report,
    )


def test_a_training_killed_in_an_epoch_ends_as_one_that_was_not(tmp_path, monkeypatch):
    monkeypatch.setattr("vision.networks.training._SAVED", 0.0)
    whole = network()
    first = run(whole, job()[0], tmp_path / "a.pt")
    broken = network()
    with pytest.raises(KilledError):
        run(broken, job(kill_at=(4, 2))[0], tmp_path / "b.pt")
    again = network()
    second = run(again, job()[0], tmp_path / "b.pt")
    assert (first.best, first.epoch) == (second.best, second.epoch)
    for a, b in zip(whole.state_dict().values(), again.state_dict().values(), strict=True):
        assert torch.equal(a, b)
    assert [r["judged"] for r in first.history] == [r["judged"] for r in second.history]


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "adamw"])
@pytest.mark.parametrize("scheduler", ["warmup_cosine", "step", "none"])
def test_it_learns_and_takes_the_best_epoch(tmp_path, optimizer, scheduler):
    plan = Training(number_of_epochs=15, learning_rate=0.02, optimizer=optimizer, lr_scheduler=scheduler)
    net = network()
    made, seen = job()
    done = run(net, made, tmp_path / "c.pt", plan)
    assert done.best == min(seen) < 0.6 * seen[0]
    with torch.no_grad():
        assert made.judge(net)[0] == pytest.approx(done.best)


def test_losses_scaled_for_narrow_numbers_teach_the_same(tmp_path, monkeypatch):
    plain = network()
    run(plain, job()[0], tmp_path / "a.pt")
    monkeypatch.setattr("vision.networks.training.narrow", lambda _device: True)
    monkeypatch.setattr("vision.networks.training._SAVED", 0.0)
    scaled, taken_up = network(), network()
    run(scaled, job()[0], tmp_path / "b.pt")
    with pytest.raises(KilledError):
        run(network(), job(kill_at=(4, 2))[0], tmp_path / "c.pt")
    run(taken_up, job()[0], tmp_path / "c.pt")
    for name, value in scaled.state_dict().items():
        torch.testing.assert_close(plain.state_dict()[name], value)  # scales are powers of two
        torch.testing.assert_close(taken_up.state_dict()[name], value, rtol=0, atol=0)


def test_of_epochs_that_score_alike_the_last_stays_and_patience_ends(tmp_path):
    made, _ = job()
    plan = Training(number_of_epochs=50, learning_rate=0.01, early_stopping_patience=2, early_stopping_delay=3)
    scores = iter([0.0, -1.0] + [-1.0] * 48)
    weights = []

    def judge(net):
        weights.append(net[0].weight.detach().clone())
        return next(scores), 0.0

    net = network()
    done = run(net, Job(made.steps, made.batches, made.loss, judge, 0.0), tmp_path / "e.pt", plan)
    assert (done.epoch, len(done.history), done.stopped) == (5, 5, "early stopping")
    assert torch.equal(net[0].weight, weights[-1])
    assert not torch.equal(weights[1], weights[-1])


def test_rates_of_steps():
    plan = Training(lr_scheduler="step", step_lr_gamma=0.5, step_lr_step_size=2)
    assert [rate(plan, s, 10, 100) for s in (0, 19, 20, 40)] == [1, 1, 0.5, 0.25]


def test_epochs_that_do_not_fit_are_not_begun(tmp_path):
    plan = Training(number_of_epochs=1_000_000, learning_rate=0.01, early_stopping=False)
    deadline = Deadline.after(4)
    done = train(
        network(), plan, job()[0], seed=0, device=torch.device("cpu"), deadline=deadline, checkpoint=tmp_path / "d.pt"
    )
    assert 1 <= done.epochs < 1_000_000
    assert deadline.left() > -5


@pytest.mark.parametrize(("seconds", "epochs"), [(1.0, 45), (4.0, 11)])
def test_the_plan_follows_what_epochs_really_take(seconds, epochs, tmp_path, monkeypatch):
    """A step takes two seconds while the plan is made, then other ones; 100 epochs of four steps would be too many."""
    now = [0.0]
    for module in ("vision.networks.training", "automl.budget"):
        monkeypatch.setattr(f"{module}.monotonic", lambda: now[0])
    made, _ = job(judged=0.0)

    def batches(epoch):
        for batch in made.batches(epoch):
            now[0] += seconds if epoch else 2.0
            yield batch

    plan = Training(number_of_epochs=100, early_stopping=False, learning_rate=0.01)
    slow = Job(made.steps, batches, made.loss, made.judge, 0.0)
    done = run(network(), slow, tmp_path / "p.pt", plan, seconds=200)
    assert (done.epochs, len(done.history), done.stopped) == (epochs, epochs, "")
    assert now[0] < 200
    assert done.history[-1]["learning_rate"] < 0.001


def test_no_time_at_all_is_said(tmp_path):
    with pytest.raises(LearnerError, match="no time to train"):
        run(network(), job()[0], tmp_path / "e.pt", seconds=0.05)


def test_a_loss_that_explodes_is_said(tmp_path):
    made, _ = job()
    bad = Job(made.steps, made.batches, lambda net, b: made.loss(net, b) * float("nan"), made.judge, 0.1)
    with pytest.raises(LearnerError, match="learning_rate"):
        run(network(), bad, tmp_path / "f.pt")


def test_it_stops_when_told_or_when_nothing_improves(tmp_path):
    done = run(network(), job()[0], tmp_path / "g.pt", report=lambda epoch, _loss: epoch == 2)
    assert (done.stopped, len(done.history)) == ("pruned", 2)
    made, _ = job()
    losses = iter([1.0] + [2.0] * 50)
    flat = Job(made.steps, made.batches, made.loss, lambda _net: (next(losses), 0.0), 0.1)
    plan = Training(number_of_epochs=50, early_stopping_patience=3, early_stopping_delay=2, learning_rate=0.001)
    done = run(network(), flat, tmp_path / "h.pt", plan)
    assert (done.stopped, len(done.history), done.epoch) == ("early stopping", 5, 1)


def test_frozen_layers_do_not_change(tmp_path):
    net = network()
    frozen_layers(net, 1)
    before = net[0].weight.clone()
    run(net, job()[0], tmp_path / "i.pt")
    assert torch.equal(before, net[0].weight)
