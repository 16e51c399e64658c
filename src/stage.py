"""The one entry that dvc.yaml calls: ``python src/stage.py minerals.patches --raw … --out …``.

It is started as a script, so that the folder it lies in leads ``sys.path``: inside ``dvc exp run --temp`` and
``--queue`` the stage runs the experiment's own code, whatever is installed or changed in the workspace.
"""

import errno
import importlib
import importlib.util
import signal
import sys

try:
    import typer
except ModuleNotFoundError:
    sys.exit("stage.py: packages are missing: run 'make setup', then put .venv/bin first on PATH (or use make repro)")

from sightline.core.errors import InputError


def run(arguments: list[str]) -> int:
    """Run one stage; returns the exit status: 0 done, 1 the user can mend it, 130 interrupted."""
    task, _, step = arguments[0].partition(".") if arguments else ("", "", "")
    if not (task.isidentifier() and step.isidentifier()):
        return _fail("usage: python src/stage.py TASK.STEP [OPTIONS]")
    module = f"sightline.{task}.{step}"
    if importlib.util.find_spec(f"sightline.{task}") is None or importlib.util.find_spec(module) is None:
        return _fail(f"there is no stage '{task}.{step}'")
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command()(importlib.import_module(module).main)
    try:
        app(args=arguments[1:], prog_name=f"stage.py {task}.{step}", standalone_mode=False)
    except InputError as error:
        return _fail(str(error))
    except typer.Exit as stop:
        return stop.exit_code
    except (KeyboardInterrupt, typer.Abort):
        print(f"{task}.{step}: interrupted; nothing half-written is left", file=sys.stderr)
        return 128 + signal.SIGINT
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        return _fail(f"no space left on the device for {error.filename or 'the outputs'}: free some and run again")
    return 0


def _fail(message: str) -> int:
    print(f"error: {message}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(run(sys.argv[1:]))
