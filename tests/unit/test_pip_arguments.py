"""Which requirements a definition may have installed."""

from __future__ import annotations

import pytest

from pipelines.pip_arguments import check_pip_url
from pipelines.values import ValueFault


@pytest.mark.parametrize(
    "text",
    [
        "tap-orchard",
        "tap-orchard==1.2.0",
        "tap-orchard[s3,gcs]>=1.2,<2",
        "tap-orchard >= 1.2, < 2 requests~=2.31",
        "'tap-orchard; python_version < \"3.12\"'",
        "git+https://example.com/acme/tap-orchard.git@v1.2#subdirectory=tap",
        "git+ssh://git@example.com/acme/tap-orchard.git",
        "https://example.com/tap_orchard-1.2-py3-none-any.whl",
        "tap-orchard @ git+https://example.com/tap-orchard.git",
        "tap-orchard[s3]@git+https://example.com/tap-orchard.git",
        "tap-orchard --no-binary tap-orchard,requests --only-binary=:all:",
        "-c https://example.com/constraints.txt tap-orchard",
        "/data/taps/tap-orchard",
        "file:///data/taps/tap_orchard-1.0-py3-none-any.whl",
    ],
)
def test_forms_that_the_installer_takes(text):
    check_pip_url(text, allowed_folders=["/data"])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("-e .", "The option -e is not taken here"),
        ("-r requirements.txt", "The option -r"),
        ("tap-orchard --trusted-host example.com", "The option --trusted-host"),
        ("tap-orchard --pre", "The option --pre"),
        ("tap-orchard --no-binary", "wants names of packages"),
        ("--no-binary ../x tap-orchard", "wants names of packages"),
        ("--index-url https://example.com/simple tap-orchard", "The option --index-url"),
        ("-c http://example.com/constraints.txt tap-orchard", "Begin it with https://"),
        ("-c /etc/passwd tap-orchard", "Begin it with https://"),
        ("./tap-orchard", "outside the allowed folders"),
        ("/etc/tap", "outside the allowed folders"),
        ("/data/../etc/tap", "outside the allowed folders"),
        ("file:///etc/tap", "outside the allowed folders"),
        ("http://example.com/tap.whl", "no address to install from"),
        ("git+file:///data/tap", "no address to install from"),
        ("https:///tap.whl", "no address to install from"),
        ("https://[::1/tap.whl", "no address to install from"),
        ("https://ida:hunter2@example.com/tap.whl", "holds a user or a password"),
        ("git+https://token@example.com/tap.git", "holds a user or a password"),
        ("tap-orchard @ https://ida:hunter2@example.com/tap.whl", "holds a user or a password"),
        ("git+https://${TOKEN}@example.com/tap.git", "variables are not filled in"),
        ("tap-orchard '", "a quote without its partner"),
        ("tap-orchard\n-e .", "one line"),
        ("tap orchard; rm", "is no requirement"),
        ("tap-orchard==", "is no requirement"),
        ("x" * 2001, "at most 2000"),
    ],
)
def test_what_it_does_not_take_is_refused_with_the_remedy(text, said):
    with pytest.raises(ValueFault) as caught:
        check_pip_url(text, allowed_folders=["/data/"])
    assert said in str(caught.value)
    assert "hunter2" not in str(caught.value)
