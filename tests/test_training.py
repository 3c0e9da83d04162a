"""Training held against a plain loop, class labels, determinism, and the ways in which a run can go wrong."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from convnets import augmentations, training
from convnets.models import RegressionCNN

CPU = torch.device("cpu")
PLAIN = {"device": CPU, "precision": torch.float32}


def pictures(count: int = 60, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Grey inputs float [N, 1, 8, 8] and uint8 colour targets [N, 8, 8, 3]."""
    images = torch.randint(256, (count, 8, 8, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))
    return images.float().mean(-1)[:, None] / 256, images


def small_network(seed: int = 0) -> RegressionCNN:
    training.seed_everything(seed)
    return RegressionCNN(num_filters=4)


def train(seed: int = 0, model: nn.Module | None = None, **settings) -> training.History:
    settings = {"validation": pictures(20, 1), "epochs": 3, "batch_size": 16, "device": CPU, **settings}
    return training.fit(model or small_network(seed), *pictures(), F.mse_loss, seed=seed, **settings)


def test_images_become_pixels_and_labels_become_classes():
    """uint8 images are divided by 256 and stored channels-last; label maps become int64; floats pass."""
    images = torch.tensor([[[[0, 128, 255]]]], dtype=torch.uint8)
    assert training.as_network(images).flatten().tolist() == [0, 0.5, 255 / 256]
    pixels = training.as_network(pictures()[1])
    assert pixels.shape == (60, 3, 8, 8)
    assert pixels.is_contiguous(memory_format=torch.channels_last)
    assert training.as_network(torch.zeros(2, 4, 4, dtype=torch.uint8)).dtype == torch.int64
    floats = torch.rand(2, 1, 4, 4)
    assert training.as_network(floats) is floats


def test_fit_takes_the_steps_of_a_plain_loop():
    """In float32 the weights and losses are those of the loop in every textbook, over the same permutations."""
    (inputs, images), (held_out, truth) = pictures(), pictures(20, 1)
    history = train(**PLAIN)
    model, targets = small_network(), images.permute(0, 3, 1, 2).float() / 256
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-3)
    generator = torch.Generator().manual_seed(0)
    for epoch in range(3):
        losses = []
        model.train()
        for index in torch.randperm(60, generator=generator).split(16):
            loss = F.mse_loss(model(inputs[index]), targets[index])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            losses.append(loss.item() * len(index))
        assert history.training_loss[epoch] == pytest.approx(sum(losses) / 60, rel=1e-4)
        model.eval()
        validation = F.mse_loss(model(held_out), truth.permute(0, 3, 1, 2) / 256).item()
        # Biases before batch norm walk along rounding errors (see below), and running means lag behind them.
        assert history.validation_loss[epoch] == pytest.approx(validation, rel=5e-3)
    for name, tensor in model.named_parameters():
        if name.endswith("weight"):  # not biases: batch norm takes them away again, so Adam walks along rounding errors
            torch.testing.assert_close(history.last_state[name], tensor, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
def test_the_same_seed_gives_the_same_history(precision):
    """Bit for bit, in losses and weights; another seed gives another."""
    settings = {"precision": precision, "augment": augmentations.mirror, "schedule": "cosine"}
    first, again, other = train(**settings), train(**settings), train(seed=1, **settings)
    assert first.training_loss == again.training_loss
    assert first.validation_loss == again.validation_loss
    assert all(torch.equal(tensor, again.last_state[name]) for name, tensor in first.last_state.items())
    assert first.training_loss != other.training_loss


def test_bfloat16_learns_what_float32_learns():
    """Half the digits in the convolutions change the losses by less than a seed does."""
    half, full = train(precision=torch.bfloat16, epochs=5), train(precision=torch.float32, epochs=5)
    assert half.validation_loss == pytest.approx(full.validation_loss, rel=0.02)
    assert (half.precision, full.precision) == ("bfloat16", "float32")


def test_snapshots_are_the_weights_that_a_shorter_training_ends_with():
    """Statistics of batch norm included; `last_state` is what the model ends with."""
    model = small_network()
    long = train(model=model, **PLAIN, epochs=4, renew=10, snapshots=(2, 4))
    short = train(**PLAIN, epochs=2, renew=10)
    assert long.snapshots.keys() == {2, 4}
    for found, truth in ((long.snapshots[2], short.last_state), (long.snapshots[4], long.last_state)):
        assert found.keys() == truth.keys()
        assert all(torch.equal(tensor, truth[name]) for name, tensor in found.items())
    assert all(torch.equal(tensor, long.last_state[name]) for name, tensor in model.state_dict().items())


def test_weights_judged_beside_their_average_are_those_of_a_training_without_it():
    """Losses and weights bit for bit; to judge them changes nothing about the average, with which the model is left."""
    model = small_network()
    both = train(model=model, **PLAIN, epochs=3, averaging=0.7, unaveraged=True, snapshots=(1,))
    assert all(torch.equal(tensor, both.last_state[name]) for name, tensor in model.state_dict().items())
    for found, truth in (
        (both.unaveraged, train(**PLAIN, epochs=3, snapshots=(1,))),
        (both, train(**PLAIN, epochs=3, averaging=0.7, snapshots=(1,))),
    ):
        assert (found.training_loss, found.validation_loss) == (truth.training_loss, truth.validation_loss)
        for states in ((found.last_state, truth.last_state), (found.snapshots[1], truth.snapshots[1])):
            assert all(torch.equal(tensor, states[1][name]) for name, tensor in states[0].items())
    assert both.validation_loss != both.unaveraged.validation_loss


def test_class_labels_have_an_accuracy():
    """On label maps in uint8 the loss is PyTorch's cross-entropy, the accuracy the share of pixels met."""
    inputs, _ = pictures()
    labels = (inputs[:, 0] * 4).to(torch.uint8)  # the class is the quarter of the grey scale: can be learnt
    training.seed_everything(0)
    model = nn.Sequential(nn.Conv2d(1, 16, 1), nn.ReLU(), nn.Conv2d(16, 4, 1))
    history = training.fit(model, inputs[:40], labels[:40], F.cross_entropy, validation=(inputs[40:], labels[40:]),
                           epochs=20, batch_size=8, learning_rate=0.05, **PLAIN)  # fmt: skip
    logits = model(inputs[40:])
    score = training.evaluate(model, inputs[40:], labels[40:], F.cross_entropy, batch_size=7, **PLAIN)
    assert score.loss == pytest.approx(F.cross_entropy(logits, labels[40:].long()).item(), rel=1e-4)
    assert score.accuracy == pytest.approx((logits.argmax(1) == labels[40:]).float().mean().item())
    assert history.validation_accuracy[-1] == pytest.approx(score.accuracy)
    assert score.accuracy > 0.9


def test_predict_is_the_networks_output_in_eval_mode():
    """All samples, in their order, whatever the size of the batches; gradients are off."""
    inputs, _ = pictures()
    model = small_network()
    outputs = training.predict(model, inputs, batch_size=7, **PLAIN)
    assert not model.training
    torch.testing.assert_close(outputs, model(inputs).detach())
    assert outputs.dtype == torch.float32
    assert not outputs.requires_grad


def test_averaging_leaves_the_exponential_average_of_weights_and_statistics():
    """Held against the recursion over the weights after every step; they themselves are those without averaging."""
    seen, step = [], torch.optim.Adam.step

    class Watched(torch.optim.Adam):
        def __init__(self, model: nn.Module, rate: float) -> None:
            super().__init__(model.parameters(), rate)
            self.model = model

        def step(self) -> None:  # type: ignore[override]
            step(self)
            seen.append({name: tensor.clone() for name, tensor in self.model.state_dict().items()})

    plain = train(**PLAIN, optimiser=Watched, epochs=2)
    steps, seen = seen, []
    history = train(**PLAIN, optimiser=Watched, epochs=2, averaging=0.7)
    assert history.training_loss == plain.training_loss
    assert history.validation_loss != plain.validation_loss
    for name, average in steps[0].items():
        if average.is_floating_point():
            for state in steps[1:]:
                average = 0.7 * average + 0.3 * state[name]
            torch.testing.assert_close(history.last_state[name], average, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("schedule", ["cosine", "one_cycle"])
def test_schedules_stay_in_range_and_end_low(schedule):
    """Between nothing and the full rate, which is reached and not passed, with less than 1 % left at the last step."""
    factors = [training.rate_factor(schedule, step / 1000) for step in range(1000)]
    assert min(factors) > 0
    assert max(factors) == pytest.approx(1, abs=1e-12)
    assert factors[-1] < 0.01
    rates = train(schedule=schedule, epochs=4).learning_rate
    assert rates[-1] < rates[1] <= 1e-3


def test_the_schedules_name_is_checked():
    """A wrong name says which there are."""
    with pytest.raises(ValueError, match="'linear': choose 'constant', 'cosine' or 'one_cycle'"):
        train(schedule="linear")
    assert train(epochs=2).learning_rate == [1e-3, 1e-3]


def test_each_epoch_is_reported():
    """`on_epoch` hears the epoch, counted from 1, the number of epochs, and both losses."""
    heard = []
    history = train(on_epoch=lambda *counts, **losses: heard.append((counts, losses)))
    assert [counts for counts, _ in heard] == [(1, 3), (2, 3), (3, 3)]
    assert [losses["training_loss"] for _, losses in heard] == history.training_loss
    assert [losses["validation_loss"] for _, losses in heard] == history.validation_loss
    assert len(history.seconds) == 3


def test_a_loss_that_is_no_number_stops_the_training():
    """The error names the epoch, the learning rate and the remedy, in one line."""
    with pytest.raises(FloatingPointError, match=r"nan in epoch 1 with learning_rate 0.5: lower it"):
        train(learning_rate=0.5, **{"augment": lambda inputs, targets, _: (inputs * math.nan, targets)})


def test_bfloat16_is_chosen_where_the_processor_has_it(monkeypatch):
    """AVX512-BF16 or AMX decide on a processor; where PyTorch cannot tell, float32 is safe."""
    choose = training.choose_precision
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": True}, raising=False)
    assert choose(CPU) == torch.bfloat16
    monkeypatch.setattr(torch.cpu, "get_capabilities", dict)
    assert choose(CPU) == torch.float32
    monkeypatch.delattr(torch.cpu, "get_capabilities")
    assert choose(CPU) == torch.float32


def test_renewed_statistics_are_the_means_over_batches():
    """Means and unbiased variances of each batch, averaged; weights, momentum and what follows in training stay."""
    inputs = torch.rand(60, 3, 8, 8, generator=torch.Generator().manual_seed(0)) ** 2
    model = nn.Sequential(nn.BatchNorm2d(3, momentum=0.3))
    weights = [parameter.clone() for parameter in model.parameters()]
    training.renew_statistics(model, inputs, 20, torch.float32)
    batches = inputs.unflatten(0, (3, 20)).transpose(1, 2).flatten(2)  # [batches, channels, pixels]
    torch.testing.assert_close(model[0].running_mean, batches.mean(2).mean(0))
    torch.testing.assert_close(model[0].running_var, batches.var(2).mean(0))
    assert model[0].momentum == 0.3
    assert all(map(torch.equal, model.parameters(), weights))


def test_renewing_statistics_changes_how_a_network_is_judged_and_not_how_it_learns():
    """The same weights as without, the same training losses; the validation losses are those of the new statistics."""
    plain, renewed = train(**PLAIN), train(renew=60, **PLAIN)
    assert plain.training_loss == renewed.training_loss
    assert plain.validation_loss != renewed.validation_loss
    states = plain.last_state, renewed.last_state
    differing = {name for name in states[0] if not torch.equal(states[0][name], states[1][name])}
    assert differing
    assert all("running" in name or "num_batches" in name for name in differing)
    model = small_network()
    model.load_state_dict(renewed.last_state)
    loss = training.evaluate(model, *pictures(20, 1), F.mse_loss, **PLAIN).loss
    assert loss == pytest.approx(renewed.validation_loss[-1], rel=1e-5)
