"""Which files are meant, and what they say."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final

from agentclock.declaring.json_text import is_json, read_json
from agentclock.declaring.reading import Declarations
from agentclock.declaring.tree import Branch, Builder, Fault, Leaf, Node, Place, Unreadable
from agentclock.declaring.yaml_text import read_yaml

#: In folders, files with these endings are read.
SUFFIXES: Final = frozenset((".yaml", ".yml", ".json"))
FILE_BYTES: Final = 16 * 1024 * 1024

_STDIN: Final = "-"


def read_files(paths: Iterable[str], manager: str | None, stdin: Callable[[], bytes]) -> Declarations:
    """Files, folders with what is below them, and "-". `manager`: of files that do not name theirs."""
    declarations, seen = Declarations(), set[Path]()

    def read(file: Path | None) -> None:
        name, content = ("stdin", stdin) if file is None else (str(file), file.read_bytes)
        read_text(_text(content, name), name, manager, declarations)

    for path in paths:
        files: list[Path | None] = [None] if path == _STDIN else list(_files(Path(path)))
        if not files:
            message = f"has no files that end in {', '.join(sorted(SUFFIXES))}"
            declarations.faults.append(Fault(place=Place(path), message=message))
        for file in files:
            real = file and file.resolve()
            if real is not None and real in seen:
                continue
            seen |= {real} if real is not None else set()
            try:
                read(file)
            except Unreadable as error:
                declarations.faults.append(error.fault)
    declarations.sort_faults()
    return declarations


def read_text(text: str, file: str, manager: str | None, declarations: Declarations) -> None:
    """Adds what one file declares."""
    builder = Builder()
    declarations.texts[file] = text
    read = read_json if file.lower().endswith(".json") or is_json(text) else read_yaml
    try:
        read(text, file, builder)
    except Unreadable as error:
        declarations.unread([*builder.faults, error.fault])
        return
    declarations.unread(builder.faults)
    documents = [part for document in builder.documents for part in _parts(document) if not _is_empty(part)]
    if not documents:
        declarations.faults.append(Fault(place=Place(file), message="is empty: it needs `manager:` and `schedules:`"))
    for document in documents:
        declarations.add(document, manager)


def _parts(document: Node) -> Sequence[Node]:
    """JSON has no documents one after the other: it has a list of them."""
    return document.items if isinstance(document, Branch) else [document]


def _is_empty(document: Node) -> bool:
    return isinstance(document, Leaf) and document.value is None


def _files(path: Path) -> Iterator[Path]:
    """The file itself, or what a folder has in the order of names; hidden ones and JSON Schemas are left out."""
    if not path.is_dir():
        yield path
        return
    for file in sorted(path.rglob("*")):
        is_hidden = any(part.startswith(".") for part in file.relative_to(path).parts)
        is_meant = file.suffix.lower() in SUFFIXES and not file.name.endswith(".schema.json")
        if is_meant and not is_hidden and file.is_file():
            yield file


def _text(content: Callable[[], bytes], file: str) -> str:
    """Raises Unreadable."""
    try:
        found = content()
        if len(found) > FILE_BYTES:
            raise Unreadable(Fault(place=Place(file), message=f"is larger than {FILE_BYTES:,} bytes"))
        return found.decode("utf-8-sig")
    except OSError as error:
        raise Unreadable(Fault(place=Place(file), message=f"cannot be read: {error.strerror}")) from None
    except UnicodeDecodeError as error:
        line = found.count(b"\n", 0, error.start) + 1
        raise Unreadable(Fault(place=Place(file, line), message="is no text in UTF-8")) from None
