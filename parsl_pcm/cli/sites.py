"""``parsl-pcm sites``: look at the site configurations that come with the package, and copy one."""

from __future__ import annotations

import argparse
import re
from pathlib import Path

from parsl_pcm.cli.tables import columns, complain, say
from parsl_pcm.sites import Site, SiteError, all_sites, find_site, read_site

OK, BAD_INPUT = 0, 2
"""Exit codes."""

_Subparsers = argparse._SubParsersAction  # argparse has no public name for it


def add_parser(subparsers: _Subparsers[argparse.ArgumentParser]) -> None:
    """Add this command to those of ``parsl-pcm``."""
    parser = subparsers.add_parser(
        "sites",
        help="list, show and copy site configurations; make one from a job script",
        description="Site configurations: Python files that say how a machine is asked for GPUs. "
        "Exit code: 0 done, 2 bad input.",
    )
    parser.set_defaults(func=run, action=list_sites)
    actions = parser.add_subparsers(title="actions", metavar="ACTION")
    _add_list(actions)
    _add_show(actions)
    _add_init(actions)
    _add_from_script(actions)


def run(arguments: argparse.Namespace) -> int:
    """Do what the action says; return the exit code."""
    try:
        arguments.action(arguments)
    except SiteError as error:
        complain(str(error))
        return BAD_INPUT
    return OK


def list_sites(_: argparse.Namespace) -> None:
    """Show the sites that come with the package."""
    rows = [("NAME", "SCHEDULER", "WHAT", "SOURCE"), *map(_row, all_sites())]
    for line in columns(rows):
        say(line)
    say()
    say("`parsl-pcm sites show NAME` prints a file, with its sources; `init NAME` makes it yours.")


def show_site(arguments: argparse.Namespace) -> None:
    """Print the file of a site."""
    say(find_site(arguments.name).path.read_text(encoding="utf-8").rstrip("\n"))


def init_site(arguments: argparse.Namespace) -> None:
    """Write a copy of a site's file that the user owns."""
    site = find_site(arguments.name)
    path = arguments.output or Path(f"{site.name}.py")
    write(path, site.path.read_text(encoding="utf-8"), is_forced=arguments.force)
    say(f"wrote {path}: {site.title}")
    say_what_next(read_site(path))


def make_from_script(arguments: argparse.Namespace) -> None:
    """Turn a job script into a site file that the user owns."""
    from parsl_pcm.cli.from_script import site_from_script

    script = Path(arguments.script)
    made = site_from_script(_text_of(script), script.name)
    path = arguments.output or Path(script.stem.replace("-", "_") + "_site.py")
    write(path, made.source, is_forced=arguments.force)
    say(f"wrote {path} from {script}")
    for note in made.notes:
        say(f"  - {note}")
    say_what_next(read_site(path))


def write(path: Path, source: str, *, is_forced: bool) -> None:
    """Write a file of the user's.

    Raises
    ------
    SiteError
        It is there already and `is_forced` is false, or it cannot be written.
    """
    try:
        with path.open("w" if is_forced else "x", encoding="utf-8") as file:
            file.write(source)
    except FileExistsError:
        raise SiteError(
            f"{path} exists already: give another name with -o, or --force to overwrite it"
        ) from None
    except OSError as error:
        raise SiteError(f"{path} cannot be written: {error.strerror}") from error


def say_what_next(site: Site) -> None:
    """Tell what a new file still needs."""
    if site.required:
        call = ", ".join(f"{name}=..." for name in site.required)
        say(f"next: give {' and '.join(site.required)} a default there, or call it with")
        say(f"      fresh_config({call})")
    say(f"then: `parsl-pcm doctor {site.path}` checks it without submitting anything")
    say("      config = runpy.run_path('" + str(site.path) + "')['fresh_config']()")


def _text_of(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise SiteError(f"{path} cannot be read: {error.strerror}") from error


def _row(site: Site) -> tuple[str, str, str, str]:
    addresses = re.findall(r"https://\S+", " ".join(site.sources))
    return site.name, site.scheduler, site.title, addresses[0] if addresses else "-"


def _add_list(actions: _Subparsers[argparse.ArgumentParser]) -> None:
    parser = actions.add_parser("list", help="names and what they are (the default)")
    parser.set_defaults(action=list_sites)


def _add_show(actions: _Subparsers[argparse.ArgumentParser]) -> None:
    parser = actions.add_parser("show", help="print the file of a site, with its sources")
    parser.add_argument("name", metavar="NAME")
    parser.set_defaults(action=show_site)


def _add_init(actions: _Subparsers[argparse.ArgumentParser]) -> None:
    parser = actions.add_parser("init", help="write a copy of a site's file that you own")
    parser.add_argument("name", metavar="NAME")
    _add_output(parser, "NAME.py")
    parser.set_defaults(action=init_site)


def _add_from_script(actions: _Subparsers[argparse.ArgumentParser]) -> None:
    parser = actions.add_parser(
        "from-script", help="make a site file of the #SBATCH or #PBS lines of a job script"
    )
    parser.add_argument("script", metavar="SCRIPT")
    _add_output(parser, "SCRIPT_site.py")
    parser.set_defaults(action=make_from_script)


def _add_output(parser: argparse.ArgumentParser, default: str) -> None:
    parser.add_argument(
        "-o", "--output", type=Path, metavar="FILE", help=f"where to (default: ./{default})"
    )
    parser.add_argument("--force", action="store_true", help="overwrite a file that is there")
