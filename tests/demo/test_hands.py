from pathlib import Path

import cv2
import numpy as np
import pytest
from scipy.io import loadmat

from demo.hands import hand_annotation, main, write_rendered_hands
from demo.rendering.capsules import Capsule, render, render_coarsely
from demo.rendering.scenes import LONG_SIDE, random_scene
from tests.cli.commands import run
from yoloprune.data.images import read_image
from yoloprune.data.read import read_dataset
from yoloprune.data.vgg_hand import PARTS, convert_hand_dataset, opened_original
from yoloprune.errors import UsageError

LIGHT = np.array([0.0, 0.0, 1.0])


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("hands") / "raw"
    write_rendered_hands(out, train=20, test=10, seed=4)
    return out


def files(root: Path) -> dict[str, bytes]:
    return {p.relative_to(root).as_posix(): p.read_bytes() for p in root.rglob("*") if p.is_file()}


def main_with(monkeypatch: pytest.MonkeyPatch, *words: object) -> None:
    monkeypatch.setattr("sys.argv", ["hands", *map(str, words)])
    main()


def test_it_is_laid_out_as_the_original(original: Path) -> None:
    counts = {}
    for part, folder in PARTS.items():
        root = original / "hand_dataset" / folder
        images = sorted(path.stem for path in (root / "images").glob("*.jpg"))
        assert images == sorted(path.stem for path in (root / "annotations").glob("*.mat"))
        counts[part] = len(images)
    assert counts == {"training": 17, "validation": 3, "test": 10}


def test_scipy_reads_the_annotations_as_those_of_the_original(original: Path) -> None:
    seen = 0
    for path in original.rglob("*.mat"):
        boxes = loadmat(path)["boxes"]
        assert boxes.dtype == object and boxes.shape[0] == 1
        for cell in boxes[0]:
            assert cell.shape == (1, 1)
            assert cell.dtype.names == ("a", "b", "c", "d")
            points = np.concatenate([cell[0, 0][key] for key in "abcd"])
            assert points.shape == (4, 2)
            sides = np.diff(np.concatenate((points, points[:1])), axis=0)
            # A rectangle: opposite sides are equal, neighbors at right angles.
            assert sides[0] == pytest.approx(-sides[2]) and sides[1] == pytest.approx(-sides[3])
            assert sides[0] @ sides[1] == pytest.approx(0, abs=1e-6)
            seen += 1
    assert seen > 30


def test_points_are_written_as_y_and_x_from_1(tmp_path: Path) -> None:
    corners = np.array([[[0.0, 10.0], [5.0, 10.0], [5.0, 30.0], [0.0, 30.0]]])
    (tmp_path / "a.mat").write_bytes(hand_annotation(corners))
    cell = loadmat(tmp_path / "a.mat")["boxes"][0, 0][0, 0]
    assert [cell[key].tolist() for key in "abcd"] == [[[11, 1]], [[11, 6]], [[31, 6]], [[31, 1]]]
    (tmp_path / "none.mat").write_bytes(hand_annotation(np.zeros((0, 4, 2))))
    assert loadmat(tmp_path / "none.mat")["boxes"].shape == (1, 0)


def test_the_converter_takes_it_whole(original: Path, tmp_path: Path) -> None:
    with opened_original(original, tmp_path) as root:
        conversion = convert_hand_dataset(root, tmp_path / "hands")
    assert dict(conversion.images) == {"train": 20, "test": 10}
    assert conversion.skipped == () and conversion.dropped == 0
    dataset = read_dataset(tmp_path / "hands" / "hand.data", classes=1, split="train")
    assert dataset.object_count == conversion.hands["train"] > 20


def test_the_same_seed_gives_the_same_files(original: Path, tmp_path: Path) -> None:
    again = tmp_path / "again"
    write_rendered_hands(again, train=20, test=10, seed=4)
    assert files(again) == files(original)
    other = tmp_path / "other"
    write_rendered_hands(other, train=2, test=1, seed=5)
    name = f"hand_dataset/{PARTS['test'].as_posix()}/images/rendered_00001.jpg"
    assert files(other)[name] != files(original)[name]


def test_more_images_leave_the_earlier_ones_alone(original: Path, tmp_path: Path) -> None:
    few = tmp_path / "few"
    write_rendered_hands(few, train=3, test=2, seed=4)
    written = {name: data for name, data in files(few).items() if "validation" not in name}
    assert written.items() <= files(original).items()


def test_images_are_of_many_kinds(original: Path) -> None:
    images = [read_image(path) for path in original.rglob("*.jpg")]
    assert {max(image.shape) for image in images} == {LONG_SIDE}
    assert len({image.shape for image in images}) >= 4
    assert all(image.std() > 20 for image in images[:5])
    scenes = [random_scene(np.random.default_rng(seed)) for seed in range(40)]
    counts = [len(scene.corners) for scene in scenes]
    assert 0 in counts and max(counts) >= 3 and 1.3 < np.mean(counts) < 2.6
    lengths = [np.ptp(corners, axis=0).max() for scene in scenes for corners in scene.corners]
    assert min(lengths) < 0.2 * LONG_SIDE and max(lengths) > 0.5 * LONG_SIDE


def test_hands_are_in_their_boxes() -> None:
    # A detector that knows skin alone: inside the boxes there is more of it than outside.
    inside, outside = [], []
    for seed in range(25):
        scene = random_scene(np.random.default_rng(seed))
        mask = np.zeros(scene.image.shape[:2], np.uint8)
        for corners in scene.corners:
            cv2.fillPoly(mask, [corners.round().astype(np.int32)], 1)
        red, green, blue = (scene.image[:, :, channel].astype(int) for channel in range(3))
        skin = (red > green + 8) & (green > blue)
        inside += skin[mask == 1].tolist()
        outside += skin[mask == 0].tolist()
    assert np.mean(inside) > 1.3 * np.mean(outside) > 0.1


def test_a_ball_is_drawn_where_it_is() -> None:
    center = np.array([30.0, 20.0, 0.0])
    ball = Capsule(start=center, end=center, radii=(10, 10), color=(1, 0.5, 0.25), part=3)
    sprite = render([ball], LIGHT, (60, 80), gloss=0)
    assert sprite is not None
    y, x = np.nonzero(sprite.alpha > 0.5)
    assert (x.min() + sprite.left, x.max() + sprite.left) == (21, 39)
    assert (y.min() + sprite.top, y.max() + sprite.top) == (11, 29)
    assert (sprite.alpha > 0.5).sum() == pytest.approx(np.pi * 100, rel=0.05)
    assert set(np.unique(sprite.parts)) == {-1, 3}
    middle = sprite.color[20 - sprite.top, 30 - sprite.left]
    assert middle == pytest.approx([1, 0.5, 0.25], abs=0.02)
    assert (sprite.color[20 - sprite.top, 21 - sprite.left] < middle).all()  # darker at the rim
    assert render([ball], LIGHT, (5, 5)) is None
    coarse = render_coarsely([ball], LIGHT, (60, 80))
    assert coarse is not None
    assert (coarse.alpha > 0.5).sum() == pytest.approx(np.pi * 100, rel=0.15)


def test_nearer_things_hide_those_behind() -> None:
    def rod(z: float, part: int, start: tuple[float, float], end: tuple[float, float]) -> Capsule:
        return Capsule(start=np.array((*start, z)), end=np.array((*end, z)), radii=(4, 4),
                       color=(1, 1, 1), part=part)  # fmt: skip

    flat, upright = ((10.0, 40.0), (70.0, 40.0)), ((40.0, 10.0), (40.0, 70.0))
    for near, far in ((1, 2), (2, 1)):
        rods = [rod(20 * (near == 1), 1, *flat), rod(20 * (near == 2), 2, *upright)]
        for order in (rods, rods[::-1]):
            sprite = render(order, LIGHT, (80, 80))
            assert sprite is not None
            assert sprite.parts[40 - sprite.top, 40 - sprite.left] == near
            assert set(np.unique(sprite.parts)) == {-1, near, far}


def test_what_is_written_can_be_converted_checked_and_evaluated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    raw, out = tmp_path / "raw", tmp_path / "hands"
    main_with(monkeypatch, "--out", raw, "--train", 3, "--test", 3, "--seed", 2)
    assert run("data", "vgg-hand", raw, "--out", out).exit_code == 0
    assert run("data", "check", out / "hand.data").exit_code == 0
    cfg, weights = tmp_path / "a.cfg", tmp_path / "a.weights"
    run("zoo", "yolov3-tiny", "--classes", 1, "--width", 0.1, "--size", 64, "--out", cfg)
    run("init", cfg, "--out", weights)
    for data in (out, out / "hand.data"):
        result = run("evaluate", cfg, weights, "--data", data)
        assert result.exit_code == 0, result.output
        assert "3 images" in result.stdout


def test_a_folder_that_is_not_empty_is_refused_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mine").touch()
    with pytest.raises(SystemExit) as stop:
        main_with(monkeypatch, "--out", tmp_path, "--train", 1, "--test", 1)
    assert stop.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ") and "not empty" in line


@pytest.mark.parametrize(("train", "test", "seed"), [(0, 1, 0), (1, 0, 0), (1, 1, -1)])
def test_impossible_numbers_are_refused(train: int, test: int, seed: int, tmp_path: Path) -> None:
    with pytest.raises(UsageError):
        write_rendered_hands(tmp_path / "out", train=train, test=test, seed=seed)
    assert not (tmp_path / "out").exists()
