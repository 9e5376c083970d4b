"""Names with the time in them, and finding the files that have such a name."""

import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dnsproxy.dnstap.rotation_names import DIRECTIVES, NameTemplate

NOW = 1_700_000_000.0


def touch(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


def found(template: NameTemplate, folder: Path) -> set[str]:
    return {str(file.path.relative_to(folder)) for file in template.files()}


def test_the_time_stands_in_folders_and_name() -> None:
    moment = time.localtime(NOW)
    expected = time.strftime("/var/log/%Y-%m-%d/dns-%H%M%S.fstrm", moment)
    assert str(NameTemplate("/var/log/%F/dns-%H%M%S.fstrm").at(NOW)) == expected


def test_a_percent_sign_is_written_twice() -> None:
    assert str(NameTemplate("/tmp/100%%/%%d.fstrm").at(NOW)) == "/tmp/100%/%d.fstrm"


@pytest.mark.parametrize("text", ["/tmp/%Q", "/tmp/100%", "/tmp/%/dns", "/tmp/% d", "/tmp/%\n", "/tmp/%-d", "/tmp/%c"])
def test_what_is_no_part_of_a_time_is_an_error_that_says_what_is(text: str) -> None:
    with pytest.raises(ValueError, match=r"is no part of a time; expected one of %Y "):
        NameTemplate(text)


@given(st.sampled_from(sorted(DIRECTIVES)), st.integers(0, 2**32))
def test_every_name_that_is_made_is_found(letter: str, now: int) -> None:
    template = NameTemplate(f"/folder/dns-%{letter}.x.fstrm")
    match = template.pattern.fullmatch(template.at(now).name)
    assert match is not None
    assert match["number"] is match["state"] is match["packed"] is None


@given(st.text(st.characters(exclude_characters="/\0%", exclude_categories=["Cs"]), min_size=1))
def test_every_other_character_stands_for_itself(name: str) -> None:
    template = NameTemplate(f"/folder/{name}")
    if name not in (".", ".."):
        assert template.at(NOW) == Path("/folder") / name
        assert template.pattern.fullmatch(Path(f"/folder/{name}").name)


def test_numbered_compressed_and_partial_files_are_the_templates_own(tmp_path: Path) -> None:
    own = ["dns.fstrm", "dns.1.fstrm", "dns.22.fstrm.gz", "dns.fstrm.zst", "dns.3.fstrm.part", "dns.fstrm.gz.tmp"]
    others = [
        "dns.x.fstrm",
        "dns.fstrm.1",
        "dns.fstrm~",
        "other.fstrm",
        "xdns.fstrm",
        "dns.fstrm.gz.1",
        "dns.1.2.fstrm",
    ]
    touch(tmp_path, *own, *others)
    (tmp_path / "dns.9.fstrm").mkdir()
    (tmp_path / "dns.8.fstrm").symlink_to(tmp_path / "other.fstrm")
    template = NameTemplate(f"{tmp_path}/dns.fstrm")
    assert found(template, tmp_path) == set(own)
    files = {file.path.name: file for file in template.files()}
    assert {file.base for file in files.values()} == {tmp_path / "dns.fstrm"}
    assert [files["dns.22.fstrm.gz"].number, files["dns.fstrm"].number] == [22, 0]
    assert [files["dns.3.fstrm.part"].state, files["dns.fstrm.gz.tmp"].state, files["dns.fstrm.zst"].state] == [
        ".part",
        ".tmp",
        "",
    ]


def test_only_what_can_be_a_time_is_taken_for_one(tmp_path: Path) -> None:
    own = ["2023-11-14/dns-22.fstrm", "2023-11-14/dns-23.1.fstrm", "2023-11-15/dns-00.fstrm.gz"]
    touch(tmp_path, *own, "2023-11-15/dns-x.fstrm", "2023-11-15/dns-222.fstrm", "today/dns-22.fstrm", "dns-22.fstrm")
    touch(tmp_path, "2023-11-16")
    assert found(NameTemplate(f"{tmp_path}/%Y-%m-%d/dns-%H.fstrm"), tmp_path) == set(own)


def test_words_of_a_time_are_those_that_there_are(tmp_path: Path) -> None:
    touch(tmp_path, "Mon.fstrm", "Tue.2.fstrm", "mon.fstrm", "Foo.fstrm")
    assert found(NameTemplate(f"{tmp_path}/%a.fstrm"), tmp_path) == {"Mon.fstrm", "Tue.2.fstrm"}


def test_a_folder_that_is_not_there_has_no_files(tmp_path: Path) -> None:
    assert list(NameTemplate(f"{tmp_path}/no/such/%Y/dns.fstrm").files()) == []


def test_folders_of_the_template_go_with_their_last_file_and_others_stay(tmp_path: Path) -> None:
    touch(tmp_path, "logs/2023/11/dns.fstrm", "logs/2023/12/dns.fstrm", "logs/2023/12/other")
    template = NameTemplate(f"{tmp_path}/logs/%Y/%m/dns.fstrm")
    for file in list(template.files()):
        template.remove(file)
    assert [str(each.relative_to(tmp_path)) for each in sorted(tmp_path.rglob("*"))] == [
        "logs",
        "logs/2023",
        "logs/2023/12",
        "logs/2023/12/other",
    ]
    (tmp_path / "logs/2023/12/other").unlink()
    touch(tmp_path, "logs/2023/12/dns.fstrm")
    for file in template.files():
        template.remove(file)
    assert [each.name for each in tmp_path.rglob("*")] == ["logs"]
