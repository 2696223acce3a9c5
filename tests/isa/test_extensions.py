"""The list of extensions: names, what they imply, and the profiles that name them."""

from __future__ import annotations

import pytest

from rvvm import _core

EXTENSIONS = {row["name"]: row for row in _core.extensions()}

# RISC-V Profiles: the mandatory parts, but for those that need V (v zvfhmin zvbb zvkt) and for
# pointer masking (supm ssnpm).
RVA22S64 = (
    "i m a f d c zicsr zicntr zihpm ziccif ziccrse ziccamoa zicclsm za64rs zihintpause zba zbb zbs "
    "zic64b zicbom zicbop zicboz zfhmin zkt zifencei ss1p12 svbare sv39 svade ssccptr sstvecd "
    "sstvala sscounterenw svpbmt svinval"
)
RVA23S64 = (
    RVA22S64 + " b zihintntl zicond zimop zcmop zcb zfa zawrs ss1p13 svnapot sstc sscofpmf ssu64xl "
    "sha h ssstateen shcounterenw shvstvala shtvala shvstvecd shvsatpa shgatpa"
)


@pytest.mark.parametrize("name", RVA23S64.split())
def test_profiles_are_known(name: str) -> None:
    assert EXTENSIONS[name]["meaning"]


@pytest.mark.parametrize("name", ["v", "zvbb", "zvkt", "zve64d", "supm"])
def test_what_is_not_there_is_not_named(name: str) -> None:
    assert name not in EXTENSIONS


def test_implications_name_extensions() -> None:
    assert {name for row in EXTENSIONS.values() for name in row["implies"]} <= EXTENSIONS.keys()


@pytest.mark.parametrize(
    ("named", "word", "name"),
    [
        (["b"], 0x20B52533, "sh1add"),
        (["a"], 0x00B5252F, "amoadd_w"),
        (["d"], 0x00052507, "flw"),
        (["zfh"], 0x00051507, "flh"),
        (["m"], 0x02B50533, "mul"),
        (["c"], 0x4108, "lw"),
        (["h"], 0x10200073, "sret"),
        (["zacas"], 0x00B5252F, "amoadd_w"),
        (["zcb"], 0x4108, "lw"),
        (["f"], 0x300022F3, "csrrs"),
    ],
)
def test_an_extension_brings_what_it_implies(named: list[str], word: int, name: str) -> None:
    assert _core.decode(word, named)["name"] == name


def test_the_tables_name_known_extensions() -> None:
    for row in [*_core.instructions(), *_core.compressed()]:
        [(quantifier, needed)] = row["need"].items()
        assert quantifier in ("any", "all")
        assert set(needed) <= EXTENSIONS.keys()


def test_flags_say_how_a_row_runs() -> None:
    known = {"native", "helper", "jumps", "traps", "serial", "fp"}
    for row in _core.instructions():
        flags = set(row["flags"])
        assert flags <= known
        assert len(flags & {"native", "helper"}) == 1
