"""The recipes for schedulers are what these read, and what they run is a command of this program."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from translatekit_tools.bulk.options import RunOptions
from translatekit_tools.cli.run import run

RECIPES = Path(__file__).parent.parent.parent / "docs" / "recipes"


def yaml(name: str) -> Any:
    return pytest.importorskip("yaml").safe_load((RECIPES / name).read_text())


def check_command(script: str, **variables: str) -> None:
    """The options of each ``translatekit run`` of a script are there, and what they are given is taken."""
    script = script.replace("\\\n", " ")
    found = re.findall(r"translatekit (run .*)", script)
    assert found
    for words in found:
        for name, value in variables.items():
            words = words.replace(name, value)
        assert "$" not in words.replace("$INPUT", "").replace("$OUTPUT", "").replace("$MODEL", ""), words
        command, *arguments = shlex.split(words)
        context = run.make_context(command, arguments)
        shard = context.params["shard"]
        if shard is not None:
            assert str(RunOptions(shard=shard).shard) == str(shard) == "3/16"


def test_the_slurm_script_is_bash_and_its_directives_are_those_of_an_array() -> None:
    path = RECIPES / "slurm-array.sh"
    script = path.read_text()
    subprocess.run([shutil.which("bash") or "bash", "-n", path], check=True)
    lines = script.splitlines()
    assert lines[0] == "#!/bin/bash"
    first_command = next(number for number, line in enumerate(lines) if line and not line.startswith("#"))
    directives = [line.removeprefix("#SBATCH ") for line in lines if line.startswith("#SBATCH")]
    assert all(line in lines[:first_command] for line in lines if line.startswith("#SBATCH"))
    options = dict(directive.removeprefix("--").partition("=")[::2] for directive in directives)
    assert options["array"] == "1-16"  # --shard counts from 1
    assert options["signal"].startswith("TERM@")
    assert "requeue" in options
    assert not options.keys() - {
        *("job-name", "array", "gpus-per-task", "cpus-per-task", "mem", "time", "requeue", "signal", "output")
    }
    check_command(script, **{"${SLURM_ARRAY_TASK_ID}": "3", "${SLURM_ARRAY_TASK_COUNT}": "16"})


def test_the_kubernetes_job_is_an_indexed_job() -> None:
    job = yaml("kubernetes-job.yaml")
    assert (job["apiVersion"], job["kind"]) == ("batch/v1", "Job")
    assert re.fullmatch(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?", job["metadata"]["name"])
    spec = job["spec"]
    assert spec["completionMode"] == "Indexed"
    assert spec["completions"] == spec["parallelism"] == 16
    # What the API server wants of a job with a limit for each index.
    assert spec["template"]["spec"]["restartPolicy"] == "Never"
    assert {"backoffLimitPerIndex", "maxFailedIndexes"} <= spec.keys()
    assert spec["maxFailedIndexes"] <= spec["completions"]
    (container,) = spec["template"]["spec"]["containers"]
    assert {"name", "image", "command", "args"} <= container.keys()
    assert all(isinstance(word, str) for word in [*container["command"], *container["args"]])
    assert "nvidia.com/gpu" in container["resources"]["limits"]  # which may not be requested alone
    check_command(container["args"][0], **{"$((JOB_COMPLETION_INDEX + 1))": "3"})


def test_the_skypilot_task_is_one() -> None:
    task = yaml("skypilot.yaml")
    assert task.keys() == {"name", "num_nodes", "resources", "setup", "run"}
    assert isinstance(task["num_nodes"], int)
    assert task["resources"].keys() == {"accelerators", "use_spot"}
    check_command(task["run"], **{"$((SKYPILOT_NODE_RANK + 1))": "3", "$SKYPILOT_NUM_NODES": "16"})
