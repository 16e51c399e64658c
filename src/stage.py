"""The one entry that dvc.yaml calls: ``python src/stage.py minerals.patches --raw … --out …``.

It is started as a script, so that the folder it lies in leads ``sys.path``: inside ``dvc exp run --temp`` and
``--queue`` the stage runs the experiment's own code, whatever is installed or changed in the workspace.
"""

import errno
import functools
import importlib
import importlib.util
import os
import signal
import sys
from collections.abc import Callable
from typing import Any

# Threads that wait for each other sleep instead of spinning; OpenMP reads this when torch is imported. On a machine
# with other work to do, spinning made a training many times slower.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

try:
    import typer
except ModuleNotFoundError:
    sys.exit("stage.py: packages are missing: run 'make setup', then put .venv/bin first on PATH (or use make repro)")

from sightline.core.errors import InputError
from sightline.core.processor import pin


def run(arguments: list[str]) -> int:
    """Run one stage; returns the exit status.

    0 done, 1 the user can mend it, 2 wrong options, 130 interrupted (Ctrl-C), 143 terminated.
    """
    task, _, step = arguments[0].partition(".") if arguments else ("", "", "")
    if not (task.isidentifier() and step.isidentifier()):
        return _fail("usage: python src/stage.py TASK.STEP [OPTIONS]")
    try:
        main = _find(f"sightline.{task}.{step}")
        if main is None:
            return _fail(f"there is no stage '{task}.{step}'")
        app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
        app.command()(_interruptible(main))
        return int(app(args=arguments[1:], prog_name=f"stage.py {task}.{step}", standalone_mode=False) or 0)
    except InputError as error:
        return _fail(str(error))
    except typer.TyperException as error:
        return _fail(f"{task}.{step}: {error.format_message()}", 2)
    except (KeyboardInterrupt, _InterruptedError) as stop:
        reason = str(stop) or "nothing half-written is left"
        return _fail(f"{task}.{step}: interrupted: {reason}", 128 + _received[-1])
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        return _fail(f"no space left on the device for {error.filename or 'the outputs'}: free some and run again")


def _interrupt(number: int, frame: object) -> None:  # noqa: ARG001
    """Let a request to terminate end the stage as Ctrl-C does: it takes its temporary files away and says how to go on.

    What ends it must not be interrupted itself by a second request.
    """
    signal.signal(number, signal.SIG_IGN)
    _received.append(number)
    raise KeyboardInterrupt


# The signal that an interrupted stage ends with; the last one counts.
_received: list[int] = [signal.SIGINT]


def _find(module: str) -> Callable[..., None] | None:
    try:
        if importlib.util.find_spec(module) is None:
            return None
    except ModuleNotFoundError:
        return None
    return getattr(importlib.import_module(module), "main", None)


class _InterruptedError(Exception):
    pass


def _interruptible(main: Callable[..., None]) -> Callable[..., None]:
    @functools.wraps(main)
    def stage(**options: Any) -> None:
        try:
            main(**options)
        except KeyboardInterrupt as stop:
            # Typer would drop the message, which says how to go on.
            raise _InterruptedError(str(stop)) from None

    return stage


def _fail(message: str, status: int = 1) -> int:
    print(f"error: {message}", file=sys.stderr)
    return status


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, _interrupt)
    # Here, because nothing above imports a numeric library yet; the stage's module does.
    if not pin():
        print("warning: this processor lacks AVX2 and FMA: results differ from the committed ones", file=sys.stderr)
    sys.exit(run(sys.argv[1:]))
