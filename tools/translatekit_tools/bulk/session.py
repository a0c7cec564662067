"""What all files of a run share: the options, the model and its plan of the memory, the clock."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path
from shlex import quote

from translatekit.errors import TranslatekitError
from translatekit.images import Header, UnreadableImageError, read_header, suffix_of
from translatekit.inference.inputs import cut_to_8_bits
from translatekit.inference.predictor import Predictor
from translatekit.interfaces import Translator
from translatekit.storage import commit_file, hash_file
from translatekit_tools.bulk.images import Decoded
from translatekit_tools.bulk.manifest import Entry, Failure, hash_options, hash_path, size_of, stamp_of
from translatekit_tools.bulk.memory import Planner, bytes_a_pixel
from translatekit_tools.bulk.model import make_predictor, open_model
from translatekit_tools.bulk.options import RunOptions
from translatekit_tools.bulk.stats import StageTimer
from translatekit_tools.bulk.task import Task


class Session:
    """The options, the model, and what is counted and said.

    Attributes:
        options: of the run.
        say: told what the user should know.
        model_file: None where the model came from no file.
        model_hash: of that file; empty where there is none.
        options_hash: of those that an output depends on.
        timer: told how long each stage is busy.
        workers: among how many a video may be split.

    Args:
        remark: told, in place of `say`, what is said once of many images, and what it is about: several sessions may
            have the same to say.
    """

    def __init__(
        self,
        options: RunOptions,
        model_file: Path | None,
        translator: Translator | None,
        say: Callable[[str], object],
        remark: Callable[[str, str], object] | None = None,
    ) -> None:
        self.options = options
        self.say = say
        self._remark = remark
        self.model_file = model_file
        self.model_hash = hash_path(model_file) if model_file is not None else ""
        self.options_hash = hash_options(options.of_result())
        self.timer = StageTimer()
        self.workers = 1
        self._predictor = None if translator is None else make_predictor(translator, options)
        self._planner: Planner | None = None
        self._warned: set[str] = set()

    @property
    def predictor(self) -> Predictor:
        """The model, loaded when an input needs it: a rerun with nothing to do is over at once."""
        if self._predictor is None:
            assert self.model_file is not None
            self._predictor = make_predictor(open_model(self.model_file, self.options), self.options)
        return self._predictor

    @property
    def planner(self) -> Planner:
        """Says how images are translated within the memory there is, once the model is loaded."""
        if self._planner is None:
            self._planner = Planner(self.predictor, self.options.memory, self._fresh_translator)
        return self._planner

    def _fresh_translator(self) -> Translator:
        if self.model_file is None:
            translator = self.predictor.translator
            return getattr(translator, "within", translator)
        return open_model(self.model_file, self.options)

    def warn_once(self, about: str, sentence: str) -> None:
        """What holds for many images is said of the first."""
        if about not in self._warned:
            self._warned.add(about)
            if self._remark is None:
                self.say(sentence)
            else:
                self._remark(about, sentence)

    def extent(self, task: Task, header: Header | None = None) -> tuple[int, int, int]:
        """Height and width in pixels as the network takes them at most; and the bytes that the image takes itself.

        Args:
            task: its file is looked at, where no header is given.
            header: of one of its pages.
        """
        source = task.data or task.job.source
        if header is None:
            try:
                header = read_header(source, suffix=suffix_of(task.job.source))
            except UnreadableImageError:
                return 1, 1, 0  # decoding says what is wrong with it
        height, width = header.height, header.width
        if not height * width:
            return 1, 1, 0
        if width == 2 * height and self.predictor.info.data.get("dataset") == "aligned":
            left = 0 if self.predictor.info.direction == "AtoB" else height
            self.warn_once(
                "pairs",
                f"{task.job.shown_source} is twice as wide as high, as the model's training pairs are that stand side "
                "by side in one file; it is translated as one image. Where it is such a pair, cut out the half that "
                f"the model takes: translatekit prepare crop {quote(str(task.job.shown_source))} -o HALVES "
                f"--box {left},0,{height},{height}",
            )
        pixels = height * width
        height, width = self.options.height_width() or (height, width)
        multiple = self.predictor.info.size_multiple
        height, width = (-(-side // multiple) * multiple for side in (height, width))
        info = self.predictor.info
        channels = max(header.spec.count, info.input.count, info.output.count)
        each = bytes_a_pixel(source, task.job.output.suffix.lower()) * -(-channels // 4)
        return height, width, max(pixels, height * width) * each

    def told(self, image: Decoded) -> Decoded:
        """An image, after a sentence where it has lost depth."""
        if image.cut:
            self.warn_once("depth", cut_to_8_bits("an image"))
        return image

    @property
    def made_with(self) -> tuple[str, str]:
        """Hashes of the model and the options."""
        return self.model_hash, self.options_hash

    def made_from(self, task: Task) -> tuple[str, str, str]:
        """Hashes of the input, the model and the options."""
        return task.input_hash, self.model_hash, self.options_hash

    def commit(self, task: Task, made: Path) -> None:
        """Put a whole file into the place of its output, and into the manifest.

        Raises:
            OSError: the disk is full or the folder cannot be written.
            StorageError: the store does not take it.
        """
        job = task.job
        if job.target is None:
            commit_file(made, job.output, lambda: self.record_file(task, made))
            return
        sink, output_hash, size = job.manifest.sink, hash_file(made), made.stat().st_size
        self.record(task, output_hash, size, sink.commit(job.target.name, made).stamp)

    def record_file(self, task: Task, made: Path) -> None:
        """Put a file, or a folder of files, into the manifest of its output, before it gets its name."""
        self.record(task, hash_path(made), size_of(made), stamp_of(made))

    def record(self, task: Task, output_hash: str, output_size: int, output_stamp: str) -> None:
        """Put an output into its manifest."""
        job = task.job
        task.bytes_written = output_size
        job.manifest.add(
            Entry(
                input=job.input_name,
                input_hash=task.input_hash,
                output=job.output_name,
                output_hash=output_hash,
                output_size=output_size,
                model_hash=self.model_hash,
                options_hash=self.options_hash,
                stamp=job.stamp,
                output_stamp=output_stamp,
            )
        )

    def record_failure(self, task: Task) -> None:
        """Put what could not be translated into the manifest, where others may want to know."""
        job = task.job
        if self.options.dry_run or job.manifest.is_alone:
            return
        with contextlib.suppress(TranslatekitError):
            job.manifest.add(
                Failure(
                    input=job.input_name,
                    output=job.output_name,
                    failed=task.reason,
                    model_hash=self.model_hash,
                    options_hash=self.options_hash,
                    stamp=job.stamp,
                )
            )
