from yoloprune.report.shown import Result, Shown


class Found(Result):
    """A table of one row and a statement."""

    def shown(self) -> Shown:
        return Shown(
            title="<Found>", summary="all of it", header=("a", "b"), rows=[("<x>", 1)], lines=["y"]
        )


def test_a_result_shows_itself_wherever_it_is_looked_at() -> None:
    assert str(Found()) == "<Found>\n| a | b |\n|---|---:|\n| <x> | 1 |\ny\n"
    assert repr(Found()) == "<Found all of it>"
    page = Found()._repr_html_()
    assert "<caption>&lt;Found&gt;</caption>" in page
    assert "<tr><td>&lt;x&gt;</td><td>1</td></tr>" in page and "<p>y</p>" in page
