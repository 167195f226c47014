import pytest
import torch

from yoloprune.detection.decoders.grids import grid, strides_of


@pytest.mark.parametrize(
    ("boxes", "per_cell", "strides"),
    [
        # 8 x 12, 4 x 6 and 2 x 3 cells; 1 x 2 of stride 64.
        (126, 1, (8, 16, 32)),
        (378, 3, (8, 16, 32)),
        (128, 1, (8, 16, 32, 64)),
        (30, 1, (16, 32)),
        (125, 1, None),
        (126, 3, None),
    ],
)
def test_strides_are_known_by_the_number_of_boxes(
    boxes: int, per_cell: int, strides: tuple[int, ...] | None
) -> None:
    assert strides_of((64, 96), boxes, per_cell=per_cell) == strides


def test_cells_come_head_by_head_and_row_by_row() -> None:
    # 40 pixels are three cells of 16, the last cut.
    cells, widths = grid((32, 40), (16, 32), torch.zeros(1, dtype=torch.float64))
    assert cells.tolist() == [[0, 0], [1, 0], [2, 0], [0, 1], [1, 1], [2, 1], [0, 0], [1, 0]]
    assert widths.flatten().tolist() == [16] * 6 + [32] * 2
    assert cells.dtype == widths.dtype == torch.float64
