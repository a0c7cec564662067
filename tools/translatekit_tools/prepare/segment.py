"""Label maps from photographs alone: k-means over colour and position, one palette for the whole set."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from translatekit.datasets.palette import PALETTE_FILE, Palette, nearest_center
from translatekit.errors import DataError, OptionError
from translatekit.images import read_levels, resize, to_uint8
from translatekit_tools.prepare.layout import PairLayout, resize_nearest, to_rgb
from translatekit_tools.prepare.options import SegmentOptions
from translatekit_tools.prepare.output import Made, Output
from translatekit_tools.prepare.work import Progress, Source, Summary, attempt_all, find_sources, work_on

SEGMENTATION_FILE = "segmentation.json"
MAX_CLASSES = 64

_SAMPLED_IMAGES = 400
_SAMPLED_PIXELS = 1000  # of each
_SAMPLE_SIDE = 256  # pixels of the longer side at which they are taken
_WORK_SIDE = 1024  # larger photographs are segmented at this size
_LIGHTNESS = 0.7  # weight of L against a and b: shadows matter less than hues
_APART = 60.0  # Euclidean distance in RGB that palette colours keep, so that they can be told apart


@dataclass(frozen=True, slots=True, kw_only=True)
class Segmenter:
    """Says of every pixel which class it belongs to.

    Attributes:
        centers: (K, 4): L (weighted), a, b, and the height in the image times `spatial`, 0 at the top and 100 at the
            bottom.
        spatial: weight of the position against the colour.
        smooth: regions smaller than this fraction of the image are given to their surroundings.
    """

    centers: list[list[float]]
    spatial: float
    smooth: float

    def __call__(self, pixels: np.ndarray) -> np.ndarray:
        """Class numbers (H, W) uint8 of a photograph (H, W, 3) uint8."""
        height, width = pixels.shape[:2]
        small = _shrunk(pixels, _WORK_SIDE)
        classes = nearest_center(_features(small, self.spatial), np.array(self.centers, np.float32))
        classes = _smoothed(classes, len(self.centers), self.smooth)
        return resize_nearest(classes, (height, width))

    @classmethod
    def load(cls, path: Path) -> Segmenter:
        """Read a ``segmentation.json``.

        Raises:
            DataError: it is missing, or not such a file.
        """
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            centers = np.array(content["centers"], np.float64)
            if centers.ndim != 2 or centers.shape[1] != 4 or not 1 <= len(centers) <= MAX_CLASSES:
                raise ValueError(centers.shape)
            return cls(
                centers=centers.tolist(), spatial=float(content["spatial"]), smooth=float(content["smooth"])
            )
        except OSError as error:
            raise DataError(
                f"{path} cannot be read ({error.strerror}): name a folder that prepare segment has written"
            ) from None
        except (ValueError, TypeError, KeyError):
            raise DataError(f"{path} is damaged: segment those photographs again") from None


def segment_photos(
    photos: Path, out: Path, options: SegmentOptions, progress: Progress | None = None
) -> Summary:
    """Make label maps of photographs, and write them with the photographs as an aligned dataset.

    A is the label map and B the photograph. The clusters are fitted once, on pixels of up to 400 photographs spread
    over the set (Sculley, "Web-scale k-means clustering", 2010), so a colour means the same in every label map.
    The result depends on the files and the seed alone.

    Args:
        photos: a folder of photographs.
        out: the dataset's folder; it also gets ``palette.json``, whose names and colours may be edited, and
            ``segmentation.json``.
        options: the classes and how to find them, or a folder whose classes are used, so that nothing is fitted.
        progress: is told how far it is.

    Raises:
        DataError: no photographs, or fewer colours than classes.
        OptionError: a folder whose classes are used, and how to find others.
    """
    sources = find_sources(photos, out)
    output = Output(out, [source.path for source in sources], options.force)
    pairs = PairLayout.of(options)
    like = options.like
    if like is not None:
        _refuse_fitting(options)
        segmenter, palette = Segmenter.load(like / SEGMENTATION_FILE), Palette.load(like / PALETTE_FILE)
        if len(palette.colors) != len(segmenter.centers):
            raise DataError(
                f"{like / PALETTE_FILE} has {len(palette.colors)} classes and {SEGMENTATION_FILE} beside it "
                f"{len(segmenter.centers)}: edit names and colours, but leave the number of classes"
            )
    else:
        segmenter, palette = _fit(sources, options)
    fitted = asdict(segmenter)
    if like is None or like.resolve() != out.resolve():
        output.write(PALETTE_FILE, palette.to_json().encode())
        output.write(SEGMENTATION_FILE, (json.dumps({"format": 1, **fitted}) + "\n").encode())

    def make(source: Source) -> Made:
        photo = to_rgb(read_levels(source.path, deep=pairs.deep).pixels)
        return pairs.encode(source.name, palette.paint(segmenter(to_uint8(photo))), photo, b_file=source.path)

    recipe = {"segment": fitted, "palette": palette.to_json(), **asdict(pairs)}
    summary = work_on(output, sources, make, recipe, progress)
    summary.details = {"palette": str(output.root / PALETTE_FILE)}
    return summary


def _refuse_fitting(options: SegmentOptions) -> None:
    """Refuse what says how classes are found, where they are taken as they are.

    Raises:
        OptionError: something does.
    """
    usual = SegmentOptions()
    for name in ("classes", "spatial", "smooth", "seed"):
        if getattr(options, name) != getattr(usual, name):
            raise OptionError(
                f"--like takes classes as they were found for {options.like}: leave out --{name}, or --like"
            )


def _fit(sources: list[Source], options: SegmentOptions) -> tuple[Segmenter, Palette]:
    from sklearn.cluster import MiniBatchKMeans

    classes, spatial, seed = options.classes, options.spatial, options.seed
    chosen = np.unique(np.linspace(0, len(sources) - 1, _SAMPLED_IMAGES).astype(int))

    def sample(number: int) -> np.ndarray:
        photo = to_rgb(read_levels(sources[number].path, deep=False).pixels)
        features = _features(_shrunk(photo, _SAMPLE_SIDE), spatial).reshape(-1, 4)
        rng = np.random.default_rng((seed, number))
        return features[rng.permutation(len(features))[:_SAMPLED_PIXELS]]

    samples = [found for _, found, _ in attempt_all(chosen.tolist(), sample) if found is not None]
    if not samples:
        raise DataError(
            f"none of {len(chosen)} photographs can be read, such as {sources[0].path}: replace them"
        )
    features = np.concatenate(samples)
    distinct = len(np.unique(np.rint(features), axis=0))
    if distinct < classes:
        raise DataError(
            f"the photographs have fewer than {classes} colours: pass -k {max(2, distinct)} or less"
        )
    fitted: Any = MiniBatchKMeans(
        classes, random_state=seed, n_init=5, batch_size=4096, max_iter=200, max_no_improvement=20
    ).fit(features)
    counts = np.bincount(fitted.labels_, minlength=classes)
    centers = fitted.cluster_centers_[np.argsort(-counts, kind="stable")].astype(np.float32)
    names = tuple(f"class-{number}" for number in range(1, classes + 1))
    segmenter = Segmenter(centers=centers.tolist(), spatial=spatial, smooth=options.smooth)
    return segmenter, Palette(names, _distinct_colors(_to_rgb_levels(centers)))


def _shrunk(pixels: np.ndarray, side: int) -> np.ndarray:
    height, width = pixels.shape[:2]
    scale = min(1.0, side / max(height, width))
    return resize(pixels, (max(1, round(height * scale)), max(1, round(width * scale))))


def _features(pixels: np.ndarray, spatial: float) -> np.ndarray:
    """(H, W, 4) float32 of (H, W, 3) uint8: CIE L*a*b* of the photograph without its texture, and the height.

    Skies are above and roads below, but whether something is to the left or to the right says little of what it is.
    """
    height, width = pixels.shape[:2]
    flat = np.ascontiguousarray(pixels)
    for _ in range(2):
        flat = cv2.bilateralFilter(flat, d=9, sigmaColor=45, sigmaSpace=5)
    lab = cv2.cvtColor(flat.astype(np.float32) / 255, cv2.COLOR_RGB2LAB)
    features = np.empty((height, width, 4), np.float32)
    features[..., 0] = lab[..., 0] * _LIGHTNESS
    features[..., 1:3] = lab[..., 1:]
    features[..., 3] = ((np.arange(height) + 0.5) * (100 * spatial / height))[:, None]
    return features


def _smoothed(classes: np.ndarray, count: int, smooth: float) -> np.ndarray:
    """Regions with calm borders, and none that is smaller than a fraction of the image."""
    smallest = smooth * classes.size
    if smallest < 1:
        return classes
    # The border of a region moves to where most of its neighbourhood lies: a vote weighted by nearness.
    sigma = max(0.8, smallest**0.5 / 5)
    best, winner = np.zeros(classes.shape, np.float32), np.zeros_like(classes)
    for number in range(count):
        votes = cv2.GaussianBlur((classes == number).astype(np.float32), (0, 0), sigma)
        ahead = votes > best
        best[ahead] = votes[ahead]
        winner[ahead] = number
    small = np.zeros(classes.shape, bool)
    for number in range(count):
        _, regions, stats, _ = cv2.connectedComponentsWithStats(
            (winner == number).astype(np.uint8), connectivity=4
        )
        too_small = stats[:, cv2.CC_STAT_AREA] < smallest
        too_small[0] = False  # the rest of the image
        small |= too_small[regions]
    if not small.any() or small.all():
        return winner
    # Every pixel of a small region takes the class of the nearest pixel that is in a large one.
    _, nearest = cv2.distanceTransformWithLabels(
        small.astype(np.uint8), cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL
    )
    class_of = np.zeros(nearest.max() + 1, np.uint8)
    class_of[nearest[~small]] = winner[~small]
    return class_of[nearest]


def _to_rgb_levels(centers: np.ndarray) -> np.ndarray:
    lab = centers[None, :, :3].astype(np.float32).copy()
    lab[..., 0] /= _LIGHTNESS
    return np.rint(np.clip(cv2.cvtColor(lab, cv2.COLOR_LAB2RGB)[0], 0, 1) * 255).astype(int)


def _distinct_colors(means: np.ndarray) -> tuple[tuple[int, int, int], ...]:
    """A colour for each class that reminds of its mean colour, (K, 3), but is apart from all the others."""
    levels = np.arange(0, 256, 51)
    grid = np.stack(np.meshgrid(levels, levels, levels), -1).reshape(-1, 3)
    chosen: list[np.ndarray] = []
    for mean in means:
        candidates = np.concatenate(
            [mean[None], grid[np.argsort(np.square(grid - mean).sum(1), kind="stable")]]
        )
        gaps = np.array([[np.linalg.norm(color - other) for other in chosen] for color in candidates])
        nearest = gaps.min(1) if chosen else np.full(len(candidates), np.inf)
        fitting = np.flatnonzero(nearest >= _APART)
        chosen.append(candidates[fitting[0] if len(fitting) else nearest.argmax()])
    return tuple((int(red), int(green), int(blue)) for red, green, blue in chosen)
