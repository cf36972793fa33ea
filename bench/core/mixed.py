"""A training step that mixes torch's operations with a recurrent layer. In: a shape, a layer. Out: steps to time.

Linear -> recurrent -> LayerNorm -> Linear, mean squared error, Adam. `parts_seconds` counts torch's parts only: it shows whether
the threads of the layer between them hold them up. Any layer between also takes their data out of the caches.
"""

from __future__ import annotations

import time

import torch
from shapes import Shape
from torch import Tensor, nn


class Loop:
    """One model and its data; `layer` None: the recurrent part is left out and its results are fixed numbers."""

    def __init__(self, shape: Shape, layer: nn.Module | None) -> None:
        torch.manual_seed(3)
        size = (shape.steps, shape.batch, shape.hidden_size)
        self.x, self.target = torch.randn(shape.steps, shape.batch, shape.input_size), torch.randn(size)
        self.y, self.da = torch.randn(size), 1e-3 * torch.randn(shape.steps, shape.batch, shape.input_size)
        self.into = nn.Linear(shape.input_size, shape.input_size)
        self.layer = layer
        self.out = nn.Sequential(nn.LayerNorm(shape.hidden_size), nn.Linear(shape.hidden_size, shape.hidden_size))
        around = [*self.into.parameters(), *self.out.parameters()]
        self.around = torch.optim.Adam(around)
        self.all = torch.optim.Adam([*around, *(layer.parameters() if layer is not None else ())])

    def step(self) -> None:
        """One ordinary training step."""
        assert self.layer is not None
        self.all.zero_grad()
        self._loss(self.layer(self.into(self.x))[0]).backward()
        self.all.step()

    def parts_seconds(self) -> float:
        """The same step cut where the layer begins and ends; seconds of what lies outside it."""
        began = time.perf_counter()
        self.around.zero_grad()
        a = self.into(self.x)
        spent = time.perf_counter() - began

        a_cut = a.detach().requires_grad_()
        y = self.layer(a_cut)[0] if self.layer is not None else self.y
        y_cut = y.detach().requires_grad_()
        began = time.perf_counter()
        self._loss(y_cut).backward()
        spent += time.perf_counter() - began

        da = self._backward(y, y_cut, a_cut)
        began = time.perf_counter()
        a.backward(da)
        self.around.step()
        return spent + time.perf_counter() - began

    def _loss(self, y: Tensor) -> Tensor:
        return nn.functional.mse_loss(self.out(y), self.target)

    def _backward(self, y: Tensor, y_cut: Tensor, a_cut: Tensor) -> Tensor:
        if self.layer is None:
            return self.da
        da, *_ = torch.autograd.grad(y, [a_cut, *self.layer.parameters()], y_cut.grad)
        return da
