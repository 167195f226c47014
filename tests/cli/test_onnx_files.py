"""Commands that take an ONNX file, and those that say that they do not."""

import json
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest

from tests.cli.commands import refused, run
from tests.color_detector import BLUE_OBJECT, GREEN_OBJECT, paint, write_labels
from tests.color_onnx import color_onnx


def test_from_the_file_to_a_verified_folder(net: Path, tmp_path: Path) -> None:
    photos, out = tmp_path / "photos", tmp_path / "slim"
    photos.mkdir()
    for number, photo in enumerate(np.random.default_rng(0).integers(0, 256, (3, 20, 20, 3))):
        cv2.imwrite(str(photos / f"{number}.png"), photo)
    assert "network output y" in run("inspect", net).stdout
    assert json.loads(run("inspect", net, "--json").stdout)["groups"][0]["producers"] == [
        "first", "second"
    ]  # fmt: skip
    pruning = run("prune", net, "--keep-macs", 0.6, "--reconstruct", photos, "--out", out)
    assert pruning.exit_code == 0, pruning.output
    assert "wrote " in pruning.stdout and "slim.onnx, plan.json, report.json" in pruning.stdout
    assert "relative to how much they vary" in pruning.stdout
    assert "(RGB in [0, 1], 16x16 by letterbox)" in (out / "report.md").read_text()
    assert "verified" in run("verify", net, out).stdout
    again = run("reconstruct", net, out, "--images", photos, "--recalibrate")
    assert again.exit_code == 0, again.output
    timed = run("benchmark", net, out, "--engine", "onnxruntime", "--runs", 2, "--json")
    assert len(json.loads(timed.stdout)["networks"]) == 2


@pytest.mark.parametrize(
    "words",
    [
        ("iterate", "--data", "data", "--keep-macs", 0.5, "--out", "out"),
        ("prune", "--keep-macs", 0.5, "--criterion", "taylor", "--images", "data", "--out", "out"),
    ],
)
def test_what_cannot_take_an_onnx_file_says_so(
    words: tuple[str, ...], net: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()
    cv2.imwrite(str(tmp_path / "data" / "a.png"), np.zeros((16, 16, 3), np.uint8))
    command, *options = words
    assert "net: a Darknet network (.cfg and .weights) is needed" in refused(command, net, *options)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data", "net.onnx"]


def test_zeros_are_written_packed_and_expanded(net: Path, tmp_path: Path) -> None:
    out = tmp_path / "sparse"
    found = run("sparsify", net, "--sparsity", 0.5, "--out", out)
    assert "sparse.onnx, sparse.packed, masks.json, report.json" in found.stdout, found.output
    expanded = tmp_path / "expanded.onnx"
    assert run("expand", net, out / "sparse.packed", "--out", expanded).exit_code == 0
    assert expanded.read_bytes() == (out / "sparse.onnx").read_bytes()
    assert run("inspect", out).exit_code == 0
    timed = run("benchmark", out, "--sparse", "--runs", 1, "--warmup", 0)
    assert "convolutions skip zeros" in timed.stdout, timed.output


def test_options_of_darknet_networks_are_refused(net: Path, tmp_path: Path) -> None:
    prune = ("prune", net, "--keep-macs", 0.6, "--out", tmp_path / "slim")
    assert "--onnx goes with a Darknet network" in refused(*prune, "--onnx")
    run(*prune)
    folder = tmp_path / "slim"
    message = refused("finetune", folder, "--teacher", folder, "--data", "d", "--out", "o")
    assert "slim.onnx: --teacher takes a Darknet pair" in message
    (tmp_path / "bad.onnx").write_bytes(b"\xff" * 50)
    for command in ("inspect", "benchmark"):
        assert "bad.onnx: this is no ONNX file" in refused(command, tmp_path / "bad.onnx")


@pytest.fixture
def painted(tmp_path: Path) -> Path:
    """Ten labeled images of 32 x 32 pixels: a green object, or a blue one, elsewhere in each."""
    folder = tmp_path / "painted"
    for number in range(10):
        place, color = divmod(number, 4), (GREEN_OBJECT, BLUE_OBJECT)[number % 2]
        paint(folder / "images" / f"{number}.png", (32, 32), {place: color})
        write_labels(folder / "labels" / f"{number}.txt", (32, 32), [(*place, number % 2)])
    return folder


@pytest.fixture
def detector(tmp_path: Path) -> Path:
    onnx.save_model(color_onnx(), tmp_path / "detector.onnx")
    return tmp_path / "detector.onnx"


def test_a_foreign_detector_is_evaluated(detector: Path, painted: Path) -> None:
    found = run("evaluate", detector, "--data", painted)
    assert found.exit_code == 0, found.output
    assert "read as BGR in [0, 255], 32x32 by corner; decoder yolox-raw" in found.stdout
    document = json.loads(run("evaluate", detector, "--data", painted, "--json").stdout)
    assert document["onnx"] == str(detector) and "weights" not in document
    assert document["evaluations"][0]["map50"] == 1
    assert document["decoder"] == "yolox-raw"
    assert document["preprocess"]["order"] == "bgr" and document["preprocess"]["scale"] == 1
    plain = ("--preprocess", "plain,order=bgr,scale=1")
    again = json.loads(run("evaluate", detector, "--data", painted, "--json", *plain).stdout)
    assert again["evaluations"] == document["evaluations"]
    dead = run("evaluate", detector, "--data", painted, "--preprocess", "plain", "--quiet")
    assert dead.stderr.startswith("warning: given RGB in [0, 1], 32x32 by stretch, the network is")
    assert "but not with --preprocess yolox or yunet" in dead.stderr
    words = refused("evaluate", detector, "--data", painted, "--preprocess", "order=grb")
    assert "--preprocess: order 'grb' is unknown (known: rgb, bgr)" in words
    words = refused("evaluate", detector, "--data", painted, "--decoder", "yolox9")
    assert "detector: --decoder 'yolox9' is unknown (known: yoloprune, yunet, " in words


def test_what_a_foreign_detector_finds_is_drawn(
    detector: Path, painted: Path, tmp_path: Path
) -> None:
    out, names = tmp_path / "out", tmp_path / "two.names"
    names.write_text("leaf\nsky\n")
    found = run("detect", detector, painted / "images", "--out", out, "--names", names)
    assert found.exit_code == 0, found.output
    document = json.loads((out / "detections.json").read_text())
    assert document["onnx"] == str(detector) and document["decoder"] == "yolox-raw"
    objects = [entry["detections"] for entry in document["images"]]
    assert [len(each) for each in objects] == [1] * 10
    assert [each[0]["name"] for each in objects] == ["leaf", "sky"] * 5
    assert run("detect", detector, detector, painted / "images", "--out", out).exit_code == 0
    both = json.loads((out / "detections.json").read_text())
    assert both["compared_with"] == [str(detector)]
    assert all(entry["compared"]["both"] == 1 for entry in both["images"])


@pytest.fixture
def wide(tmp_path: Path) -> Path:
    """The detector, whose head alone has parameters, behind a convolution with channels to lose."""
    proto = color_onnx()
    eye = np.vstack([np.eye(3), np.full((5, 3), 1e-3)]).astype(np.float32)[:, :, None, None]
    proto.graph.initializer.append(onnx.numpy_helper.from_array(eye, "eye"))
    for tensor in proto.graph.initializer:
        if tensor.name.startswith("kernel"):
            wide = np.pad(onnx.numpy_helper.to_array(tensor), ((0, 0), (0, 5), (0, 0), (0, 0)))
            tensor.CopyFrom(onnx.numpy_helper.from_array(wide, tensor.name))
    for node in proto.graph.node:
        if node.op_type == "Conv":
            node.input[0] = "wide"
    proto.graph.node.insert(0, onnx.helper.make_node("Conv", ["x", "eye"], ["wide"], name="stem"))
    onnx.save_model(proto, tmp_path / "wide.onnx")
    return tmp_path / "wide.onnx"


def test_tools_are_compared_by_map(wide: Path, painted: Path, tmp_path: Path) -> None:
    out, data = tmp_path / "out", ("--data", painted, "--split", "all")
    options = ("--budgets", "0.8,0.6", "--tools", "ours,l2", "--runs", 1)
    others = tmp_path / "others"
    for number in range(2):
        paint(others / f"{number}.png", (32, 32), {(3, 3): (GREEN_OBJECT, BLUE_OBJECT)[number]})
    learned = ("--images", others, "--calibration-images", 2)
    found = run("compare", wide, *options, *data, *learned, "--out", out)
    assert found.exit_code == 0, found.output
    assert "mAP on 10 all images" in " ".join(found.stdout.split())
    assert "wrote " in found.stdout and "ours: scored and re-fitted on the images" in found.stdout
    document = json.loads((out / "compare.json").read_text())
    assert document["dense"]["map50"] == document["rows"][1]["map50"] == 1
    assert [row["exact"] for row in document["rows"]] == ["yes, then re-fitted", "yes"] * 2
    assert run("evaluate", out / "l2-0.6", "--data", painted).exit_code == 0
    assert "choose another" in refused("compare", wide, *options, "--out", out)
    again = ("compare", wide, *options, *data, "--images", painted)
    assert "all of its 10 images are measured on" in refused(*again)
    assert "--budgets 'much' is no fraction" in refused("compare", wide, "--budgets", "much")
    assert "--tools 'theirs' is not known" in refused("compare", wide, "--tools", "theirs")
    quiet = run("compare", wide, *options, "--quiet").stdout
    assert quiet.startswith("wide: best are ") and quiet.count("\n") == 1


def test_a_foreign_detector_goes_in_steps(wide: Path, painted: Path, tmp_path: Path) -> None:
    out, images = tmp_path / "steps", ("--images", painted / "images", "--calibration-images", 8)
    command = ("iterate", wide, *images, "--out", out, "--keep-macs", 0.7, "--step", 0.2)
    judged = ("--data", painted, "--val-split", "all", "--round-to", 1)
    found = run(*command, *judged, "--map-floor", 0.5)
    assert found.exit_code == 0, found.output
    assert "best.onnx is the last good network, of step 2" in found.stdout
    document = json.loads(run(*command, *judged, "--resume", "--json").stdout)
    assert [step["map50"] for step in document["steps"]] == [1, 1, 1]
    assert document["steps"][2]["kept"] <= 0.7
    assert "verified" in run("verify", wide, out / "step-01").stdout
    assert "verified" in run("verify", out / "step-01", out / "step-02").stdout
    assert run("inspect", out).stdout.startswith("steps")
    assert "give --resume" in refused(*command, *judged)
    assert "--map-floor needs --data" in refused(*command, "--map-floor", 0.5)
    assert "--error-ceiling is for runs without" in refused(*command, *judged, "--error-ceiling", 1)
    assert "--hold-out goes with training" in refused(*command, "--hold-out", 0.1)
    assert "give --data to fine-tune on, or --images" in refused("iterate", wide, *command[-6:])
    alone = ("iterate", wide, *command[-6:], "--data", painted, "--decoder", "yolox")
    assert "go with --images alone" in refused(*alone)


def test_the_report_of_a_foreign_detector_shows_both_networks(
    wide: Path, painted: Path, tmp_path: Path
) -> None:
    out = tmp_path / "slim"
    run("prune", wide, "--keep-macs", 0.7, "--round-to", 1, "--out", out)
    words = ("report", wide, out, "--data", painted, "--split", "all")
    found = run(*words)
    assert found.exit_code == 0, found.output
    assert "mAP@0.5 (coco)" in found.stdout and f"wrote {out / 'report.html'}" in found.stdout
    page = (out / "report.html").read_text()
    # One image on which both networks find the object; nothing was lost on any other.
    assert page.count("Original: 1 of 1 found") == page.count("Pruned: 1 of 1 found") == 1
    assert "nodes of the graph, in order" in page and "protocol coco" in page
    assert "under the same names" in page and "decoder yolox" in page
    # The other files are those of prune, which verify reads.
    assert "verified" in run("verify", wide, out).stdout
    assert run(*words, "--quiet").stdout.count("\n") == 1
    unlabeled = run("report", wide, out, "--images", painted / "images", "--json")
    assert json.loads(unlabeled.stdout)["rows"][1]["map50_coco"] is None
    assert "Ground truth" not in (out / "report.html").read_text()
    assert "not both" in refused(*words, "--images", painted)
    assert "has its own data" in refused("report", out, "--data", painted)
    run("prune", wide, "--keep-macs", 0.8, "--round-to", 1, "--out", out)
    assert not (out / "report.html").exists()


def test_a_foreign_detector_is_swept_by_map(wide: Path, painted: Path, tmp_path: Path) -> None:
    options = ("--data", painted, "--split", "all", "--keep-macs", 0.6, "--round-to", 1)
    found = run("sweep", wide, *options, "--out", tmp_path / "out", "--json")
    assert found.exit_code == 0, found.output
    document = json.loads(found.stdout)
    assert document["measure"] == "mAP@0.5 (coco)" and document["dense"] == 1
    points = {point["criterion"]: point for point in document["points"]}
    assert points["l2"]["accuracy"] == 1
    assert "bn-scale" not in points
    assert document["decoder"] == "yolox-raw" and document["preprocess"]["order"] == "bgr"


def test_what_no_decoder_knows_is_swept_by_its_outputs(
    net: Path, painted: Path, tmp_path: Path
) -> None:
    options = ("--data", painted, "--keep-macs", 0.9, 0.5, "--criterion", "l2")
    found = run("sweep", net, *options, "--round-to", 1, "--out", tmp_path / "out")
    assert found.exit_code == 0, found.output
    assert "warning: net: no decoder is known for its outputs: judged by how far" in found.stderr
    assert "error at the outputs on 1 unlabeled image as pruned; dense 0.0000" in found.stdout
    document = json.loads((tmp_path / "out" / "sweep.json").read_text())
    assert document["measure"] == "error at the outputs"
    first, second = (point["error"] for point in document["points"])
    assert 0 < first < second
    scored = ("--criterion", "reconstruction", "--calibration-images", 8)
    assert run("sweep", net, *options, *scored).exit_code == 0
    words = refused("sweep", net, *options, "--split", "test")
    assert "net: --split goes with labels" in words.splitlines()[-1]
    assert "--decoder yolox reads " in refused("sweep", net, *options, "--decoder", "yolox")
    assert "net: no decoder is known" in refused("evaluate", net, "--data", painted)


def test_how_images_were_read_stands_in_the_report(
    detector: Path, net: Path, painted: Path, tmp_path: Path
) -> None:
    out = tmp_path / "slim"
    stated = ("--preprocess", "plain,mean=0.5,std=0.25")
    found = run("prune", net, "--keep-macs", 0.6, "--reconstruct", painted / "images", *stated,
                "--out", out)  # fmt: skip
    assert found.exit_code == 0, found.output
    report = json.loads((out / "report.json").read_text())
    assert report["settings"]["preprocess"] == stated[1]
    assert report["recovery"]["read_as"] == "RGB in [-2, 2], 16x16 by stretch"
    assert report["recovery"]["preprocess"]["mean"] == [0.5]
    again = run("reconstruct", net, out, "--images", painted / "images", "--preprocess", "yolox")
    assert again.exit_code == 0, again.output
    assert "BGR in [0, 255], 16x16 by corner" in (out / "report.md").read_text()
    verified = run("verify", net, out, "--images", painted / "images", "--preprocess", "yolox")
    assert verified.exit_code == 0, verified.output
