"""The same seed twice on one machine: the same numbers, bit for bit."""

from __future__ import annotations

import json
import shutil

import pytest
from conftest import code, markdown, write_notebook


@pytest.mark.slow
def test_two_runs_with_one_seed_are_equal_bit_for_bit(book, fault, tries):
    """A small network trained on the processor, in two kernels: value, curve and weights; two seeds differ."""
    write_notebook(
        book.root / "experiments" / "train.ipynb",
        markdown("# Train"),
        code("seed: int = 0", tags=("parameters",)),
        code("import benchbook, hashlib, torch", "from convnets import colour, data, models, training"),
        code(
            "torch.manual_seed(seed)",
            "pictures = data.load('scenes', num_train=64, num_validation=16, seed=seed)",
            "x, v = colour.to_pixels(pictures.train_images), colour.to_pixels(pictures.validation_images)",
            "model = models.RegressionCNN(num_filters=4)",
            "history = training.fit(model, x.mean(1, keepdim=True), x, torch.nn.functional.mse_loss, epochs=2,",
            "    batch_size=16, validation=(v.mean(1, keepdim=True), v), seed=seed, device=torch.device('cpu'))",
        ),
        code(
            "benchbook.value('loss', history.validation_loss[-1])",
            "benchbook.curve('losses', history.training_loss)",
            "weights = b''.join(t.numpy().tobytes() for t in model.state_dict().values())",
            "benchbook.claim('weights', True, hashlib.sha256(weights).hexdigest())",
        ),
    )
    number = tries(2, 20)
    seeds = ",".join(str(seed) for seed in range(number))
    found = []
    for _ in range(2):
        ended = book.run("run", "train", "-p", f"seed={seeds}", "--jobs", "1")
        assert ended.returncode == 0, ended.stderr
        results = [json.loads((folder / "results.json").read_text()) for folder in book.folders("train")]
        found.append({r["parameters"]["seed"]: [r["values"], r["claims"], r["curves"]] for r in results})
        shutil.rmtree(book.root / "runs")
    first, second = found
    wrong = sum(first[seed] != second[seed] for seed in first)
    assert len(first) == len({json.dumps(kept) for kept in first.values()}) == number
    fault("Same seed, another run (CPU)", tries=number, wrong=wrong)
    assert wrong == 0
