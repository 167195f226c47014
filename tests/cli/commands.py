"""Running the command line in tests."""

from typer.testing import CliRunner, Result

from yoloprune.cli.main import app


def run(*arguments: object) -> Result:
    """Run `yoloprune` with these arguments."""
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def refused(*arguments: object) -> str:
    """The one line with which `yoloprune` refuses these arguments with exit code 2."""
    result = run(*arguments)
    assert result.exit_code == 2, (result.exit_code, result.output, result.exception)
    lines = [line for line in result.stderr.splitlines() if line.strip()]
    assert len(lines) == 1, lines
    assert lines[0].startswith("error: ")
    return lines[0].removeprefix("error: ")
