"""Source trees: equal to what dtc makes of them, and errors that name file and line."""

from __future__ import annotations

import random
import shutil
import subprocess
from pathlib import Path

import pytest

from board.trees import BOARDS, write
from rvvm.py import fdt
from rvvm.py.errors import UserError
from rvvm.py.preprocessor import preprocess

FEATURES = """\
/dts-v1/;
#include "numbers.h"
#define SECOND(x) ((x) + 1)
#ifdef ABSENT
#error not reached
#endif
/memreserve/ 0x1000 0x20;
/ {
    #address-cells = <TWO>;
    #size-cells = <(TWO - 1)>;
    compatible = "acme,board", "acme//not-a-comment"; // a comment
    numbers = <1 SECOND(2) (3 * 4 + (1 << 4)) (TWO == 2 ? 7 : 8) 'a' 0x1fULL (-1)>;
    wide = /bits/ 64 <0x123456789abcdef0>;
    narrow = /bits/ 8 <1 2>, /bits/ 16 <3>;
    bytes = [00 0a ff];
    mixed = "text", <1>, [02], &uart, <&uart 5>;
    escapes = "a\\tb\\x41\\"";
    file = /incbin/("blob.bin");
    part = /incbin/("blob.bin", 1, 2);
    flag;

    uart: serial@1000 { reg = <0 0x1000 0x100>; gone; };
    spare: spare@2000 { reg = <0 0x2000 0x100>; };
    other@3000 { reg = <0 0x3000 0x100>; };
    /include/ "more.dtsi"
    points { to = <&more>, <&{/serial@1000}>; };
};

&uart {
    status = "disabled";
    /delete-property/ gone;
};
/delete-node/ &spare;
/ { /delete-node/ other@3000; };
"""


@pytest.fixture
def features(tmp_path: Path) -> Path:
    (tmp_path / "numbers.h").write_text("#ifndef N\n#define N\n#define TWO 2\n#endif\n")
    (tmp_path / "more.dtsi").write_text("more: more {\n    value = <9>;\n};\n")
    (tmp_path / "blob.bin").write_bytes(b"\x01\x02\x03\x04")
    return write(tmp_path, FEATURES)


def dtc(path: Path, *, blob: bool) -> str:
    """What dtc reads there, sorted, as text; anything it warns of is a failure."""
    command = ["dtc", "-s", "-I", "dtb" if blob else "dts", "-O", "dts", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=path.parent, check=True)
    assert done.stderr == ""
    return done.stdout


@pytest.mark.skipif(not shutil.which("dtc"), reason="dtc is not installed")
@pytest.mark.parametrize("board", BOARDS, ids=lambda path: path.stem)
def test_boards_are_what_dtc_makes_of_them(board: Path, tmp_path: Path) -> None:
    (tmp_path / "source.dts").write_text(preprocess(str(board), board.read_text()))
    (tmp_path / "ours.dtb").write_bytes(fdt.to_dtb(fdt.load(board)))
    done = subprocess.run(
        ["dtc", "-o", "theirs.dtb", "source.dts"], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.stderr == "", "dtc warns of nothing in our boards"
    assert dtc(tmp_path / "ours.dtb", blob=True) == dtc(tmp_path / "theirs.dtb", blob=True)


@pytest.mark.skipif(not shutil.which("dtc"), reason="dtc is not installed")
def test_every_feature_is_read_as_dtc_does(features: Path, tmp_path: Path) -> None:
    source = tmp_path / "source.dts"
    source.write_text(preprocess(str(features), features.read_text()))
    ours, theirs = tmp_path / "ours.dtb", tmp_path / "theirs.dtb"
    ours.write_bytes(fdt.to_dtb(fdt.load(features)))
    subprocess.run(["dtc", "-q", "-o", str(theirs), str(source)], check=True, cwd=tmp_path)
    decoded = [
        subprocess.run(
            ["dtc", "-q", "-s", "-I", "dtb", str(path)], check=True, capture_output=True
        ).stdout
        for path in (ours, theirs)
    ]
    assert decoded[0] == decoded[1]


def test_nodes_and_properties_know_their_lines(features: Path, tmp_path: Path) -> None:
    tree = fdt.load(features)
    line = FEATURES.splitlines().index
    uart = tree["/serial@1000"]
    assert uart.source == (str(features), 22)
    assert uart["status"].source == (str(features), 1 + line('    status = "disabled";'))
    assert tree.root["#size-cells"].source.line == 10
    assert tree["/more"].source == (str(tmp_path / "more.dtsi"), 1)
    assert tree["/more"]["value"].source.line == 2
    assert uart.labels == ["uart"]


@pytest.mark.parametrize("board", BOARDS, ids=lambda path: path.stem)
def test_the_preprocessor_is_left_out_where_it_changes_nothing(board: Path, tmp_path: Path) -> None:
    text = board.read_text()
    cooked = write(tmp_path, f"#define NOT_USED\n{text}")
    assert fdt.to_dtb(fdt.load(board)) == fdt.to_dtb(fdt.load(cooked))


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("#define A 3\n/ { a = <A>; };", 3),
        ("/* one */ # define A 3\n/ { a = <A>; };", 3),
        ("\n#if 0\n/ { a = <1>; };\n#else\n/ { a = <2>; };\n#endif", 2),
        ("/ { a = <__LINE__>; };", 2),
        ("/ { a = \\\n <7>; };", 7),
        ("/ { #if-cells = <1>; a = <4>; };", 4),
    ],
)
def test_the_preprocessor_is_there_when_it_is_needed(text: str, value: int, tmp_path: Path) -> None:
    assert fdt.load(write(tmp_path, f"/dts-v1/;\n{text}\n")).root.u32("a") == value


def test_macros_from_outside(tmp_path: Path) -> None:
    path = write(tmp_path, "/dts-v1/;\n/ { a = <SIZE>;\n#ifdef FLAG\nb;\n#endif\n};\n")
    tree = fdt.load(path, defines=["SIZE=4", "FLAG"])
    assert tree.root.u32("a") == 4 and "b" in tree.root


def test_include_folders(tmp_path: Path) -> None:
    (tmp_path / "inc").mkdir()
    (tmp_path / "inc/a.h").write_text("#define A 3\n")
    path = write(tmp_path, "/dts-v1/;\n#include <a.h>\n/ { a = <A>; };\n")
    assert fdt.load(path, include=[str(tmp_path / "inc")]).root.u32("a") == 3


@pytest.mark.parametrize(
    ("text", "line", "says"),
    [
        ("/dts-v1/;\n/ {\n  a = <1>\n};\n", 4, "expected ';' or ','"),
        ("/dts-v1/;\n/ {\n  a = <1 2;\n};\n", 3, "expected number"),
        ("/dts-v1/;\n/ {\n  a = <&nothing>;\n};\n", 3, "undefined node label 'nothing'"),
        ("/dts-v1/;\n/ {};\n&nothing {};\n", 3, "undefined node label 'nothing'"),
        ("/dts-v1/;\n&early {};\n/ {};\n", 2, "&early comes before the root node"),
        ("/dts-v1/;\n/ {\n  a = <0x1_0>;\n};\n", 3, ""),
        ("/dts-v1/;\n/ {\n  a = <09>;\n};\n", 3, "09"),
        ("/dts-v1/;\n/ {\n  a = <(1 / 0)>;\n};\n", 3, "division by zero"),
        ("/dts-v1/;\n/ {\n  a = <0x100000000>;\n};\n", 3, "does not fit in 32 bits"),
        ("/dts-v1/;\n\n#include \"none.h\"\n/ {};\n", 3, "none.h"),
        ("/dts-v1/;\n\n/include/ \"none.dtsi\"\n/ {};\n", 3, "none.dtsi"),
        ("/dts-v1/;\n/ {\n  a = /incbin/(\"none.bin\");\n};\n", 3, "none.bin"),
        ("/dts-v1/;\n#ifndef X\n#error no X\n#endif\n/ {};\n", 3, "no X"),
        ("/dts-v1/;\n/ {\n  x { phandle = <1>; };\n  y { phandle = <1>; };\n};\n", 4, "duplicated"),
        ("/dts-v1/;\n/ {};\n#if\n#endif\n", 3, "Empty expression"),
        ("/dts-v1/;\n/ {};\n#ifdef\n#endif\n", 3, "malformed #ifdef"),
        ("/dts-v1/;\n/plugin/;\n/ {};\n", 2, "/plugin/ is not supported"),
        ("/ {};\n", 1, "expected '/dts-v1/;'"),
        ("/dts-v1/;\n", None, "no root node"),
        ("", None, "expected '/dts-v1/;'"),
    ],
)  # fmt: skip
def test_errors_name_the_place(tmp_path: Path, text: str, line: int | None, says: str) -> None:
    path = write(tmp_path, text)
    with pytest.raises(UserError) as caught:
        fdt.load(path)
    message = str(caught.value)
    assert message.startswith(f"{path}:{line or ''}"), message
    assert says in message and "\n" not in message


def test_an_error_in_an_included_file_names_that_file(tmp_path: Path) -> None:
    (tmp_path / "bad.dtsi").write_text("/ {\n a = ;\n};\n")
    for include in ('#include "bad.dtsi"', '/include/ "bad.dtsi"'):
        path = write(tmp_path, f"/dts-v1/;\n{include}\n")
        with pytest.raises(UserError, match=r"bad\.dtsi:2: malformed value"):
            fdt.load(path)


def test_files_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="absent.dts: No such file"):
        fdt.load(tmp_path / "absent.dts")
    with pytest.raises(UserError, match="Is a directory"):
        fdt.load(tmp_path)
    (tmp_path / "binary.dts").write_bytes(bytes(range(256)))
    with pytest.raises(UserError, match=r"binary\.dts: it is not UTF-8"):
        fdt.load(tmp_path / "binary.dts")


def test_damaged_source_is_an_error_or_a_tree(tmp_path: Path) -> None:
    rng = random.Random(1)
    for _ in range(300):
        text = list(BOARDS[-1].read_text())
        for _ in range(rng.randint(1, 5)):
            at = rng.randrange(len(text))
            text[at] = rng.choice(["", "{", "}", ";", "<", '"', "&", "/", "#", "'", "0", "\n", "("])
        path = write(tmp_path, "".join(text))
        try:
            fdt.load(path)
        except UserError as error:
            assert str(error).startswith(str(tmp_path))
