"""Install, import, probe() and doctor in every state of a machine."""

import os
import subprocess
import sys

import pytest

ABSENT = "/nonexistent/libcuda.so.1"
DOCTOR = ("-m", "pycupti", "doctor")


def test_a_machine_without_cuda(run_python):
    done = run_python(*DOCTOR, PYCUPTI_LIBCUDA=ABSENT, PYCUPTI_LIBCUPTI="/nonexistent/libcupti.so")
    assert done.returncode == 1
    assert done.stderr == ""
    assert "CUDA driver: not found" in done.stdout
    assert "tracing: off: no CUDA driver" in done.stdout
    assert "mend: install the NVIDIA driver" in done.stdout


def test_libcupti_without_a_driver_is_never_called(run_python, libraries):
    # This libcupti aborts in cuptiGetVersion, as 13.2 does without a driver.
    done = run_python(
        *DOCTOR, PYCUPTI_LIBCUDA=ABSENT, PYCUPTI_LIBCUPTI=str(libraries["cupti"]), FAKE_CUPTI_CRASH_ON_CALL="1"
    )
    assert done.returncode == 1
    assert f"libcupti: {libraries['cupti']}, not asked for its version" in done.stdout
    assert "tracing: off: no CUDA driver" in done.stdout
    assert "metric planning: works, for 2 chips" in done.stdout


def test_a_libcupti_that_crashes_on_load(run_python, libraries):
    done = run_python(*DOCTOR, PYCUPTI_LIBCUDA=str(libraries["cuda"]), PYCUPTI_LIBCUPTI=str(libraries["crash"]))
    assert done.returncode == 1
    assert f"tracing: off: loading {libraries['crash']} crashed (killed by SIGABRT)" in done.stdout
    assert "mend: install another CUPTI" in done.stdout
    assert "metric planning: off" in done.stdout


def test_a_libcupti_that_crashes_when_called(run_python, libraries):
    done = run_python(
        *DOCTOR,
        PYCUPTI_LIBCUDA=str(libraries["cuda"]),
        PYCUPTI_LIBCUPTI=str(libraries["cupti"]),
        FAKE_CUPTI_CRASH_ON_CALL="1",
    )
    assert "for its version crashed (killed by SIGABRT)" in done.stdout


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("FAKE_CUDA_INIT", "803", "the CUDA driver doesn't work: it answered 803"),
        ("FAKE_CUDA_DEVICES", "0", "the CUDA driver doesn't work: it sees no device"),
    ],
)
def test_a_driver_that_does_not_work(run_python, libraries, variable, value, said):
    done = run_python(
        *DOCTOR,
        PYCUPTI_LIBCUDA=str(libraries["cuda"]),
        PYCUPTI_LIBCUPTI=str(libraries["cupti"]),
        FAKE_CUPTI_CRASH_ON_CALL="1",
        **{variable: value},
    )
    assert done.returncode == 1
    assert said in done.stdout


def test_a_library_that_is_no_library(run_python, libraries, tmp_path):
    text = tmp_path / "libcupti.so"
    text.write_text("not a library")
    done = run_python(*DOCTOR, PYCUPTI_LIBCUDA=str(libraries["cuda"]), PYCUPTI_LIBCUPTI=str(text))
    assert "tracing: off: libcupti can't be loaded" in done.stdout


def test_a_machine_that_works(run_python, libraries):
    done = run_python(
        *DOCTOR,
        PYCUPTI_LIBCUDA=str(libraries["cuda"]),
        PYCUPTI_LIBCUPTI=str(libraries["cupti"]),
        FAKE_CUDA_DEVICES="2",
    )
    assert done.returncode == 0
    assert "CUDA driver: works, for CUDA up to 13.0" in done.stdout
    assert "device 1: Fake GPU 1" in done.stdout
    assert "API 130001" in done.stdout
    assert done.stdout.endswith("tracing: works\n")


def test_the_libcupti_already_loaded_is_taken(run_python, libraries, tmp_path):
    code = (
        "import ctypes, pycupti; ctypes.CDLL(PATH); found = pycupti.probe(); print(found.libcupti, found.tracing)"
    ).replace("PATH", repr(str(libraries["cupti"])))
    done = run_python("-c", code, PYCUPTI_LIBCUDA=str(libraries["cuda"]), PYCUPTI_LIBCUPTI=str(tmp_path / "other.so"))
    assert done.stdout.split() == [str(libraries["cupti"]), "True"], done.stderr


def test_a_wheel_is_found_on_the_path(run_python, libraries, tmp_path):
    folder = tmp_path / "nvidia" / "cuda_cupti" / "lib"
    folder.mkdir(parents=True)
    (folder / "libcupti.so.12").symlink_to(libraries["cupti"])
    code = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); import pycupti; print(pycupti.probe().libcupti)"
    done = run_python("-c", code, PYCUPTI_LIBCUDA=str(libraries["cuda"]))
    assert done.stdout.strip() == str(folder / "libcupti.so.12"), done.stderr


def test_relative_paths_and_a_hostile_working_folder(libraries, tmp_path):
    (tmp_path / "pycupti").mkdir()
    (tmp_path / "pycupti" / "_child.py").write_text("raise SystemExit('wrong package')")
    for name, path in libraries.items():
        (tmp_path / name).symlink_to(path)
    code = "import sys; sys.path.remove(''); import pycupti; print(pycupti.probe())"
    environment = {**os.environ, "PYCUPTI_LIBCUDA": "./cuda", "PYCUPTI_LIBCUPTI": "./cupti"}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert "problem=''" in done.stdout, done.stdout + done.stderr


def test_starting_where_nothing_works_raises_one_error(run_python):
    code = "import pycupti\ntry:\n    pycupti.Tracer().start()\nexcept pycupti.Unavailable as error:\n    print(error)"
    done = run_python("-c", code, PYCUPTI_LIBCUDA=ABSENT, PYCUPTI_LIBCUPTI="/nonexistent/libcupti.so")
    assert done.stdout.startswith("no CUDA driver: "), done.stderr


def test_without_the_compiled_core(run_python):
    code = "import sys; sys.modules['pycupti._core'] = None\nimport pycupti\nprint(pycupti.probe().problem)"
    done = run_python("-c", code)
    assert done.stdout.startswith("pycupti's compiled core can't be loaded"), done.stderr


def test_importing_brings_in_nothing_heavy_or_foreign(run_python):
    code = "import pycupti, sys; print([m for m in ('numpy', 'mlms', 'opentelemetry', 'torch') if m in sys.modules])"
    assert run_python("-c", code).stdout.strip() == "[]"


def test_the_public_names_are_these():
    import pycupti

    assert {name for name in pycupti.__all__ if getattr(pycupti, name) is not None} == {
        "DEFAULT_KINDS",
        "Attribution",
        "Conflict",
        "CountersBusy",
        "CountersRestricted",
        "CuptiError",
        "DriverError",
        "Kind",
        "Probe",
        "PycuptiError",
        "RangeMetrics",
        "RangeProfiler",
        "Records",
        "Stats",
        "Tracer",
        "Unavailable",
        "UnknownMetric",
        "attribute",
        "demangle",
        "errors",
        "launching_calls",
        "merge",
        "metrics",
        "otlp",
        "probe",
    }
