"""The core under ThreadSanitizer and AddressSanitizer, as a program without Python."""

import subprocess

import pytest

from fake import build

SOURCES = (
    "loader",
    "driver",
    "table",
    "names",
    "decode",
    "pool",
    "correlate",
    "clock",
    "calls",
    "tracer",
    "otlp",
    "range",
)
STRESS = build.HERE.parent / "stress" / "stress.c"


@pytest.mark.slow
@pytest.mark.parametrize("sanitizer", ["thread", "address,undefined"])
def test_the_core_is_clean_under(sanitizer, tmp_path):
    flags = (f"-fsanitize={sanitizer}", "-fno-omit-frame-pointer")
    cupti, cuda = build.libcupti(tmp_path, flags), build.libcuda(tmp_path, flags)
    program = tmp_path / "stress"
    sources = [str(build.CSRC / f"{name}.c") for name in SOURCES]
    includes = [f"-I{build.CSRC}", f"-I{build.HERE}"]
    command = ["gcc", *build.FLAGS, *flags, *includes, str(STRESS), *sources, str(cupti), f"-Wl,-rpath,{tmp_path}"]
    subprocess.run([*command, "-o", str(program), "-ldl", "-lpthread"], check=True)
    options = "halt_on_error=1 exitcode=66"
    done = subprocess.run(
        [str(program), str(cuda), str(cupti), "6"],
        capture_output=True,
        text=True,
        timeout=280,
        env={"TSAN_OPTIONS": options, "ASAN_OPTIONS": "detect_leaks=1", "UBSAN_OPTIONS": options},
    )
    assert done.returncode == 0, done.stdout + done.stderr[-4000:]
    assert "Sanitizer" not in done.stderr
    assert done.stdout.count("emitted") == 6


def test_the_list_of_sources_is_that_of_the_build():
    text = (build.CSRC.parent / "build_core.py").read_text()
    assert all(f'"{name}"' in text for name in SOURCES)
    assert {path.stem for path in build.CSRC.glob("*.c")} == set(SOURCES)


def test_the_core_has_no_warnings(tmp_path):
    for name in SOURCES:
        command = ["gcc", *build.FLAGS, "-Wshadow", "-c", str(build.CSRC / f"{name}.c"), "-o", str(tmp_path / "x.o")]
        subprocess.run(command, check=True)
