"""Making the heads of a network fit a data set: its number of classes, the shapes of its boxes.

The convolution before a head has rows for each anchor: those of a box and its objectness, then one
for each class. The former are taken over, those of other classes are new. Where an anchor changes,
the biases of its width and height change by the logarithm of the ratio: boxes stay where they were.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from yoloprune.data.anchors import (
    AnchorFit,
    Shapes,
    anchor_fit,
    anchor_scale,
    cfg_anchors,
    different_shapes,
    format_anchors,
    network_anchors,
    training_shapes,
)
from yoloprune.data.dataset import Dataset, RawDataset
from yoloprune.data.faults import used_classes
from yoloprune.data.text_files import default_names, shown_names
from yoloprune.errors import CfgError, ClassesError, DatasetError
from yoloprune.frontends.darknet.document import darknet, state
from yoloprune.frontends.darknet.initialization import training_state
from yoloprune.frontends.darknet.lower import lower, parameters
from yoloprune.frontends.darknet.options import Options
from yoloprune.frontends.darknet.spec import (
    Conv,
    GaussianYolo,
    Head,
    NetworkSpec,
    Yolo,
    class_count,
    resized,
    with_option,
)
from yoloprune.frontends.darknet.state import ConvParameters, State
from yoloprune.graph.model import Model
from yoloprune.pruning.weights.masks import WeightMasks

_OF_CLASSES = ("counters_per_class", "map")
"""Options of a head that list something for each class: of other classes they say nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FittedHeads:
    """A network whose heads fit a data set.

    `matching` are the classes whose rows were taken over, new to old; `before` and `after` say how
    well the anchors fit the training boxes.
    """

    network: Model
    matching: Mapping[int, int]
    before: AnchorFit
    after: AnchorFit


def data_classes(raw: RawDataset) -> int:
    """How many classes a data set has: as many as names or, without names, as its labels need.

    Raises `DatasetError` if it has neither names nor objects.
    """
    if (count := len(raw.names or ()) or used_classes(raw)) == 0:
        raise DatasetError(f"{raw.path}: no object and no names: its classes are not known")
    return count


def check_classes(spec: NetworkSpec, raw: RawDataset) -> None:
    """Raise `ClassesError` unless a data set has the network's classes.

    Of a data set without names only labels beyond them are refused: it may have more than it shows.
    """
    classes = class_count(spec)
    if raw.names is not None and len(raw.names) != classes:
        raise ClassesError(
            f"{raw.path}: its classes are {len(raw.names)} ({shown_names(raw.names)}), the "
            f"network's {classes}"
        )
    for image in (image for split in raw.splits.values() for image in split):
        if raw.names is None and len(beyond := np.flatnonzero(image.labels >= classes)):
            raise ClassesError(
                f"{image.places[beyond[0]]}: class {image.labels[beyond[0]]}, but the network's "
                f"classes are {classes} (0 to {classes - 1})"
            )


def fit_heads(
    network: Model, training: Dataset, *, size: tuple[int, int], seed: int = 0
) -> FittedHeads:
    """Give a Darknet network heads for the classes of a data set, and anchors for its boxes.

    `size` is the (height, width) that is trained at. All that does not belong to a class is taken
    over, so that the network finds the same boxes as before. There are as many anchors as before,
    the same ones where the boxes have too few different shapes. Raises `CfgError` for heads that
    cannot be changed, `DatasetError` without boxes.
    """
    document = darknet(network)
    spec = document.spec
    classes = len(training.names)
    wanted = None if training.names == default_names(classes) else training.names
    matching = matching_classes(class_count(spec), document.names, classes, wanted)
    fitted = with_classes(spec, classes)
    fitted_state = with_class_rows(spec, fitted, state(network.parameters), matching, seed=seed)
    shapes = training_shapes(training, size, seed=seed)
    old = network_anchors(spec)
    before = after = anchor_fit(shapes, old)
    if len(old) <= different_shapes(shapes):
        new = cfg_anchors(shapes, len(old), seed=seed)
        moved = with_anchors(fitted, new)
        fitted_state = with_sizes_kept(fitted, moved, fitted_state)
        fitted, after = moved, anchor_fit(shapes, new)
    document = replace(document, spec=fitted, names=wanted, source=())
    made = Model(graph=lower(fitted), parameters=parameters(fitted_state), document=document)
    return FittedHeads(network=made, matching=matching, before=before, after=after)


def matching_classes(
    before: int, names: Sequence[str] | None, now: int, wanted: Sequence[str] | None
) -> dict[int, int]:
    """Which new class is which of the old ones: by name where both are known, else by number.

    Numbers say nothing where there are more or fewer classes than `before`.
    """
    if names is None or wanted is None:
        return {index: index for index in range(now)} if now == before else {}
    # Of equal names the first counts.
    old = {_plain(name): index for index, name in reversed(list(enumerate(names)))}
    found = {index: old.get(_plain(name)) for index, name in enumerate(wanted)}
    return {index: source for index, source in found.items() if source is not None}


def with_classes(spec: NetworkSpec, classes: int) -> NetworkSpec:
    """The network with heads of this many classes, and as many filters before them as they need.

    Raises `CfgError` if a head of another number does not read a convolution of its own.
    """
    class_count(spec)
    layers = list(spec.layers)
    for head in spec.heads:
        if head.classes == classes:
            continue
        kept = tuple(o for o in head.section.options if o.key not in _OF_CLASSES)
        section = replace(head.section, options=with_option(kept, "classes", str(classes)))
        changed = replace(head, classes=classes, section=section)
        conv = _own_conv(spec, head)
        layers[head.index] = changed
        layers[conv.index] = resized(conv, filters=changed.channels, groups=1)
    return replace(spec, layers=tuple(layers))


def with_class_rows(
    spec: NetworkSpec,
    fitted: NetworkSpec,
    state: State,
    matching: Mapping[int, int],
    *,
    seed: int = 0,
) -> dict[int, ConvParameters]:
    """Parameters of `with_classes(spec, ...)`: new rows for all classes but the `matching` ones.

    New rows start as in `training_state`; `matching` maps new classes to old ones.
    """
    result = dict(state)
    fresh = training_state(fitted, seed=seed)
    for head, changed in zip(spec.heads, fitted.heads, strict=True):
        if changed.classes == head.classes and all(
            matching.get(c) == c for c in range(head.classes)
        ):
            continue
        index = _own_conv(spec, head).index
        rows = dict(state[index].items())
        merged = {
            name: _merged(head, rows[name], tensor, matching)
            for name, tensor in fresh[index].items()
        }
        result[index] = ConvParameters(**merged)
    return result


def with_anchors(spec: NetworkSpec, anchors: Shapes) -> NetworkSpec:
    """The network with other anchors (K, 2), as many as `network_anchors` finds, by rising area.

    Each takes the place of the old one of the same rank, so the heads share them as before.
    """
    before = [(width, height) for width, height in network_anchors(spec).tolist()]
    new = dict(zip(before, map(tuple, anchors.tolist()), strict=True))
    layers = list(spec.layers)
    for head in spec.heads:
        scale = anchor_scale(spec, head)
        numbers = Options(head.section, head.index, "cfg").reals("anchors")
        listed = zip(numbers[::2], numbers[1::2], strict=True)
        text = format_anchors([_moved(pair, new, scale) for pair in listed])
        options = with_option(head.section.options, "anchors", text)
        layers[head.index] = replace(
            head,
            anchors=tuple(_moved(pair, new, scale) for pair in head.anchors),
            section=replace(head.section, options=options),
        )
    return replace(spec, layers=tuple(layers))


def with_sizes_kept(
    spec: NetworkSpec, moved: NetworkSpec, state: Mapping[int, ConvParameters]
) -> dict[int, ConvParameters]:
    """Parameters with which a network predicts the same boxes from other anchors.

    A box is exp(t) times its anchor, so that t changes by the logarithm of the ratio. Heads that
    take squares (`new_coords`), or whose convolution is not linear, keep their rows.
    """
    result = dict(state)
    for head, other in zip(spec.heads, moved.heads, strict=True):
        conv = spec.layers[head.sources[0]]
        squares = isinstance(head, Yolo) and head.new_coords
        # An anchor of 0 predicts no size at all.
        sizes = np.array((head.anchors, other.anchors))
        if (
            not isinstance(conv, Conv)
            or conv.activation != "linear"
            or squares
            or (sizes <= 0).any()
        ):
            continue
        rows = dict(state[conv.index].items())
        bias = rows["bias"].clone().reshape(len(head.anchors), -1)
        shift = torch.from_numpy(np.log(sizes[0] / sizes[1])).to(bias.dtype)  # (A, 2)
        step = 2 if isinstance(head, GaussianYolo) else 1
        first = 4 if isinstance(head, GaussianYolo) else 2
        bias[:, first : first + 2 * step : step] += shift
        result[conv.index] = ConvParameters(**rows | {"bias": bias.reshape(-1)})
    return result


def with_masks(network: Model, fitted: Model, masks: WeightMasks) -> WeightMasks:
    """Weight masks of a network for the one with fitted heads.

    Convolutions that got new rows are dense: nothing is known of those yet.
    """
    before, now = network.graph.parameters, fitted.graph.parameters
    kept = {name: m for name, m in masks.kept.items() if before[name].shape == now[name].shape}
    return replace(masks, graph_digest=fitted.graph.digest(), kept=kept)


def _own_conv(spec: NetworkSpec, head: Head) -> Conv:
    """The convolution that a head alone reads; raises `CfgError` if there is none."""
    source = head.sources[0]
    layer = spec.layers[source] if source >= 0 else None
    if not isinstance(layer, Conv):
        what = "the image" if layer is None else layer.title
        raise CfgError(
            f"{head.title} reads {what}, not a convolution: its classes cannot be changed"
        )
    others = [other.title for other in spec.layers if source in other.sources and other is not head]
    if others:
        raise CfgError(
            f"{layer.title} is read by {head.title} and by {others[0]}: "
            "its classes cannot be changed"
        )
    if layer.groups != 1:
        raise CfgError(
            f"{layer.title} before {head.title} has groups={layer.groups}: "
            "its classes cannot be changed"
        )
    return layer


def _plain(name: str) -> str:
    return name.strip().casefold()


def _moved(
    pair: tuple[float, float], new: Mapping[tuple[float, float], Sequence[float]], scale: float
) -> tuple[float, float]:
    """The anchor in the place of another, in the same units, with the digits that a cfg gets."""
    # One that no head uses stands for no prediction and stays.
    if (found := new.get((pair[0] * scale, pair[1] * scale))) is None:
        return pair
    width, height = (float(f"{side / scale:g}") for side in found)
    return width, height


def _merged(head: Head, old: Tensor, new: Tensor, matching: Mapping[int, int]) -> Tensor:
    """Rows of a head's convolution: the old ones where they mean the same, (A (E + C), ...)."""
    anchors, box = len(head.anchors), head.box_entries
    before = old.reshape(anchors, -1, *old.shape[1:])
    merged = new.to(old.dtype).reshape(anchors, -1, *new.shape[1:]).clone()
    merged[:, :box] = before[:, :box]
    for index, source in matching.items():
        merged[:, box + index] = before[:, box + source]
    return merged.reshape(new.shape)
