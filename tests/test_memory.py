import cv2
import numpy as np
import pytest
import torch

from yoloprune.memory import CPU_PHRASES, is_out_of_memory


def test_python_and_torch_say_it_by_the_kind_of_their_errors() -> None:
    assert is_out_of_memory(MemoryError())
    assert is_out_of_memory(torch.OutOfMemoryError("CUDA out of memory."))
    assert not is_out_of_memory(RuntimeError("shapes differ"))
    assert not is_out_of_memory(ValueError(CPU_PHRASES[0]))


def test_torch_s_own_words_on_a_cpu_are_known() -> None:
    with pytest.raises(RuntimeError) as caught:
        torch.empty(1 << 60, dtype=torch.uint8)
    assert is_out_of_memory(caught.value)


def test_opencv_says_it_by_a_number() -> None:
    with pytest.raises(cv2.error) as caught:
        cv2.resize(np.zeros((0, 0), np.uint8), (1, 1))
    assert not is_out_of_memory(caught.value)
    caught.value.code = cv2.Error.StsNoMem
    assert is_out_of_memory(caught.value)
