"""What can go wrong, as one tree.

YoloPruneError
├── UsageError          settings that make no sense, or not together
├── CfgError            a .cfg that cannot be read, or asks for something unknown
├── WeightsError        a .weights file that does not fit its network
├── GraphError          nodes and values that do not make a graph
│   └── UntoldShapeError    a shape that no rule tells: it is known when the network runs
├── PlanError           a budget that cannot be met, a plan of another network
├── VerificationError   the slim network does not compute what the masked one does
├── DatasetError        images or labels that cannot be used
│   ├── ClassesError    labels of other classes than the network's
│   └── FaultyDataError annotations that cannot be read or are missing, which may be allowed
├── CheckpointError     a training checkpoint that cannot be continued
├── RunError            a run that cannot go on, or not now: its folder is in use, a process died
└── MissingDependencyError  an optional package that is not installed

Each message says what was found, where (file, line, layer), and what to do.
The command line prints it as one line and exits with code 2.
"""


class YoloPruneError(Exception):
    """Base of every error that a user's input can cause."""


class UsageError(YoloPruneError):
    """Settings that make no sense, or not together."""


class CfgError(YoloPruneError):
    """A .cfg file that is malformed, inconsistent or uses an unsupported feature."""


class WeightsError(YoloPruneError):
    """A .weights file that is damaged or belongs to another network."""


class GraphError(YoloPruneError):
    """Nodes that read what nothing gives, or names that are given twice."""


class UntoldShapeError(GraphError):
    """A value whose shape no operator's rule tells beforehand."""


class PlanError(YoloPruneError):
    """A pruning budget that cannot be met, or a plan that does not fit the network."""


class VerificationError(YoloPruneError):
    """The slim network differs from the masked network it must equal."""


class DatasetError(YoloPruneError):
    """Images or labels that are missing, unreadable or malformed."""


class FaultyDataError(DatasetError):
    """Annotations that cannot be read, or that most images do not have: refused unless allowed."""


class ClassesError(DatasetError):
    """A data set whose classes are not as many as the network tells apart."""


class CheckpointError(YoloPruneError):
    """A training checkpoint that is damaged or belongs to another run."""


class RunError(YoloPruneError):
    """A run that cannot go on, or not now: its folder is in use, one of its processes died."""


class MissingDependencyError(YoloPruneError):
    """An optional package that is not installed, or cannot be imported."""
