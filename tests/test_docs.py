"""Every line that the documentation shows: Python blocks run, command lines run on small nets, links and generated pages hold.

A document's blocks run in order, in one folder with `weather.csv` (the bundled file), Python blocks in one namespace.
"""

from __future__ import annotations

import contextlib
import dataclasses
import importlib.util
import io
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

import pytest
import torch

from tidegate.cli import COMMANDS, TASKS
from tidegate.cli import main as tidegate
from tidegate.cli.common import explained

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
PAGES = sorted([ROOT / "README.md", ROOT / "CHANGELOG.md", *DOCS.rglob("*.md")])
OWN = ("reviews.csv", "requests.conll", "requests.intents")
BUNDLED = {"weather.csv": "seattle-weather.csv", **{name: name for name in OWN}}  # as documents call them
GENERATED = {"options.md", "cli.md", "python.md"}
EDGE = ("start.c", "cortex_m.ld")  # of bench/edge
TOOLS = ("cc", "arm-none-eabi-gcc", "qemu-system-arm", "clang", "node")  # run where they are installed
LONG = {"demo"}  # its own test runs it; here its flags are checked
SMALL = ["--steps", "10", "--hidden-size", "8"]  # appended to commands that train
PARTS_OF_COMMANDS = ["check classify", "check tag", "check translate", "demo text"]
PARTS = ("Context", "Decision", "Alternatives refused", "Consequences")


class Block(NamedTuple):
    """A fenced block: its language and flags, its text, and the line it starts in."""

    info: str
    text: str
    line: int


def blocks(path: Path) -> Iterator[Block]:
    found = re.finditer(r"^```([^\n]*)\n(.*?)^```$", path.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    text = path.read_text(encoding="utf-8")
    for match in found:
        yield Block(match[1].strip(), match[2], text[: match.start()].count("\n") + 2)


def commands(block: Block) -> list[str]:
    """The lines behind `$`, comments taken away."""
    return [re.sub(r"\s+#.*$", "", line[2:]) for line in block.text.splitlines() if line.startswith("$ ")]


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def runs(path: Path) -> bool:
    return path.name not in GENERATED and any(b.info in ("python", "console") for b in blocks(path))


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with the bundled files, to run in."""
    for name, own in BUNDLED.items():
        shutil.copyfile(ROOT / "src" / "tidegate" / "bundled" / own, tmp_path / name)
    for name in EDGE:
        shutil.copyfile(ROOT / "bench" / "edge" / name, tmp_path / name)
    monkeypatch.chdir(tmp_path)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # small nets: more threads only wait for each other
    yield tmp_path
    torch.set_num_threads(threads)


@pytest.mark.parametrize("path", [p for p in PAGES if runs(p)], ids=name_of)
def test_every_block_runs(path: Path, place: Path) -> None:
    scope: dict[str, object] = {"__name__": "__main__"}
    said = ""
    for block in blocks(path):
        where = f"{name_of(path)}:{block.line}"
        if block.info == "python":
            said = run_python(block, scope, where)
        elif block.info == "console":
            for line in commands(block):
                run_command(line, where)
        elif re.fullmatch(r"(c|js) [\w.]+", block.info):  # a file of that name
            Path(block.info.split()[1]).write_text(block.text, encoding="utf-8")
        elif block.info == "text output":
            assert said.strip() == block.text.strip(), f"{where}: the block above prints something else"
        else:
            assert block.info == "text", f"{where}: a block is python, console, text, text output or a file; got {block.info!r}"


def run_python(block: Block, scope: dict[str, object], where: str) -> str:
    """Run a block; what it printed. Line numbers of a failure are those of the document."""
    out = io.StringIO()
    code = compile("\n" * (block.line - 1) + block.text, where, "exec")
    with contextlib.redirect_stdout(out):
        exec(code, scope)
    return out.getvalue()


def run_command(line: str, where: str) -> None:
    """Run a `tidegate` line; of any other, check what it names."""
    for part in re.split(r"\s*(?:&&|;)\s*", line):
        words = shlex.split(part, posix="\\" not in part)
        if words[0] == "tidegate":
            run_tidegate(words[1:], f"{where}: {line}")
        elif words[0] == "make":
            assert words[1] in make_targets(), f"{where}: the Makefile has no target {words[1]!r}"
        elif words[0] in TOOLS or words[0].startswith("./"):
            run_tool(words, f"{where}: {line}")
        elif words[0] == "pip":
            check_pip(words, where)
        else:
            known = words[0] in ("cp", "python3", "py", ".", r".venv\Scripts\Activate.ps1")
            assert known, f"{where}: a command that no test knows: {line}"


def run_tidegate(words: list[str], where: str) -> None:
    assert words[0] in COMMANDS, f"{where}: no such command"
    if words[0] in LONG:
        script("make_reference").command_parser(" ".join(words[:2])).parse_args(words[1:])
        return
    more = SMALL if words[0] in ("fit", "backtest") else []
    more = [] if "--budget" in words else more  # a budget fixes the steps
    more = more[:2] if "--flash" in words else more  # and a device the hidden size
    words = ["1s" if before == "--budget" else word for before, word in zip(["", *words], words, strict=False)]
    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        try:
            status = tidegate([*words, *more])
        except SystemExit as stop:
            status = int(stop.code or 0)
    assert status == 0, f"{where}: exit status {status}\n{said.getvalue()}"


def run_tool(words: list[str], where: str) -> None:
    """A compiler, an emulator, or what the line before has made; nothing where it is not installed."""
    if not (Path(words[0]).is_file() if words[0].startswith("./") else shutil.which(words[0])):
        return
    done = subprocess.run(words, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, f"{where}: exit status {done.returncode}\n{done.stdout}{done.stderr}"


def check_pip(words: list[str], where: str) -> None:
    """The extras that a pip line names exist, and so do its files."""
    for word in words:
        match = re.fullmatch(r"\"?\.\[([a-z,]+)\]\"?", word)
        if match:
            unknown = set(match[1].split(",")) - set(extras())
            assert not unknown, f"{where}: no such extra: {unknown}"
    if "-c" in words:
        assert (ROOT / words[words.index("-c") + 1]).is_file(), where


def make_targets() -> set[str]:
    return set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))


def extras() -> list[str]:
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    return re.findall(r"^(\w+) = \[", text.partition("[project.optional-dependencies]")[2].partition("\n\n")[0], re.MULTILINE)


def anchors(path: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    titles = re.findall(r"^#+ (.+)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).strip().replace(" ", "-") for title in titles}


@pytest.mark.parametrize("path", PAGES, ids=name_of)
def test_links_hold(path: Path) -> None:
    text = re.sub(r"^```.*?^```$", "", path.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if target.startswith("http"):
            continue
        file, _, anchor = target.partition("#")
        there = (path.parent / file).resolve() if file else path
        assert there.exists(), f"{name_of(path)}: a link to {target}, which is not there"
        assert not anchor or anchor in anchors(there), f"{name_of(path)}: {file or 'the page'} has no heading #{anchor}"


@pytest.mark.parametrize("path", PAGES, ids=name_of)
def test_paths_and_targets_in_the_text_exist(path: Path) -> None:
    """What stands in back quotes and looks like a file of the repository, or a make target, is one."""
    text = re.sub(r"^```.*?^```$", "", path.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    for quoted in re.findall(r"`((?:src|tests|bench|docs|examples)/[\w./-]+)`", text):
        assert (ROOT / quoted).exists() or "NNNN" in quoted, f"{name_of(path)}: `{quoted}` is not there"
    for target in re.findall(r"`make ([a-z-]+)[^`]*`", text):
        assert target in make_targets(), f"{name_of(path)}: the Makefile has no target {target!r}"


def test_every_page_is_reached_from_the_index() -> None:
    linked = set(re.findall(r"\]\(([^)#\s]+)", (DOCS / "index.md").read_text(encoding="utf-8")))
    missing = [name_of(p) for p in DOCS.rglob("*.md") if p.relative_to(DOCS).as_posix() not in linked and p.name != "index.md"]
    assert not missing, f"docs/index.md does not link {missing}"


def test_the_tour_names_seven_files() -> None:
    text = (DOCS / "tour.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (\d) \| \[([\w/.]+)\]\(\.\./([\w/.]+)\) \|.*\| (\d+) \|$", text, re.MULTILINE)
    assert [int(number) for number, *_ in rows] == list(range(1, 8))
    assert all(shown == link and (ROOT / link).is_file() for _, shown, link, _ in rows)
    assert sum(int(minutes) for *_, minutes in rows) <= 60
    questions = re.findall(r"^\d\. ", text.partition("## Quiz")[2].partition("### Answers")[0], re.MULTILINE)
    answers = re.findall(r"^\d\. ", text.partition("### Answers")[2], re.MULTILINE)
    assert len(questions) == len(answers) > 0


def test_decisions_have_their_parts() -> None:
    pages = sorted((DOCS / "decisions").glob("*.md"))
    assert [int(p.name[:4]) for p in pages] == list(range(1, len(pages) + 1))
    for page in pages:
        text = page.read_text(encoding="utf-8")
        titles = re.findall(r"^## (.+)$", text, re.MULTILINE)
        assert text.startswith(f"# {page.name[:4]} "), page.name
        assert "**Status:**" in text, page.name
        assert [part for part in PARTS if part not in titles] == [], page.name


def test_generated_pages_are_what_the_package_says() -> None:
    assert script("make_reference").stale() == [], "docs/reference is stale: run `make docs`"


@pytest.mark.parametrize("name", [n for n in COMMANDS if n != "fit"] + [f"fit {task}" for task in TASKS] + PARTS_OF_COMMANDS)
def test_the_examples_of_every_command_have_flags_that_exist(name: str) -> None:
    reference = script("make_reference")
    shown = reference.examples(name)
    assert shown
    for line in shown:
        words = shlex.split(line.partition("|")[0], comments=True)
        assert " ".join(words[1:]).startswith(name), line
        assert words[0] == "tidegate"
        reference.command_parser(name).parse_args(words[2:])


def test_every_option_is_described() -> None:
    for cls in script("make_reference").OPTIONS.values():
        said = explained(cls)
        assert [field.name for field in dataclasses.fields(cls) if not said.get(field.name)] == []


@pytest.mark.parametrize("name", ["forecast.png", "tutorials.png"])
def test_the_picture_is_small_and_real(name: str) -> None:
    body = (DOCS / "images" / name).read_bytes()
    assert body.startswith(b"\x89PNG")
    assert 10_000 < len(body) < 200_000


def test_a_broken_block_fails(tmp_path: Path) -> None:
    """The runner itself: a failing line is a failing test, at the document's own line."""
    page = tmp_path / "page.md"
    page.write_text("text\n\n```python\nx = 1\nraise KeyError('here')\n```\n", encoding="utf-8")
    (block,) = blocks(page)
    with pytest.raises(KeyError, match="here") as caught:
        run_python(block, {}, "page.md")
    assert caught.traceback[-1].lineno + 1 == 5
    with pytest.raises(AssertionError, match="no such command"):
        run_command("tidegate forcast x.csv", "page.md:1")
    with pytest.raises(AssertionError, match="exit status 2"):
        run_command("tidegate info --no-such-flag x.safetensors", "page.md:1")


def script(name: str) -> ModuleType:
    """A script of docs/, as a module."""
    spec = importlib.util.spec_from_file_location(name, DOCS / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
