"""The PEM files of a tap are tried before anything is opened."""

from pathlib import Path

import pytest
import trustme

from tests.plugins.tap_configs import TLS, config, errors


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    authority = trustme.CA()
    one, other = authority.issue_cert("one.example.org"), authority.issue_cert("other.example.org")
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    one.cert_chain_pems[0].write_to_path(tmp_path / "cert.pem")
    one.private_key_pem.write_to_path(tmp_path / "key.pem")
    one.private_key_and_cert_chain_pem.write_to_path(tmp_path / "both.pem")
    other.private_key_pem.write_to_path(tmp_path / "other.pem")
    return tmp_path


@pytest.mark.parametrize("place", [{"socket": TLS}, {"listen": "tls://127.0.0.1:0"}], ids=["socket", "listen"])
def test_a_certificate_and_its_key_fit(folder: Path, place: dict[str, str]) -> None:
    for keys in ({"cert": "cert.pem", "key": "key.pem"}, {"cert": "both.pem", "ca": "ca.pem"}):
        tls = config(folder, **place, **keys).output.tls
        assert tls.cert == str(folder / keys["cert"])
    assert "KEY_VALUES_MISMATCH" in errors(folder, **place, cert="cert.pem", key="other.pem")["key"]
    assert "PEM" in errors(folder, **place, cert="cert.pem", key="/dev/null")["key"]
    assert "private key" in errors(folder, **place, cert="cert.pem")["cert"]


def test_each_of_the_files_is_told_of(folder: Path) -> None:
    (folder / "words.pem").write_text("no certificate")
    found = errors(folder, socket=TLS, ca="words.pem", cert="words.pem", key="words.pem")
    assert found.keys() == {"ca", "cert", "key"}
    assert "not PEM" in found["key"]
    assert "No such file" in errors(folder, socket=TLS, cert="words.pem", key="none.pem")["key"]
    assert errors(folder, socket=TLS, ca="words.pem", cert="cert.pem", key="other.pem").keys() == {"ca", "key"}
    assert errors(folder, socket=TLS, cert="words.pem", key="key.pem").keys() == {"cert"}


def test_a_collector_may_be_trusted_by_name_or_not_at_all(folder: Path) -> None:
    assert (
        config(folder, socket=TLS, ca="ca.pem", server_name="x.example.org").output.tls.server_name == "x.example.org"
    )
    assert config(folder, socket=TLS, skip_verify=True).output.tls.skip_verify
