import pytest
import torch
from torch import nn

from tests.frontends.torch.test_read import _Net
from tests.modules import noisy
from yoloprune.errors import UsageError
from yoloprune.frontends.torch.document import (
    ModuleDocument,
    converted,
    in_dtype,
    shared,
    unchanged,
    write_numbers,
)  # fmt: skip
from yoloprune.frontends.torch.read import read
from yoloprune.graph.edits import Edits, Task
from yoloprune.pruning.cut import removal
from yoloprune.pruning.groups import analyze


def test_a_document_of_edits_has_the_sliced_module_and_reads_and_writes_its_numbers() -> None:
    module = noisy(_Net())
    network = read(module, torch.rand(1, 3, 5, 4), outputs=lambda found: found[0])
    graph = analyze(network.graph)
    (group,) = graph.prunable
    edits = removal(graph, graph.kept({group.id: (0, 2, 5)}))
    slim = network.edited(edits)
    document = slim.document
    assert isinstance(document, ModuleDocument)
    kept = [0, 2, 5]
    assert torch.equal(document.module.row.weight, module.row.weight[:, kept])
    assert torch.equal(document.module.block.bn.running_var, module.block.bn.running_var[kept])
    assert document.module.row.in_features == 3
    assert (document.title, document.names, document.suffix) == ("_Net-slim", None, ".safetensors")
    assert module.row.in_features == 6
    assert document.numbers(slim.parameters) == {}
    found = document.parameters(document.module)
    assert all(torch.equal(found[name], own) for name, own in slim.parameters.items())
    doubled = {name: own * 2 for name, own in slim.parameters.items()}
    other = document.holding(doubled)
    assert torch.equal(other.row.weight, module.row.weight[:, kept] * 2)
    assert torch.equal(document.module.row.weight * 2, other.row.weight)
    assert next(row.type for row in document.layers(slim.graph)) == "Conv"
    task = Edits(arrays={}, constants={}, attributes={}, task=Task(classes=(0,), outputs={}))
    with pytest.raises(UsageError, match="the classes of a module are in its own code"):
        document.applied(task)


def test_what_is_set_meanwhile_is_gone_afterwards() -> None:
    module = _Net()
    module.seen = [1]
    kernel = module.row.weight
    with pytest.raises(ZeroDivisionError), unchanged(module) as own:
        own.row.weight = nn.Parameter(torch.zeros(1))
        own.row.in_features, own.other = 1, torch.zeros(2)
        own.seen.append(2)
        raise ZeroDivisionError
    assert module.row.weight is kernel and module.row.in_features == 6
    assert module.seen == [1] and not hasattr(module, "other")


def test_copies_share_tensors_or_hold_them_in_another_dtype() -> None:
    module = noisy(_Net())
    module.gain = torch.ones(2)
    copy = shared(module)
    assert copy is not module and copy.row.weight is module.row.weight
    double = in_dtype(module, torch.float64)
    assert double.gain.dtype == double.row.weight.dtype == torch.float64
    assert module.gain.dtype == torch.float32
    assert converted(3, torch.float64) == 3
    write_numbers(copy, {"row.bias": torch.zeros(4)})
    assert not module.row.bias.any()
