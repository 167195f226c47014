from yoloprune.frontends.darknet.names import names_text


def test_a_class_is_a_line_whatever_its_name() -> None:
    assert names_text(["left hand", "a\n\tb", " ", "\u624b"]) == "left hand\na b\n_\n\u624b\n"
    assert names_text([]) == ""
