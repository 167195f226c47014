import json
import os
import shutil
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.cli.commands import refused, run
from tests.color_detector import BLUE_OBJECT, GREEN_OBJECT, color_spec, color_state, paint
from yoloprune.data import videos
from yoloprune.data.annotated import annotated_paths
from yoloprune.data.images import read_image
from yoloprune.errors import DatasetError
from yoloprune.frontends.darknet.parser import write_cfg
from yoloprune.frontends.darknet.weights import write_weights
from yoloprune.workflows import detect as workflow

SIZE = (256, 256)
CELL = SIZE[0] // 4


@pytest.fixture
def images(tmp_path: Path) -> Path:
    folder = tmp_path / "images"
    paint(folder / "a.png", SIZE, {(1, 0): GREEN_OBJECT, (2, 3): BLUE_OBJECT}, cell=64)
    paint(folder / "b.webp", SIZE, {}, cell=64)
    return folder


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    """Three frames, a tenth of a second each: a green object moves to the right."""
    path = tmp_path / "clip.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 10, SIZE)
    for column in range(3):
        writer.write(frame(column)[:, :, ::-1])
    writer.release()
    return path


def frame(column: int) -> np.ndarray:
    image = np.zeros((*SIZE, 3), np.uint8)
    image[CELL : 2 * CELL, column * CELL : (column + 1) * CELL] = GREEN_OBJECT
    return image


def half_blind(folder: Path) -> Path:
    """The detector of painted cells as `prune` would leave it, blind to class 1."""
    state = color_state()
    state[0].bias[6] = -100
    folder.mkdir()
    write_cfg(folder / "slim.cfg", color_spec())
    write_weights(folder / "slim.weights", color_spec(), state)
    return folder


def frames_of(path: Path) -> list[np.ndarray]:
    capture, found = cv2.VideoCapture(str(path)), []
    while (read := capture.read())[0]:
        found.append(read[1])
    return found


def test_a_folder_is_drawn_and_listed(
    network: tuple[Path, Path], images: Path, tmp_path: Path
) -> None:
    names = tmp_path / "hands.names"
    names.write_text("left\nright\n")
    out = tmp_path / "out"
    result = run("detect", *network, images, "--out", out, "--names", names, "--json", "--quiet")
    assert result.exit_code == 0, result.output
    report = json.loads(result.stdout)
    assert report == json.loads((out / "detections.json").read_text())
    assert report["names"] == ["left", "right"]
    first, second = report["images"]
    assert (first["annotated"], second["annotated"]) == ("a.png", "b.jpg")
    assert (first["width"], first["height"], second["detections"]) == (256, 256, [])
    found = sorted(first["detections"], key=lambda entry: entry["class"])
    assert [entry["box"] for entry in found] == [[0, 64, 64, 128], [192, 128, 256, 192]]
    assert [entry["name"] for entry in found] == ["left", "right"]
    assert [entry["score"] for entry in found] == pytest.approx([0.999909] * 2)
    assert sorted(p.name for p in out.iterdir()) == [
        "a.png", "b.jpg", "detections.csv", "detections.json"
    ]  # fmt: skip
    drawn, original = read_image(out / "a.png"), read_image(images / "a.png")
    assert drawn.shape == original.shape
    assert not np.array_equal(drawn, original)


def test_a_table_for_people(network: tuple[Path, Path], images: Path, tmp_path: Path) -> None:
    result = run("detect", *network, images / "a.png", "--out", tmp_path / "out")
    assert result.exit_code == 0, result.output
    assert "class 1" in result.stdout
    assert "1 image, 2 objects" in result.stdout


def test_the_threshold_decides(network: tuple[Path, Path], images: Path, tmp_path: Path) -> None:
    result = run("detect", *network, images, "--out", tmp_path / "out", "--threshold", 0.99999)
    assert result.exit_code == 0
    assert "2 images, 0 objects" in result.stdout


def test_a_second_run_leaves_the_pictures_of_the_first_alone(
    network: tuple[Path, Path], images: Path
) -> None:
    for _ in range(2):
        result = run("detect", *network, images, "--out", images / "drawn")
        assert "2 images" in result.stdout
    assert len(list((images / "drawn").iterdir())) == 4


def test_an_image_is_never_replaced(
    network: tuple[Path, Path], images: Path, tmp_path: Path
) -> None:
    with pytest.raises(DatasetError, match="choose another folder"):
        annotated_paths([tmp_path / "a.jpg"], tmp_path)
    before = (images / "a.png").read_bytes()
    assert "would replace" in refused("detect", *network, images, "--out", images)
    assert (images / "a.png").read_bytes() == before


def test_detections_are_a_table_too(
    network: tuple[Path, Path], images: Path, clip: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    assert run("detect", *network, images / "a.png", clip, "--out", out).exit_code == 0
    header, *rows = (out / "detections.csv").read_text().splitlines()
    assert header == "file,frame,seconds,network,class,name,score,left,top,right,bottom"
    a = f"{images / 'a.png'},,,net"
    assert sorted(rows) == sorted(
        [f"{a},0,class 0,0.999909,0.0,64.0,64.0,128.0",
         f"{a},1,class 1,0.999909,192.0,128.0,256.0,192.0"]
        + [row for row in rows if row.startswith(str(clip))]
    )  # fmt: skip
    assert [row.split(",")[1:3] for row in rows[2:]] == [["0", "0.0"], ["1", "0.1"], ["2", "0.2"]]


def test_sources_of_every_kind_together(
    network: tuple[Path, Path], images: Path, clip: Path, tmp_path: Path
) -> None:
    paint(tmp_path / "more" / "deep" / "c.jpg", SIZE, {(0, 0): GREEN_OBJECT}, cell=64)
    (tmp_path / "more" / "deep" / "c.txt").write_text("")
    (tmp_path / "list.txt").write_text("images/b.webp\nimages/a.png\n")
    pattern = tmp_path / "more" / "**" / "c.*"
    out = tmp_path / "out"
    result = run("detect", *network, images / "a.png", tmp_path / "list.txt", pattern, clip,
                 "--out", out, "--quiet")  # fmt: skip
    assert result.exit_code == 0, result.output
    assert "3 images, 3 frames, 6 objects" in result.stdout
    written = sorted(path.relative_to(out).as_posix() for path in out.rglob("*.*"))
    assert written == [
        "clip.mp4", "detections.csv", "detections.json", "images/a.png", "images/b.jpg",
        "more/deep/c.jpg",
    ]  # fmt: skip
    few = run("detect", *network, images, clip, "--out", out, "--limit", 1)
    assert "1 image, 1 frame" in few.stdout
    # What the first run has left is still there.
    assert (out / "more" / "deep" / "c.jpg").exists()


def test_a_pattern_leaves_out_what_it_wrote_itself(
    network: tuple[Path, Path], images: Path
) -> None:
    for _ in range(2):
        result = run("detect", *network, images / "**" / "*", "--out", images / "drawn")
        assert "2 images" in result.stdout, result.output


def test_names_come_from_where_somebody_has_chosen_them(
    network: tuple[Path, Path], images: Path, tmp_path: Path
) -> None:
    def names(*more: object) -> list[str]:
        result = run("detect", *network, images, "--out", tmp_path / "out", "--json", *more)
        assert result.exit_code == 0, result.output
        assert ("they are numbered" in result.stderr) == ("class 0" in result.stdout)
        return json.loads(result.stdout)["names"]

    assert names() == ["class 0", "class 1"]
    (images / "classes.txt").write_text("from the\nimages\n")
    assert names() == ["from the", "images"]
    network[0].with_suffix(".names").write_text("beside the\nnetwork\n")
    assert names() == ["beside the", "network"]
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "train.txt").write_text(f"{images / 'a.png'}\n")
    (tmp_path / "set" / "own.names").write_text("of the\ndata\n")
    (tmp_path / "set" / "own.data").write_text("train = train.txt\nnames = own.names\n")
    assert names("--data", tmp_path / "set" / "own.data") == ["of the", "data"]
    assert names("--names", images / "classes.txt") == ["from the", "images"]
    both = ("--names", images / "classes.txt", "--data", tmp_path / "set" / "own.data")
    assert "not from both" in refused("detect", *network, images, "--out", tmp_path / "x", *both)


def test_two_networks_are_compared_side_by_side(
    network: tuple[Path, Path], images: Path, tmp_path: Path
) -> None:
    slim, out = half_blind(tmp_path / "thin"), tmp_path / "out"
    result = run("detect", *network, slim, images / "a.png", "--out", out)
    assert result.exit_code == 0, result.output
    assert "both found 1 object, net alone 1, thin alone 0" in result.stdout
    report = json.loads((out / "detections.json").read_text())
    assert report["compared_with"] == [str(slim / "slim.cfg"), str(slim / "slim.weights")]
    (entry,) = report["images"]
    assert (len(entry["detections"]), len(entry["compared"]["detections"])) == (2, 1)
    assert [entry["compared"][k] for k in ("both", "only_first", "only_second")] == [1, 1, 0]
    drawn = read_image(out / "a.png")
    assert drawn.shape[0] > SIZE[0] and drawn.shape[1] > 2 * SIZE[1]
    rows = (out / "detections.csv").read_text().splitlines()[1:]
    assert sorted(row.split(",")[3] for row in rows) == ["net", "net", "thin"]
    # The other way round, and each in the other's form.
    result = run("detect", slim, *network, images / "a.png", "--out", out, "--json")
    (entry,) = json.loads(result.stdout)["images"]
    assert [entry["compared"][k] for k in ("both", "only_first", "only_second")] == [1, 0, 1]


def test_networks_of_different_classes_are_not_compared(
    network: tuple[Path, Path], images: Path, tmp_path: Path
) -> None:
    cfg = tmp_path / "one.cfg"
    cfg.write_text(
        network[0].read_text().replace("classes=2", "classes=1").replace("filters=7", "filters=6")
    )
    run("init", cfg, "--out", tmp_path / "one.weights")
    words = (*network, cfg, tmp_path / "one.weights", images, "--out", tmp_path / "out")
    assert "2 and 1 classes" in refused("detect", *words)


def test_a_video_becomes_an_annotated_one(
    network: tuple[Path, Path], clip: Path, tmp_path: Path
) -> None:
    result = run("detect", *network, clip, "--out", tmp_path / "out", "--json")
    assert result.exit_code == 0, result.output
    (video,) = json.loads(result.stdout)["videos"]
    assert (video["source"], video["annotated"]) == (str(clip), "clip.mp4")
    frames = video["frames"]
    assert [(entry["frame"], entry["seconds"]) for entry in frames] == [(0, 0), (1, 0.1), (2, 0.2)]
    for column, entry in enumerate(frames):
        (found,) = entry["detections"]
        assert found["box"] == [column * 64, 64, (column + 1) * 64, 128]
    assert len(frames_of(tmp_path / "out" / "clip.mp4")) == 3


def test_two_networks_look_at_one_video(
    network: tuple[Path, Path], clip: Path, tmp_path: Path
) -> None:
    slim, out = half_blind(tmp_path / "thin"), tmp_path / "out"
    result = run("detect", *network, slim, clip, clip, "--out", out, "--limit", 2)
    assert "both found 2 objects, net alone 0, thin alone 0" in result.stdout, result.output
    frames = frames_of(out / "clip.mp4")
    assert len(frames) == 2 and frames[0].shape[1] > 2 * SIZE[1]


@contextmanager
def camera() -> Iterator[int]:
    """The port of a camera that sends the three frames over and over, as MJPEG over HTTP."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
            self.end_headers()
            number = 0
            try:
                while not stopped.is_set():
                    jpeg = cv2.imencode(".jpg", frame(number % 3)[:, :, ::-1])[1].tobytes()
                    self.wfile.write(b"--frame\r\nContent-Type: image/jpeg\r\n")
                    self.wfile.write(b"Content-Length: %d\r\n\r\n%s\r\n" % (len(jpeg), jpeg))
                    number += 1
                    stopped.wait(0.01)
            except OSError:
                pass  # Nobody listens any more.

        def log_message(self, *_: object) -> None:
            pass

    stopped = threading.Event()
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.01,)).start()
    try:
        yield server.server_address[1]
    finally:
        stopped.set()
        server.shutdown()
        server.server_close()


def test_a_stream_is_watched_for_so_many_frames(network: tuple[Path, Path], tmp_path: Path) -> None:
    out = tmp_path / "out"
    with camera() as port:
        address = f"http://me:secret@127.0.0.1:{port}/front%20door.mjpg?key=secret"
        result = run("detect", *network, address, "--out", out, "--limit", 4, "--json")
    assert result.exit_code == 0, result.output
    (video,) = json.loads(result.stdout)["videos"]
    assert len(video["frames"]) == 4
    assert all(len(entry["detections"]) == 1 for entry in video["frames"])
    seconds = [entry["seconds"] for entry in video["frames"]]
    assert seconds == sorted(seconds) and seconds[-1] < 60
    assert video["source"] == f"http://127.0.0.1:{port}/front%20door.mjpg"
    assert len(frames_of(out / video["annotated"])) == 4
    names = [path.name for path in out.iterdir()]
    assert "secret" not in result.stdout + result.stderr + str(names)


def test_ctrl_c_ends_a_stream_with_what_was_seen(
    network: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def draw(image: np.ndarray, *_: object) -> np.ndarray:
        drawn.append(image)
        if len(drawn) == 3:
            os.kill(os.getpid(), signal.SIGINT)
        return image

    drawn: list[np.ndarray] = []
    monkeypatch.setattr(workflow, "draw_detections", draw)
    out = tmp_path / "out"
    with camera() as port:
        result = run("detect", *network, f"http://127.0.0.1:{port}/", "--out", out)
    assert result.exit_code == 0, (result.output, result.exception)
    (video,) = json.loads((out / "detections.json").read_text())["videos"]
    assert len(video["frames"]) == len(frames_of(out / video["annotated"])) == 3
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_what_does_not_answer_is_one_line_and_no_hang(
    network: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.setattr(videos, "WAIT", 0.3)
    out = tmp_path / "out"
    for address in ("rtsp://me:secret@127.0.0.1:1/door", "http://127.0.0.1:1/door"):
        message = refused("detect", *network, address, "--out", out)
        assert "127.0.0.1:1/door: no video comes from there" in message
        assert "secret" not in message
    assert "camera 99: cannot be opened" in refused("detect", *network, 99, "--out", out)
    assert "gopher:// cannot be opened" in refused("detect", *network, "gopher://a", "--out", out)
    assert "not an address" in refused("detect", *network, "http://[::1/", "--out", out)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"rtsp://127.0.0.1:{silent.getsockname()[1]}/door"
        assert "no video comes" in refused("detect", *network, address, "--out", out)
    assert not out.exists()
    # Nor do OpenCV and FFmpeg say anything.
    assert capfd.readouterr() == ("", "")


def test_what_cannot_be_looked_at_leaves_nothing(
    network: tuple[Path, Path], images: Path, tmp_path: Path
) -> None:
    (images / "c.jpg").write_bytes(b"damaged")
    out = tmp_path / "out"
    assert "c.jpg: not an image" in refused("detect", *network, images, "--out", out)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["images", "net.cfg", "net.weights"]


def test_bad_input_is_one_line(network: tuple[Path, Path], images: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert "no such file" in refused("detect", *network, tmp_path / "gone", "--out", out)
    assert "no such file" in refused("detect", *network, tmp_path / "gone.mp4", "--out", out)
    names = tmp_path / "one.names"
    names.write_text("hand\n")
    arguments = ("detect", *network, images, "--out", out)
    assert "1 name, but the network has 2 classes" in refused(*arguments, "--names", names)
    (images / "c.jpg").write_bytes(b"damaged")
    assert "c.jpg: not an image" in refused(*arguments)
    (tmp_path / "clip.mp4").write_bytes(b"damaged")
    message = refused("detect", *network, tmp_path / "clip.mp4", "--out", out)
    assert "no frame can be decoded" in message
    assert not (out / "clip.mp4").exists()
    assert "nothing to look at" in refused("detect", *network, "--out", out)
    assert "no image, video or folder" in refused("detect", *network, images / "*.x", "--out", out)
    assert "not a pattern" in refused("detect", *network, images / "**.png", "--out", out)
    shutil.copy(images / "a.png", tmp_path / "0")
    assert "neither an image" in refused("detect", *network, tmp_path / "0", "--out", out)
    (tmp_path / "empty").mkdir()
    words = (tmp_path / "empty", images, "--out", out)
    assert "no network in this folder" in refused("detect", *words)
    assert "its .weights must follow" in refused("detect", network[0], images, "--out", out)
    assert "the .cfg comes first" in refused("detect", *network[::-1], images, "--out", out)
