"""The torch model of a spec: its forward pass is the walk over tensors."""

from collections import defaultdict
from collections.abc import Callable
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from yoloprune.frontends.darknet.shapes import layer_shapes, source_shapes
from yoloprune.frontends.darknet.spec import (
    INPUT,
    AvgPool,
    Conv,
    Dropout,
    Head,
    Layer,
    MaxPool,
    NetworkSpec,
    Reorg,
    Route,
    Sam,
    ScaleChannels,
    Shortcut,
    Upsample,
)
from yoloprune.frontends.darknet.state import ConvParameters, State
from yoloprune.frontends.darknet.weights import check_state
from yoloprune.model.layers import (
    ACTIVATION_FUNCTIONS,
    ConvLayer,
    MaxPoolLayer,
    ReorgLayer,
    folded,
)

Transform = Callable[[Layer, Tensor], Tensor]
"""Replaces the output of a layer during a forward pass."""


class Network(nn.Module):
    """A darknet network; `forward` gives the raw maps that its heads read.

    `layers[str(i)]` is the module of layer i where it has parameters or state; shortcuts, routes
    and heads have none.
    """

    def __init__(self, spec: NetworkSpec) -> None:
        super().__init__()
        self.spec = spec
        shapes = layer_shapes(spec)
        self.layers = nn.ModuleDict()
        for layer in spec.layers:
            module = _module(layer, source_shapes(layer, spec, shapes)[0][0])
            if module is not None:
                self.layers[str(layer.index)] = module
        self._free_after = last_reads(spec)

    @classmethod
    def from_state(cls, spec: NetworkSpec, state: State) -> "Network":
        """A network in evaluation mode with these parameters, in their dtype (tensors are copied).

        Raises `WeightsError` unless the state fits the spec exactly.
        """
        check_state(spec, state)
        network = cls._empty(spec, next(iter(state.values())).kernel.dtype, torch.device("cpu"))
        network.load(state)
        return network.eval()

    @classmethod
    def _empty(cls, spec: NetworkSpec, dtype: torch.dtype, device: torch.device) -> "Network":
        with torch.device("meta"):
            network = cls(spec)
        return network.to(dtype=dtype).to_empty(device=device)

    def for_inference(self) -> "Network":
        """A faster copy that computes, to rounding, what this one does in evaluation mode.

        Batch norms are folded into the convolutions (the copy's spec says so), kernels lie in
        channels-last order, and nothing has gradients. Dtype and device stay.
        """
        layers = tuple(
            replace(layer, batch_normalize=False) if isinstance(layer, Conv) else layer
            for layer in self.spec.layers
        )
        kernel = next(self.parameters())
        copy = self._empty(replace(self.spec, layers=layers), kernel.dtype, kernel.device)
        for conv in self.spec.convs:
            copy.load({conv.index: folded(self._parameters_of(conv))})
        # mypy knows no overload of Module.to for a memory format alone.
        copy.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        return copy.eval().requires_grad_(False)

    def load(self, state: State) -> None:
        """Copy parameters in, layer by layer; layers absent from the state keep theirs."""
        with torch.no_grad():
            for index, parameters in state.items():
                for name, tensor in parameters.items():
                    self._tensor(index, name).copy_(tensor)
                norm = self.conv(index).norm
                if norm is not None and norm.num_batches_tracked is not None:
                    norm.num_batches_tracked.zero_()

    def state(self) -> dict[int, ConvParameters]:
        """Copies of all parameters, by layer index."""
        return {
            conv.index: ConvParameters(
                **{name: tensor.clone() for name, tensor in self._parameters_of(conv).items()}
            )
            for conv in self.spec.convs
        }

    def forward(  # (B, C, H, W) -> one (B, anchors x entries, h, w) a head
        self, images: Tensor, transform: Transform | None = None
    ) -> tuple[Tensor, ...]:
        """Raw maps of the heads in order, or the last layer's output if there is no head.

        `transform(layer, output)`, where given, replaces each layer's output.
        """
        outputs: dict[int, Tensor] = {INPUT: images}
        maps: list[Tensor] = []
        for layer in self.spec.layers:
            output = self.run_layer(layer, [outputs[s] for s in layer.sources])
            if transform is not None:
                output = transform(layer, output)
            if isinstance(layer, Head):
                maps.append(output)
            else:
                outputs[layer.index] = output
            for index in self._free_after[layer.index]:
                del outputs[index]
        return tuple(maps) if maps else (outputs[len(self.spec.layers) - 1],)

    def run_layer(self, layer: Layer, inputs: list[Tensor]) -> Tensor:
        """Output of one layer, from those of its sources."""
        match layer:
            case Shortcut():
                total = inputs[0]
                for other in inputs[1:]:
                    total = total + _fitted(other, total.shape[1])
                return ACTIVATION_FUNCTIONS[layer.activation](total)
            case Route():
                if layer.groups > 1:
                    inputs = [x.chunk(layer.groups, dim=1)[layer.group_id] for x in inputs]
                return inputs[0] if len(inputs) == 1 else torch.cat(inputs, dim=1)
            case Upsample():
                return F.interpolate(inputs[0], scale_factor=float(layer.stride), mode="nearest")
            case ScaleChannels() | Sam():
                return ACTIVATION_FUNCTIONS[layer.activation](inputs[1] * inputs[0])
            case Head():
                return inputs[0]
            case _:
                output: Tensor = self.layers[str(layer.index)](inputs[0])
                return output

    def conv(self, index: int) -> ConvLayer:
        """The module of a convolution."""
        module = self.layers[str(index)]
        assert isinstance(module, ConvLayer)
        return module

    def _parameters_of(self, conv: Conv) -> ConvParameters:
        """The parameters themselves, without gradients."""
        names = ["bias", "kernel"]
        if conv.batch_normalize:
            names += ["scale", "mean", "variance"]
        return ConvParameters(**{n: self._tensor(conv.index, n).detach() for n in names})

    def _tensor(self, index: int, name: str) -> Tensor:
        layer = self.conv(index)
        norm = layer.norm
        tensors = {
            "kernel": layer.conv.weight,
            "bias": layer.conv.bias if norm is None else norm.bias,
            "scale": norm and norm.weight,
            "mean": norm and norm.running_mean,
            "variance": norm and norm.running_var,
        }
        tensor = tensors[name]
        assert isinstance(tensor, Tensor)
        return tensor


def _module(layer: Layer, in_channels: int) -> nn.Module | None:
    match layer:
        case Conv():
            return ConvLayer(layer, in_channels)
        case MaxPool():
            return MaxPoolLayer(layer)
        case AvgPool():
            return nn.AdaptiveAvgPool2d(1)
        case Dropout():
            return nn.Dropout(layer.probability)
        case Reorg():
            return ReorgLayer(layer)
        case _:
            return None


def _fitted(x: Tensor, channels: int) -> Tensor:
    """Cut or zero-fill channels, as darknet's shortcut between unequal widths does."""
    if x.shape[1] >= channels:
        return x[:, :channels] if x.shape[1] > channels else x
    return F.pad(x, (0, 0, 0, 0, 0, channels - x.shape[1]))


def last_reads(spec: NetworkSpec) -> dict[int, list[int]]:
    """Which outputs nobody reads after each layer, so that memory is freed during the walk."""
    last = {source: layer.index for layer in spec.layers for source in layer.sources}
    free: dict[int, list[int]] = defaultdict(list)
    final = len(spec.layers) - 1
    for layer in spec.layers:
        if not isinstance(layer, Head) and layer.index != final:
            # An output that nobody reads at all is freed where it was made.
            last.setdefault(layer.index, layer.index)
    for source, reader in last.items():
        free[reader].append(source)
    return free
