from __future__ import annotations

import logging
import os
import ssl
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from tests.servers.conftest import Authority

from ginkgo.core.errors import ConfigError
from ginkgo.servers.tls import Certificate, client_context


def loaded(*args: object, **kwargs: object) -> Certificate:
    certificate = Certificate(*args, **kwargs)  # type: ignore[arg-type]
    certificate.load()
    return certificate


def test_a_certificate_makes_a_context_with_todays_defaults(authority: Authority):
    context = loaded(*authority.issue("localhost")).context
    assert context is not None
    assert context.minimum_version >= ssl.TLSVersion.TLSv1_2


def test_without_files_there_is_no_tls():
    assert loaded().context is None


def test_certificate_and_key_may_be_in_one_file(authority: Authority, tmp_path: Path):
    certfile, keyfile = authority.issue("localhost")
    both = tmp_path / "both.pem"
    both.write_bytes(Path(certfile).read_bytes() + Path(keyfile).read_bytes())
    both.chmod(0o600)
    assert loaded(both).context is not None


def test_a_context_of_ones_own_is_taken_as_it_is():
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    assert loaded(ssl_context=context).context is context
    with pytest.raises(ConfigError, match="one too much"):
        Certificate("a.pem", ssl_context=context)


def test_a_key_without_a_certificate_is_refused():
    with pytest.raises(ConfigError, match=r"keyfile a.key needs a certfile"):
        Certificate(keyfile="a.key")


def test_a_missing_file_is_named(authority: Authority):
    certfile, keyfile = authority.issue("localhost")
    with pytest.raises(ConfigError, match=r"missing.pem cannot be read: No such file") as raised:
        loaded("missing.pem", keyfile)
    assert raised.value.status == 78
    with pytest.raises(ConfigError, match=r"missing.key cannot be read: No such file"):
        loaded(certfile, "missing.key")
    with pytest.raises(ConfigError, match=r"cannot be read: Is a directory"):
        loaded(os.path.dirname(certfile), keyfile)


def test_a_file_that_is_no_certificate_is_named(authority: Authority, tmp_path: Path):
    certfile, keyfile = authority.issue("localhost")
    garbage = tmp_path / "garbage.pem"
    garbage.write_text("this is no certificate")
    with pytest.raises(ConfigError, match=r"no usable certificate and key in .*garbage.pem and"):
        loaded(str(garbage), keyfile)
    with pytest.raises(ConfigError, match=rf"no usable certificate and key in {certfile}:"):
        loaded(certfile)


def test_a_key_of_another_certificate_is_told(authority: Authority):
    certfile, _ = authority.issue("localhost")
    _, other = authority.issue("example.org")
    with pytest.raises(ConfigError, match=rf"{other} does not belong to the certificate in"):
        loaded(certfile, other)


def test_an_encrypted_key_is_refused_without_asking_on_the_terminal(
    authority: Authority, tmp_path: Path
):
    certfile, keyfile = authority.issue("localhost")
    key = serialization.load_pem_private_key(Path(keyfile).read_bytes(), None)
    locked = tmp_path / "locked.key"
    locked.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"secret"),
        )
    )
    with pytest.raises(ConfigError, match=r"locked.key is encrypted"):
        loaded(certfile, str(locked))


def test_a_key_that_everybody_can_read_is_warned_of(
    authority: Authority, caplog: pytest.LogCaptureFixture
):
    certfile, keyfile = authority.issue("localhost")
    loaded(certfile, keyfile)
    assert not caplog.records
    os.chmod(keyfile, 0o644)
    loaded(certfile, keyfile)
    assert caplog.messages == [f"{keyfile}: every user of this machine can read this private key"]


def test_files_are_read_again_only_when_they_have_changed(authority: Authority):
    certfile, keyfile = authority.issue("localhost")
    certificate = loaded(certfile, keyfile)
    before = certificate.context
    certificate.reload()
    assert certificate.context is before
    for old, new in zip((certfile, keyfile), authority.issue("localhost"), strict=True):
        os.rename(new, old)
    certificate.reload()
    assert certificate.context is not before


def test_a_reload_that_fails_keeps_the_old_certificate(authority: Authority):
    certfile, keyfile = authority.issue("localhost")
    certificate = loaded(certfile, keyfile)
    before = certificate.context
    Path(certfile).write_text("half written")
    with pytest.raises(ConfigError, match="no usable certificate"):
        certificate.reload()
    assert certificate.context is before


def test_a_reload_without_the_permission_to_read_keeps_the_old_certificate(
    authority: Authority, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    certificate = loaded(*authority.issue("localhost"))
    before = certificate.context

    def refused(path: str) -> None:
        raise PermissionError(13, "Permission denied")

    with caplog.at_level(logging.WARNING), monkeypatch.context() as patch:
        patch.setattr(os, "stat", refused)
        certificate.reload()
    assert certificate.context is before
    assert "the certificate stays as it is" in caplog.text


def test_a_client_verifies_certificate_and_name(authority: Authority):
    context = client_context(cafile=authority.cafile)
    assert context.verify_mode == ssl.CERT_REQUIRED and context.check_hostname
    with pytest.raises(ConfigError, match=r"cafile missing.pem cannot be read"):
        client_context(cafile="missing.pem")


def test_a_cafile_without_certificates_is_told(tmp_path: Path):
    empty = tmp_path / "empty.pem"
    empty.write_text("nothing\n")
    with pytest.raises(ConfigError, match=r"cafile .*empty.pem has no usable certificate"):
        client_context(cafile=str(empty))
