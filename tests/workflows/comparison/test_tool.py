from yoloprune.workflows.comparison.foreign import elsewhere
from yoloprune.workflows.comparison.onnxsim import thin
from yoloprune.workflows.comparison.tool import Tool


def test_only_modules_that_are_not_installed_are_missing() -> None:
    tool = Tool(name="t", about="", make=elsewhere(thin), modules=("json", "not_there", "torch"))
    assert tool.missing == ("not_there",)
