"""Making `.venv`: with requirements that need no network, a real environment; else the decisions alone."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from config.stack.bootstrap import Bootstrap


@pytest.fixture
def project(tmp_path) -> Path:
    """A project that wants nothing, and cannot get uv."""
    requirements = tmp_path / "requirements"
    requirements.mkdir()
    (requirements / "uv.txt").write_text("./no-such-wheel.whl\n")
    (requirements / "local.txt").write_text("# nothing\n")
    (requirements / "test.txt").write_text("# nothing more\n")
    return tmp_path


@pytest.fixture
def bootstrap(project) -> Bootstrap:
    return Bootstrap(project)


@pytest.fixture
def installed(bootstrap, monkeypatch) -> list[str]:
    """The names of the requirements that would be installed, in turn; the environment pretends to be there."""
    names: list[str] = []

    def install(name: str) -> None:
        names.append(name)
        bootstrap.python.parent.mkdir(parents=True, exist_ok=True)
        bootstrap.python.touch()
        bootstrap._installed.write_text(bootstrap._digest(name))

    monkeypatch.setattr(bootstrap, "_install", install)
    return names


def test_what_is_installed_is_not_installed_again(bootstrap, installed):
    bootstrap.ensure("local")
    bootstrap.ensure("local")
    assert installed == ["local"]


@pytest.mark.parametrize("changed", ["local", "uv"])
def test_changed_requirements_are_installed(bootstrap, installed, changed):
    bootstrap.ensure("local")
    (bootstrap.requirements / f"{changed}.txt").write_text("# changed\n")
    bootstrap.ensure("local")
    assert installed == ["local", "local"]


def test_the_tests_requirements_include_the_others(bootstrap, installed):
    bootstrap.ensure("local")
    bootstrap.ensure("test")
    bootstrap.ensure("local")
    assert installed == ["local", "test"]


def test_whoever_has_the_test_tools_keeps_them(bootstrap, installed):
    bootstrap.ensure("test")
    (bootstrap.requirements / "test.txt").write_text("# changed\n")
    bootstrap.ensure("local")
    assert installed == ["test", "test"]


def test_an_environment_without_its_python_is_made_again(bootstrap, installed):
    bootstrap.ensure("local")
    bootstrap.python.unlink()
    bootstrap.ensure("local")
    assert installed == ["local", "local"]


def test_a_real_environment_is_made_and_a_half_made_one_redone(bootstrap, capfd):
    (bootstrap.requirements / "local.txt").write_text("./no-such-wheel.whl\n")
    with pytest.raises(subprocess.CalledProcessError):
        bootstrap.ensure("local")
    (bootstrap.venv / "half-made").touch()

    (bootstrap.requirements / "local.txt").write_text("# nothing\n")
    bootstrap.ensure("local")
    assert "going on with pip" in capfd.readouterr().out
    assert not (bootstrap.venv / "half-made").exists()
    prefix = subprocess.run([bootstrap.python, "-c", "import sys; print(sys.prefix)"], capture_output=True, check=True).stdout
    assert Path(prefix.decode().strip()) == bootstrap.venv
    assert bootstrap._is_current("local")


def test_it_runs_on_the_standard_library_alone():
    bootstrap = Path(sys.modules[Bootstrap.__module__].__file__)
    done = subprocess.run([sys.executable, "-I", "-S", bootstrap, "nothing"], capture_output=True, text=True, check=False)
    assert "FileNotFoundError" in done.stderr  # there is no requirements/nothing.txt; every import was found
