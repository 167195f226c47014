"""Out of memory: recognize it."""

CPU_PHRASES = (
    "allocate memory",
    "std::bad_alloc",
    # oneDNN, which does not say why: its code and scratchpad come from the same memory.
    "could not create a primitive",
    "could not create a memory object",
    "could not execute a primitive",
)
"""On a CPU torch raises a RuntimeError, known by its text alone."""

_OPENCV_NO_MEMORY = -4
"""cv2.Error.StsNoMem."""


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an exception says that memory, of a GPU or of the machine, did not suffice."""
    # By name, as importing torch for it takes seconds: torch.OutOfMemoryError.
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    if type(error).__module__ == "cv2":
        return getattr(error, "code", None) == _OPENCV_NO_MEMORY
    return isinstance(error, RuntimeError) and any(text in str(error) for text in CPU_PHRASES)
