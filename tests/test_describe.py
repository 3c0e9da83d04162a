"""The table of a network's layers, against what is known of the network."""

from __future__ import annotations

import torch

from convnets.describe import layer_table, markdown_table
from convnets.models import RegressionCNN, ResidualColouriser


def test_the_table_says_what_ran():
    """One row for each layer that ran, with its shape; the weights of all rows are the network's."""
    model = RegressionCNN(kernel_size=5, num_filters=4).train()
    rows = layer_table(model, (1, 16, 20))
    assert [row.name for row in rows][:4] == ["input", "downconv1.0", "downconv1.1", "downconv1.2"]
    first = rows[1]
    assert (first.kind, first.kernel, first.filters, first.weights) == ("Conv2d", (5, 5), 4, 104)
    assert rows[0].output_shape == (1, 16, 20)
    assert rows[2].output_shape == (4, 8, 10)
    assert rows[-1].output_shape == (3, 16, 20)
    assert sum(row.weights for row in rows) == sum(parameter.numel() for parameter in model.parameters())
    assert [row.inputs for row in rows] == [(), *[(row.name,) for row in rows[:-1]]]


def test_the_table_sees_skip_connections_and_leaves_no_trace():
    """A join names both layers that it reads; a layer used twice has two rows; hooks, mode and statistics stay."""
    model = ResidualColouriser(torch.zeros(256, 3), num_filters=4).train()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    rows = {row.name: row for row in layer_table(model, (1, 32, 32))}
    assert rows["join"].inputs == ("enlarge", "downconv2.2")
    assert rows["join:2"].inputs == ("enlarge:2", "downconv1.2")
    assert rows["join:2"].output_shape == (12, 32, 32)
    assert model.training
    assert not any(module._forward_hooks for module in model.modules())
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_the_markdown_table_has_a_line_for_each_row_and_the_total():
    """Header, rule, rows and the sum of the weights."""
    rows = layer_table(RegressionCNN(num_filters=4), (1, 16, 16))
    lines = markdown_table(rows).splitlines()
    assert len(lines) == len(rows) + 3
    assert lines[3] == "| downconv1.0 | Conv2d | 3×3 | 4 | 4×16×16 | 40 |"
    assert str(sum(row.weights for row in rows)) in lines[-1]
