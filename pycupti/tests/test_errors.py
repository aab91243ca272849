"""Every result code becomes an error that says what it means and the mend."""

import doctest

import pytest

import pycupti
from pycupti import errors, metrics, names
from pycupti.codes import CODES


@pytest.mark.parametrize("code", sorted(CODES))
def test_every_code_has_a_meaning_and_a_mend(code):
    with pytest.raises(pycupti.CuptiError) as caught:
        errors.check(code, "doing this")
    text = str(caught.value)
    assert text.startswith("doing this: ")
    assert f"[CUPTI {code} {CODES[code].name}]" in text
    assert caught.value.hint
    assert caught.value.hint in text


@pytest.mark.parametrize(
    ("code", "error"),
    [(26, pycupti.CountersBusy), (35, pycupti.CountersRestricted), (39, pycupti.Conflict), (1, pycupti.CuptiError)],
)
def test_codes_have_their_classes(code, error):
    with pytest.raises(error) as caught:
        errors.check(code, "doing this")
    assert type(caught.value) is error


def test_restricted_counters_name_the_driver_option_and_the_capability():
    with pytest.raises(pycupti.CountersRestricted) as caught:
        errors.check(35, "opening counters")
    for part in ("NVreg_RestrictProfilingToAdminUsers=0", "CAP_SYS_ADMIN", "tracing works"):
        assert part in str(caught.value)


def test_codes_from_elsewhere():
    with pytest.raises(pycupti.CuptiError, match="UNRECOGNISED"):
        errors.check(4321, "doing this")
    with pytest.raises(pycupti.DriverError) as caught:
        errors.check(errors.CUDA_BASE + 700, "doing this")
    assert caught.value.code == 700
    with pytest.raises(pycupti.Unavailable, match=r"12\.6"):
        errors.check(-1, "doing this")


def test_names_are_demangled():
    assert pycupti.demangle("_Z4gemmi") == "gemm(int)"
    assert pycupti.demangle("_Z") == "_Z"
    assert pycupti.demangle("triton_poi_fused_add_0") == "triton_poi_fused_add_0"


@pytest.mark.parametrize("module", [errors, metrics, names])
def test_the_examples_hold(module):
    result = doctest.testmod(module)
    assert result.attempted > 0
    assert result.failed == 0
