"""Site configurations by name: those that come with the package, and Python files of the user's.

A site is a file ``parsl_pcm/site_configs/NAME.py`` with a function ``fresh_config()``. What is
known of it without running it (title, scheduler, sources, required arguments) is read from its
text, so that a list of sites does not import Parsl.
"""

from __future__ import annotations

import ast
import difflib
import importlib
import inspect
import re
import runpy
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from parsl.config import Config

DIRECTORY = Path(__file__).parent / "site_configs"
FUNCTION = "fresh_config"


class SiteError(ValueError):
    """A site cannot be used. The message is a sentence for the user: what is wrong, the cure."""


@dataclass(frozen=True)
class Site:
    """What is known of a site without running its file."""

    name: str
    path: Path
    title: str
    """First line of the file: which machine, which of its GPUs."""
    scheduler: str
    sources: tuple[str, ...]
    """Where the facts are from, and when they were read; empty for files that describe no site."""
    required: tuple[str, ...]
    """Arguments of ``fresh_config`` without which there is no configuration."""


def all_sites() -> list[Site]:
    """Return the sites that come with the package: general ones first, then by name."""
    return sorted(
        map(read_site, _paths().values()), key=lambda site: (bool(site.sources), site.name)
    )


def find_site(name: str) -> Site:
    """Return the site of this name.

    Raises
    ------
    SiteError
        There is none; the message names the nearest ones.
    """
    paths = _paths()
    wanted = name.strip().lower().replace("-", "_")
    if wanted not in paths:
        raise SiteError(f"there is no site {name!r}. {_suggestion(wanted, paths)}")
    return read_site(paths[wanted])


def _paths() -> dict[str, Path]:
    return {path.stem: path for path in DIRECTORY.glob("*.py") if path.stem != "__init__"}


def read_site(path: Path) -> Site:
    """Return what the text of a site's file says of it.

    Raises
    ------
    SiteError
        It is no Python.
    """
    try:
        tree = ast.parse(path.read_text(encoding="utf-8"))
    except (SyntaxError, UnicodeDecodeError) as error:
        line = f", line {error.lineno}" if isinstance(error, SyntaxError) else ""
        raise SiteError(f"{path}{line}: no Python that can be read ({error})") from error
    text = ast.get_docstring(tree) or ""
    return Site(
        name=path.stem,
        path=path,
        title=text.partition("\n")[0].rstrip("."),
        scheduler=next(iter(_fields(text, "Scheduler")), ""),
        sources=tuple(_fields(text, "Source")),
        required=_required_arguments(tree),
    )


def load_config(name_or_path: str | Path, **arguments: Any) -> Config:
    """Return a new configuration of a site, or of a Python file that defines ``fresh_config``.

    Parameters
    ----------
    name_or_path
        The name of a site; anything with a slash, or that ends in ``.py``, is a file.
    arguments
        For ``fresh_config``. A text with commas will do for one that takes several.

    Raises
    ------
    SiteError
        No such site or file, an argument is missing, or no configuration came out.
    """
    text = str(name_or_path)
    is_file = text.endswith(".py") or "/" in text
    site = read_site(_existing(Path(text))) if is_file else find_site(text)
    missing = [name for name in site.required if name not in arguments]
    if missing:
        example = ", ".join(f"{name}=..." for name in missing)
        raise SiteError(
            f"{text} needs {' and '.join(missing)}: call {FUNCTION}({example}), or write a file of "
            f"your own with `parsl-pcm sites init {site.name}` and give them defaults there"
        )
    function = _function(site, is_file=is_file)
    config = function(**_with_tuples(function, arguments))
    return _checked(config, text)


def _with_tuples(
    function: Callable[..., object], arguments: Mapping[str, object]
) -> dict[str, object]:
    """Return the arguments; a text with commas for one that takes several becomes a tuple."""
    defaults = {each.name: each.default for each in inspect.signature(function).parameters.values()}
    return {
        name: tuple(value.split(","))
        if isinstance(value, str) and isinstance(defaults.get(name), tuple)
        else value
        for name, value in arguments.items()
    }


def _function(site: Site, *, is_file: bool) -> Callable[..., object]:
    if is_file:
        function = runpy.run_path(str(site.path)).get(FUNCTION)
    else:
        module = importlib.import_module(f"parsl_pcm.site_configs.{site.name}")
        function = getattr(module, FUNCTION, None)
    if not callable(function):
        raise SiteError(f"{site.path} defines no function {FUNCTION}(): add one")
    return function  # type: ignore[no-any-return]  # callable() tells no more than that


def _checked(config: object, text: str) -> Config:
    from parsl.config import Config

    if not isinstance(config, Config):
        raise SiteError(
            f"{FUNCTION}() of {text} returned a {type(config).__name__}: return a parsl.Config"
        )
    return config


def _existing(path: Path) -> Path:
    if not path.is_file():
        raise SiteError(f"{path}: no such file. Give a Python file with {FUNCTION}()")
    return path


def _suggestion(name: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(name, known, n=3)
    hint = f"Did you mean {' or '.join(near)}? " if near else ""
    return f"{hint}`parsl-pcm sites list` shows all"


def _fields(text: str, name: str) -> list[str]:
    """Return the values of ``Name: value`` paragraphs; a value goes on in indented lines."""
    found = re.findall(rf"^{name}: (.*(?:\n[ \t]+\S.*)*)", text, re.MULTILINE)
    return [" ".join(value.split()) for value in found]


def _required_arguments(tree: ast.Module) -> tuple[str, ...]:
    functions = [
        node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == FUNCTION
    ]
    if not functions:
        return ()
    arguments = functions[-1].args
    positional = [*arguments.posonlyargs, *arguments.args]
    without_default = positional[: len(positional) - len(arguments.defaults)]
    keywords = zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)
    without_default += [argument for argument, default in keywords if default is None]
    return tuple(argument.arg for argument in without_default)
